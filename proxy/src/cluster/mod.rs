//! Clusters as every worker sees them: their endpoints, and who refused lately.
//!
//! Takes: a checked cluster of the configuration. Gives: an [`EndpointSet`]
//! that the control thread replaces when host names resolve to other addresses,
//! and that workers load without waiting. Endpoints that stay keep their `Arc`,
//! so that what is known about them outlives such a change.
//! Must never: open a connection, or know which worker asks.

mod at_once;
mod bounds;
pub mod clock;
pub mod dns;
mod endpoint;
mod inside;
mod plan;
pub mod resolve;
mod retry_tokens;
mod set;
pub mod target;
mod vitals;
mod warming;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Notify;

pub use at_once::{AtOnce, Held, Kind};
pub use bounds::{Bound, Bounds, TICK};
pub use endpoint::{Address, Endpoint, Found};
pub use inside::{Arrivals, Inside};
pub use plan::{Group, Order};
pub use resolve::Resolver;
pub use retry_tokens::{RetryPermit, RetryTokens};
pub use set::EndpointSet;
pub use target::Target;
pub use vitals::{Care, Checked, Seen, Vitals};
pub use warming::WarmTurn;

use crate::balance::breaker::State;
use crate::config::{self, Name};
use crate::stats::{ClusterStats, PerWorker};
use crate::tls;

/// One cluster, shared by all workers and by every generation that did not
/// change it.
pub struct Cluster {
    pub config: config::Cluster,
    /// Replaced as a whole, by one after the other ([`Cluster::replace_endpoints`],
    /// [`Cluster::plan_again`]).
    pub endpoints: ArcSwap<EndpointSet>,
    /// Held while a set is made of the one before, by none that serves.
    replacing: Mutex<()>,
    /// Rung where the control thread is to look at what is known of the endpoints; of all
    /// clusters of the name.
    pub bell: Arc<Notify>,
    /// Rung where a file of its endpoints has changed.
    pub files_changed: Arc<Notify>,
    /// The last good answer for each endpoint of the configuration, of the [`Resolver`].
    resolved: ArcSwap<Vec<Vec<Found>>>,
    pub stats: Arc<PerWorker<ClusterStats>>,
    /// How much is asked of it, where that is bounded.
    pub bounds: Option<Arc<Bounds>>,
    pub retry_tokens: Arc<RetryTokens>,
    /// Where its endpoints are spoken to over TLS.
    pub tls: Option<Arc<tls::Client>>,
    /// Rounds of connections that are made ahead.
    warming: AtomicU32,
}

/// What goes over from the cluster of the same name.
struct Before<'a> {
    endpoints: &'a EndpointSet,
    bell: Arc<Notify>,
    bounds: Option<&'a Bounds>,
    tokens: Arc<RetryTokens>,
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
        let nobody = EndpointSet::default();
        let before = Before {
            endpoints: &nobody,
            bell: Arc::default(),
            bounds: None,
            tokens: RetryTokens::new(config.retry_budget, stats.clone()),
        };
        Self::build(config, tls, stats, resolved, before)
    }

    /// Another of the same name. No connection is carried over; that addresses stay, and how
    /// they are, is, and what is under way counts.
    pub fn following(
        &self,
        config: config::Cluster,
        tls: Option<Arc<tls::Client>>,
        stats: Arc<PerWorker<ClusterStats>>,
    ) -> Arc<Self> {
        let resolved = self.resolved_for(&config);
        let renewed = self.endpoints.load().renewed();
        let before = self.before(&config, &renewed);
        Self::build(config, tls, stats, resolved, before)
    }

    /// The same with other endpoints, or other weights, or another way of picking them or of
    /// asking them: those that stay are the same, with their connections. All else is as it was
    /// (`config::Cluster::connects_like`).
    pub fn changed(&self, config: config::Cluster) -> Arc<Self> {
        let resolved = self.resolved_for(&config);
        let (tls, stats) = (self.tls.clone(), self.stats.clone());
        let endpoints = self.endpoints.load();
        let before = self.before(&config, &endpoints);
        Self::build(config, tls, stats, resolved, before)
    }

    fn before<'a>(&'a self, config: &config::Cluster, endpoints: &'a EndpointSet) -> Before<'a> {
        let tokens = &self.retry_tokens;
        Before {
            endpoints,
            bell: self.bell.clone(),
            bounds: self.bounds.as_deref(),
            tokens: tokens.following(config.retry_budget, &self.stats),
        }
    }

    /// What the names of that configuration stand for, as far as they are asked for here.
    fn resolved_for(&self, config: &config::Cluster) -> Vec<Vec<Found>> {
        let resolved = self.resolved.load();
        let known = self.config.endpoints.iter().zip(&**resolved);
        let known: HashMap<_, _> = known
            .map(|(known, found)| (&known.address, found))
            .collect();
        let found = |endpoint: &config::Endpoint| known.get(&endpoint.address).copied().cloned();
        let resolved = config.endpoints.iter().map(found);
        resolved.map(Option::unwrap_or_default).collect()
    }

    fn build(
        config: config::Cluster,
        tls: Option<Arc<tls::Client>>,
        stats: Arc<PerWorker<ClusterStats>>,
        resolved: Vec<Vec<Found>>,
        before: Before<'_>,
    ) -> Arc<Self> {
        let addresses = resolve::all_addresses(&config, &resolved);
        let endpoints =
            EndpointSet::new(addresses, before.endpoints, &config.balance, &config.spread);
        count_at_once(&config, &endpoints);
        Arc::new(Self {
            endpoints: ArcSwap::from_pointee(endpoints),
            replacing: Mutex::default(),
            files_changed: Arc::default(),
            bell: before.bell,
            resolved: ArcSwap::from_pointee(resolved),
            bounds: Bounds::new(&config, stats.iter().count(), before.bounds).map(Arc::new),
            config,
            stats,
            retry_tokens: before.tokens,
            tls,
            warming: AtomicU32::new(0),
        })
    }

    /// To be called by the control thread, each [`TICK`].
    pub fn tick(&self, now: Duration) {
        let bounds = self.bounds.as_deref();
        if let Some(bounds) = bounds {
            bounds.tick(now, self.name(), &self.stats);
        }
        // Also where there are none, of a cluster that may have had some.
        let health = &self.stats.of(0).health;
        let breaker = bounds.and_then(Bounds::breaker);
        health.breaker.set(breaker.map_or(0, State::level));
        let limit = bounds.and_then(Bounds::learnt_limit).unwrap_or(0);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        health.learnt_limit.set(limit);
    }

    /// Its endpoints are these from now on. Blocking, for as long as a table may take.
    pub fn replace_endpoints(&self, found: impl IntoIterator<Item = impl Into<Found>>) {
        let Self { config, .. } = self;
        self.replace(|before| EndpointSet::new(found, before, &config.balance, &config.spread));
        self.bell.notify_one();
    }

    /// The same endpoints, as they are now. Blocking as well.
    pub fn plan_again(&self) {
        let Self { config, .. } = self;
        self.replace(|before| before.again(&config.balance, &config.spread));
    }

    fn replace(&self, make: impl FnOnce(&EndpointSet) -> EndpointSet) {
        let _turn = self
            .replacing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let after = make(&self.endpoints.load());
        count_at_once(&self.config, &after);
        self.endpoints.store(Arc::new(after));
    }

    pub fn name(&self) -> &Name {
        &self.config.name
    }
}

/// From the beginning, so that nothing is under way uncounted when one leaves.
fn count_at_once(config: &config::Cluster, set: &EndpointSet) {
    if config.bounds.per_endpoint.is_any() {
        for endpoint in &*set.endpoints {
            endpoint.vitals.at_once();
        }
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
