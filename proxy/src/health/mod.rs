//! How the endpoints of clusters are: who is ejected and who fails its checks.
//!
//! Takes: what workers have counted to, the answers to checks, what somebody says by hand.
//! Gives: the signs of an endpoint (`cluster::Vitals`), after which its cluster plans again
//! who is asked; an event in the log and a metric for each change. There is one carer for
//! each name of a cluster, whatever generations there are, on the control thread.
//! Must never: be waited for by a request, or hold a generation.

mod carer;
mod checks;
mod event;
mod probe;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, Weak};

use tokio::sync::Semaphore;
use tokio::task::AbortHandle;

use crate::balance::health::Told;
use crate::cluster::Cluster;
use crate::config::Name;
use carer::Carer;
pub use event::state;

/// Checks that are made at once, of all clusters together.
const CHECKS_AT_ONCE: usize = 128;

/// The carers. Dropping it ends them.
pub struct Health {
    carers: HashMap<Name, Cared>,
    turns: Rc<Semaphore>,
}

/// The clusters of one name.
struct Clusters {
    newest: Arc<Cluster>,
    /// Those that serve until their generation ends.
    older: Vec<Weak<Cluster>>,
}

struct Cared {
    clusters: Rc<RefCell<Clusters>>,
    carer: AbortHandle,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            carers: HashMap::new(),
            turns: Rc::new(Semaphore::new(CHECKS_AT_ONCE)),
        }
    }
}

impl Health {
    /// These are served from now on.
    pub fn follow(&mut self, clusters: &[Arc<Cluster>]) {
        let is_there = |name: &Name| clusters.iter().any(|cluster| cluster.name() == name);
        self.carers.retain(|name, _| is_there(name));
        for cluster in clusters {
            match self.carers.get(cluster.name()) {
                Some(cared) => cared.follow(cluster),
                None => {
                    let cared = Cared::start(cluster, &self.turns);
                    self.carers.insert(cluster.name().clone(), cared);
                }
            }
        }
    }
}

/// Somebody says by hand how an endpoint is, or nothing any more. Whether there is one at
/// this address.
pub fn tell(cluster: &Cluster, address: &str, told: Option<Told>) -> bool {
    let set = cluster.endpoints.load();
    let meant = set.endpoints.iter();
    let mut is_there = false;
    for endpoint in meant.filter(|endpoint| &*endpoint.label == address) {
        is_there = true;
        let vitals = &endpoint.vitals;
        if vitals.signs().told != told {
            vitals.change(|signs| signs.told = told);
            vitals.care().is_told = true;
            event::told(cluster, endpoint, told);
        }
    }
    cluster.bell.notify_one();
    is_there
}

impl Cared {
    fn start(cluster: &Arc<Cluster>, turns: &Rc<Semaphore>) -> Self {
        let clusters = Rc::new(RefCell::new(Clusters {
            newest: cluster.clone(),
            older: Vec::new(),
        }));
        let carer = Carer::new(clusters.clone(), turns.clone());
        let carer = tokio::task::spawn_local(carer.run(cluster.bell.clone()));
        Self {
            clusters,
            carer: carer.abort_handle(),
        }
    }

    fn follow(&self, cluster: &Arc<Cluster>) {
        let mut clusters = self.clusters.borrow_mut();
        if !Arc::ptr_eq(&clusters.newest, cluster) {
            let before = std::mem::replace(&mut clusters.newest, cluster.clone());
            clusters.older.retain(|known| known.strong_count() > 0);
            clusters.older.push(Arc::downgrade(&before));
            cluster.bell.notify_one();
        }
    }
}

impl Clusters {
    fn all(&self) -> Vec<Arc<Cluster>> {
        let older = self.older.iter().filter_map(Weak::upgrade);
        older.chain([self.newest.clone()]).collect()
    }
}

impl Drop for Cared {
    fn drop(&mut self) {
        self.carer.abort();
    }
}
