//! The clusters that jobs call, as the thread of jobs uses them: as any worker
//! does, with connections of its own.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use tokio::time::Instant;

use crate::cluster::Cluster;
use crate::config::Name;
use crate::upstream::{Sweep, WorkerCluster};

/// Those of one generation.
#[derive(Debug, Default)]
pub struct Pools(HashMap<Name, Rc<WorkerCluster>>);

/// Where a job that outlives its generation finds those of the current one.
pub type CurrentPools = Rc<RefCell<Rc<Pools>>>;

impl Pools {
    /// Carries over those of clusters that did not change.
    pub fn new(clusters: Vec<Arc<Cluster>>, before: &Self, worker: usize) -> Rc<Self> {
        let pools = clusters.into_iter().map(|cluster| {
            let known = before.0.get(cluster.name());
            let pool = WorkerCluster::carry(&cluster, known, worker);
            (cluster.name().clone(), pool)
        });
        Rc::new(Self(pools.collect()))
    }

    pub fn find(&self, name: &str) -> Option<Rc<WorkerCluster>> {
        self.0.get(name).cloned()
    }

    /// To be called now and then.
    pub fn sweep(&self, now: Instant) {
        self.0
            .values()
            .for_each(|cluster| cluster.sweep(now, Sweep::Old));
    }
}
