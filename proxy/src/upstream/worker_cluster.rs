//! A cluster on one worker: balancer and pools.

use std::cell::RefCell;
use std::fmt;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;

use arc_swap::ArcSwap;
use arc_swap::cache::Cache;
use fastrand::Rng;
use hyper::client::conn::http1;
use tokio::time::Instant;

use super::balance::{Balancer, Candidates};
use super::connection;
use super::destinations::Destinations;
use super::names::Names;
use super::pool::{Pick, Pool, Sweep, WorkerEndpoint};
use super::request::Progress;
use super::targets::{Resolved, look_up};
use crate::cluster::{Cluster, EndpointSet};
use crate::config::Name;
use crate::proxy_protocol::Ends;
use crate::stats::ClusterStats;

/// One cluster as one worker uses it. Carried over from snapshot to snapshot as
/// long as its [`Cluster`] is the same. Dropping it closes idle connections.
pub struct WorkerCluster {
    pub(super) pool: Rc<Pool>,
    pub(super) builder: http1::Builder,
    choice: RefCell<Choice>,
    /// Where the client says which endpoint it is.
    destinations: Option<Destinations>,
    /// Where it says so by a name.
    pub(super) names: Option<Names<Resolved>>,
}

struct Choice {
    published: Cache<Published, Arc<EndpointSet>>,
    /// Like `set.endpoints`, index by index.
    endpoints: Vec<Rc<WorkerEndpoint>>,
    set: Arc<EndpointSet>,
    balancer: Balancer,
    rng: Rng,
}

impl WorkerCluster {
    pub fn new(cluster: Arc<Cluster>, worker: usize) -> Rc<Self> {
        let mut rng = Rng::new();
        let mut published = Cache::new(Published(Arc::clone(&cluster)));
        let set = Arc::clone(published.load());
        let follows = cluster.config.follows_clients();
        let goes_to_targets = cluster.config.goes_to_targets();
        Rc::new(Self {
            builder: connection::builder(cluster.config.max_head_bytes),
            choice: RefCell::new(Choice {
                published,
                endpoints: set
                    .endpoints
                    .iter()
                    .cloned()
                    .map(WorkerEndpoint::new)
                    .collect(),
                set,
                balancer: Balancer::new(cluster.config.balance, &mut rng),
                rng,
            }),
            destinations: (follows || goes_to_targets).then(Destinations::default),
            names: goes_to_targets.then(|| Names::new(look_up)),
            pool: Rc::new(Pool { cluster, worker }),
        })
    }

    pub fn cluster(&self) -> &Arc<Cluster> {
        &self.pool.cluster
    }

    pub fn name(&self) -> &Name {
        self.cluster().name()
    }

    pub fn stats(&self) -> &ClusterStats {
        self.pool.stats()
    }

    /// The client that a connection belongs to, where the origin is told.
    pub(super) fn told(&self, client: Option<Ends>) -> Option<Ends> {
        self.cluster().config.proxy_protocol?;
        client
    }

    /// To be called now and then: closes idle connections, and those that the origin has
    /// closed.
    pub fn sweep(&self, now: Instant, what: Sweep) {
        let mut choice = self.choice.borrow_mut();
        choice.follow(&self.pool);
        for endpoint in &choice.endpoints {
            endpoint.sweep(&self.pool, now, what);
        }
        if let Some(destinations) = &self.destinations {
            destinations.sweep(&self.pool, now, what);
        }
    }

    /// `None` when the cluster has no endpoint for it.
    pub(super) fn pick(&self, now: Instant, progress: &Progress) -> Option<Pick> {
        if let Some(destinations) = &self.destinations {
            let wanted = &progress.destinations;
            let picked = destinations.pick(wanted, &[], &self.pool, now)?;
            return Some(Pick::new(picked));
        }
        let mut choice = self.choice.borrow_mut();
        choice.follow(&self.pool);
        choice.pick(now, &[]).map(Pick::new)
    }

    /// One that was not tried yet, also one that refused lately where there is no
    /// better one.
    pub(super) fn pick_other(
        &self,
        now: Instant,
        tried: &[Rc<WorkerEndpoint>],
        progress: &Progress,
    ) -> Option<Pick> {
        if let Some(destinations) = &self.destinations {
            let wanted = &progress.destinations;
            let picked = destinations.pick(wanted, tried, &self.pool, now)?;
            return Some(Pick::new(picked));
        }
        let mut choice = self.choice.borrow_mut();
        choice.follow(&self.pool);
        let picked = choice.pick(now, tried)?;
        let untried = match is_one_of(&picked, tried) {
            false => picked,
            true => {
                let mut others = choice.endpoints.iter();
                Rc::clone(others.find(|other| !is_one_of(other, tried))?)
            }
        };
        Some(Pick::new(untried))
    }
}

fn is_one_of(endpoint: &Rc<WorkerEndpoint>, tried: &[Rc<WorkerEndpoint>]) -> bool {
    tried.iter().any(|one| Rc::ptr_eq(one, endpoint))
}

/// What is leased still is closed when it comes back.
impl Drop for WorkerCluster {
    fn drop(&mut self) {
        for endpoint in &self.choice.get_mut().endpoints {
            endpoint.retire(&self.pool);
        }
        if let Some(destinations) = &self.destinations {
            destinations.retire(&self.pool);
        }
    }
}

impl Choice {
    /// Takes over a set that the control thread has published since.
    fn follow(&mut self, pool: &Pool) {
        let set = self.published.load();
        if !Arc::ptr_eq(set, &self.set) {
            let set = Arc::clone(set);
            self.replace(set, pool);
        }
    }

    fn replace(&mut self, set: Arc<EndpointSet>, pool: &Pool) {
        let mut before: std::collections::HashMap<_, _> = self
            .endpoints
            .drain(..)
            .map(|endpoint| (Arc::as_ptr(&endpoint.shared), endpoint))
            .collect();
        self.endpoints = set
            .endpoints
            .iter()
            .map(|shared| match before.remove(&Arc::as_ptr(shared)) {
                Some(endpoint) => endpoint,
                None => WorkerEndpoint::new(Arc::clone(shared)),
            })
            .collect();
        before.values().for_each(|endpoint| endpoint.retire(pool));
        self.set = set;
    }

    fn pick(&mut self, now: Instant, tried: &[Rc<WorkerEndpoint>]) -> Option<Rc<WorkerEndpoint>> {
        let candidates = AtOneTime {
            endpoints: &self.endpoints,
            tried,
            schedule: &self.set.schedule,
            now,
        };
        let index = self.balancer.pick(&candidates, &mut self.rng)?;
        Some(Rc::clone(&self.endpoints[index]))
    }
}

struct AtOneTime<'a> {
    endpoints: &'a [Rc<WorkerEndpoint>],
    /// For the request at hand.
    tried: &'a [Rc<WorkerEndpoint>],
    schedule: &'a [u32],
    now: Instant,
}

impl Candidates for AtOneTime<'_> {
    fn count(&self) -> usize {
        self.endpoints.len()
    }

    fn schedule(&self) -> &[u32] {
        self.schedule
    }

    fn weight(&self, index: usize) -> u32 {
        self.endpoints[index].shared.weight
    }

    fn active(&self, index: usize) -> u32 {
        self.endpoints[index].active()
    }

    fn is_passed_over(&self, index: usize) -> bool {
        let endpoint = &self.endpoints[index];
        endpoint.shared.is_refusing(self.now) || is_one_of(endpoint, self.tried)
    }
}

/// Lets a cache hold the cluster whose endpoints it watches.
struct Published(Arc<Cluster>);

impl Deref for Published {
    type Target = ArcSwap<EndpointSet>;

    fn deref(&self) -> &Self::Target {
        &self.0.endpoints
    }
}

impl fmt::Debug for WorkerCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerCluster")
            .field("name", self.name())
            .field("worker", &self.pool.worker)
            .finish_non_exhaustive()
    }
}
