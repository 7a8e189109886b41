//! The immutable picture of a configuration that exchanges run by.
//!
//! Takes a checked configuration and the snapshot before it; gives a new one
//! that shares everything that did not change (filters with their instances,
//! clusters with their pools, secrets, bound sockets), or every mistake that was found.
//! All that can fail happens in `build`; `publish` is one pointer store.
//! Nothing here is ever changed once it is published, but that a secret has a new
//! value, which concerns all generations.

mod build;
mod filters;
mod local;
mod publish;
mod references;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use build::{Builder, Built, Sockets};
pub use filters::{Origin, shared_limits};
pub use local::{WorkerListener, WorkerSnapshot};
pub use publish::{Cache, Published};

use crate::cluster::Cluster;
use crate::config::{self, Config, Name};
use crate::filter::LoadedFilter;
use crate::http::via::Via;
use crate::listener::Socket;
use crate::secrets::Secret;
use crate::stats::{ListenerStats, PerWorker};

/// One generation of everything.
pub struct Snapshot {
    /// Counts up from 1 with each publish.
    pub generation: u64,
    pub config: Arc<Config>,
    pub listeners: Vec<Arc<Listener>>,
    pub clusters: Vec<Arc<Cluster>>,
    pub filters: Vec<Arc<LoadedFilter>>,
    /// Where the components of filters came from.
    pub origins: BTreeMap<Name, Origin>,
    pub secrets: Vec<Arc<Secret>>,
}

/// A listener with what it refers to.
pub struct Listener {
    pub config: config::Listener,
    /// `None` where only a check was asked for.
    pub socket: Option<Arc<Socket>>,
    /// In the order of request phases.
    pub chain: Vec<Arc<LoadedFilter>>,
    pub stats: Arc<PerWorker<ListenerStats>>,
    /// What this hop adds to `Via`.
    pub via: Option<Via>,
}

impl Snapshot {
    pub fn cluster(&self, name: &str) -> Option<&Arc<Cluster>> {
        self.clusters
            .iter()
            .find(|cluster| &*cluster.config.name == name)
    }

    pub fn filter(&self, name: &str) -> Option<&Arc<LoadedFilter>> {
        self.filters.iter().find(|filter| &**filter.name() == name)
    }
}
