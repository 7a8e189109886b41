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
mod retry_tokens;
mod set;
pub mod target;

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;

pub use endpoint::{Address, Endpoint, Found};
pub use inside::{Arrivals, Inside};
pub use resolve::Resolver;
pub use retry_tokens::{RetryPermit, RetryTokens};
pub use set::{EndpointSet, Plan};
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
    /// The last good answer for each endpoint of the configuration, of the [`Resolver`].
    resolved: ArcSwap<Vec<Vec<SocketAddr>>>,
    pub stats: Arc<PerWorker<ClusterStats>>,
    pub retry_tokens: Arc<RetryTokens>,
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
        let resolved = vec![Vec::new(); config.endpoints.len()];
        let tokens = RetryTokens::new(config.retry_budget, stats.clone());
        Self::build(
            config,
            tls,
            stats,
            tokens,
            resolved,
            &EndpointSet::default(),
        )
    }

    /// The same with other endpoints, or other weights, or another way of picking them or of
    /// asking them: those that stay are the same, with their connections. All else is as it was
    /// (`config::Cluster::connects_like`).
    pub fn changed(&self, config: config::Cluster) -> Arc<Self> {
        let resolved = self.resolved.load();
        let known = self.config.endpoints.iter().zip(&**resolved);
        let known: HashMap<_, _> = known
            .map(|(known, found)| (&known.address, found))
            .collect();
        let found = |endpoint: &config::Endpoint| known.get(&endpoint.address).copied().cloned();
        let resolved = config.endpoints.iter().map(found);
        let resolved = resolved.map(Option::unwrap_or_default).collect();
        let (tls, stats) = (self.tls.clone(), self.stats.clone());
        let tokens = match config.retry_budget == self.retry_tokens.rules {
            true => self.retry_tokens.clone(),
            false => RetryTokens::new(config.retry_budget, stats.clone()),
        };
        Self::build(config, tls, stats, tokens, resolved, &self.endpoints.load())
    }

    fn build(
        config: config::Cluster,
        tls: Option<Arc<tls::Client>>,
        stats: Arc<PerWorker<ClusterStats>>,
        retry_tokens: Arc<RetryTokens>,
        resolved: Vec<Vec<SocketAddr>>,
        before: &EndpointSet,
    ) -> Arc<Self> {
        let addresses = resolve::all_addresses(&config, &resolved);
        let endpoints = EndpointSet::new(addresses, before, &config.balance);
        Arc::new(Self {
            endpoints: ArcSwap::from_pointee(endpoints),
            resolved: ArcSwap::from_pointee(resolved),
            config,
            stats,
            retry_tokens,
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
