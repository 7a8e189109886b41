//! Clusters as every worker sees them: their endpoints, and who refused lately.
//!
//! Takes: a checked cluster of the configuration. Gives: an [`EndpointSet`]
//! that the control thread replaces when host names resolve to other addresses,
//! and that workers load without waiting. Endpoints that stay keep their `Arc`,
//! so that what is known about them outlives such a change.
//! Must never: open a connection, or know which worker asks.

pub mod clock;
mod endpoint;
mod inside;
pub mod resolve;
mod schedule;
pub mod target;

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;

pub use endpoint::{Address, Endpoint, EndpointSet, Found};
pub use inside::{Arrivals, Inside};
pub use resolve::Resolver;
pub use target::Target;

use crate::config::{self, Name};
use crate::stats::{ClusterStats, PerWorker};
use crate::tls;

/// One cluster, shared by all workers and by every generation that did not
/// change it.
pub struct Cluster {
    pub config: config::Cluster,
    /// Replaced as a whole by the [`Resolver`] alone.
    pub endpoints: ArcSwap<EndpointSet>,
    pub stats: Arc<PerWorker<ClusterStats>>,
    /// Where its endpoints are spoken to over TLS.
    pub tls: Option<Arc<tls::Client>>,
}

impl Cluster {
    /// Holds the endpoints that need no resolving. Those with host names come
    /// with the first round of a [`Resolver`].
    pub fn new(
        config: config::Cluster,
        tls: Option<Arc<tls::Client>>,
        stats: Arc<PerWorker<ClusterStats>>,
    ) -> Arc<Self> {
        let endpoints = resolve::known_at_once(&config);
        Arc::new(Self {
            endpoints: ArcSwap::from_pointee(EndpointSet::new(endpoints, &EndpointSet::empty())),
            config,
            stats,
            tls,
        })
    }

    pub fn name(&self) -> &Name {
        &self.config.name
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("config", &self.config)
            .field("endpoints", &self.endpoints.load())
            .finish_non_exhaustive()
    }
}
