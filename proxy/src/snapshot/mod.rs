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
pub mod lock;
mod past;
mod publish;
mod references;
mod space;
mod standing;
mod version;
mod versions;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

pub use build::{Builder, Built, Sockets};
pub use filters::Origin;
pub use local::{WorkerListener, WorkerSnapshot};
pub use past::Past;
pub use publish::{Cache, Published};
pub use space::shared_limits;
pub use standing::{Reason, Standing};
pub use versions::Instead;

use crate::cluster::Cluster;
use crate::config::{self, Config, Mistake, Name};
use crate::filter::{LoadedFilter, Shadow};
use crate::http::via::Via;
use crate::listener::Socket;
use crate::secrets::Secret;
use crate::stats::{Gauge, ListenerStats, PerWorker};
use crate::tls;

/// One generation of everything.
#[derive(Clone)]
pub struct Snapshot {
    /// Counts up from 1 with each publish.
    pub generation: u64,
    pub config: Arc<Config>,
    pub listeners: Vec<Arc<Listener>>,
    pub clusters: Vec<Arc<Cluster>>,
    pub filters: Vec<Arc<LoadedFilter>>,
    /// Where the components of filters came from, those of their canaries, and those
    /// of their shadows.
    pub origins: BTreeMap<Name, Origin>,
    pub canary_origins: BTreeMap<Name, Origin>,
    pub shadow_origins: BTreeMap<Name, Origin>,
    /// Versions that are being tried.
    pub canaries: Vec<Arc<LoadedFilter>>,
    /// Versions that see copies.
    pub shadows: Vec<Arc<Shadow>>,
    /// Of the filters that are not what the file says.
    pub standings: Vec<Standing>,
    pub secrets: Vec<Arc<Secret>>,
    /// Files of the cache with which the same could be built again.
    pub kept: BTreeSet<PathBuf>,
    /// Exchanges that run by it.
    pub exchanges: Arc<PerWorker<Gauge>>,
}

/// A listener with what it refers to.
#[derive(Clone)]
pub struct Listener {
    pub config: config::Listener,
    /// `None` where only a check was asked for.
    pub socket: Option<Arc<Socket>>,
    pub tls: Option<Arc<tls::Server>>,
    /// In the order of request phases.
    pub chain: Vec<Arc<LoadedFilter>>,
    /// Those that are asked about each connection.
    pub connection_chain: Vec<Arc<LoadedFilter>>,
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

    pub fn sockets(&self) -> impl Iterator<Item = &Arc<Socket>> {
        let listeners = self.listeners.iter();
        listeners.filter_map(|listener| listener.socket.as_ref())
    }

    pub fn filter(&self, name: &str) -> Option<&Arc<LoadedFilter>> {
        self.filters.iter().find(|filter| &**filter.name() == name)
    }

    pub fn standing(&self, filter: &str) -> Option<&Standing> {
        self.standings.iter().find(|known| &*known.filter == filter)
    }

    pub fn canary(&self, filter: &str) -> Option<&Arc<LoadedFilter>> {
        self.canaries
            .iter()
            .find(|canary| &**canary.name() == filter)
    }

    pub fn shadow(&self, filter: &str) -> Option<&Arc<Shadow>> {
        let mut shadows = self.shadows.iter();
        shadows.find(|shadow| &**shadow.filter().name() == filter)
    }

    /// Ends the trial of a canary, and gives it.
    pub fn without_canary(&mut self, filter: &str) -> Option<(Arc<LoadedFilter>, Origin)> {
        let is_it = |canary: &Arc<LoadedFilter>| &**canary.name() == filter;
        let canary = self.canaries.remove(self.canaries.iter().position(is_it)?);
        let origin = self.canary_origins.remove(canary.name());
        Some((canary, origin.unwrap_or_default()))
    }

    /// Notes that a filter is not what the file says.
    pub fn note(&mut self, standing: Standing) {
        self.standings
            .retain(|known| known.filter != standing.filter);
        self.standings.push(standing);
    }

    /// A version in the place of one with these mistakes.
    pub fn put_instead(&mut self, instead: &Instead, mistakes: &[Mistake]) {
        let filter = instead.version.name();
        self.replace(&instead.version, instead.origin.clone());
        self.without_canary(filter);
        if let Some((canary, origin)) = instead.canary.clone() {
            self.canary_origins.insert(filter.clone(), origin);
            self.canaries.push(canary);
        }
        self.note(Standing {
            filter: filter.clone(),
            reason: instead.reason,
            why: mistakes.iter().map(Mistake::to_string).collect(),
        });
    }

    /// Another version of a filter in the place of the one that there is. What that
    /// one may name has to be there. A shadow is compared with it from now on.
    pub fn replace(&mut self, version: &Arc<LoadedFilter>, origin: Origin) {
        self.origins.insert(version.name().clone(), origin);
        for shadow in &mut self.shadows {
            if shadow.filter().name() == version.name() {
                *shadow = shadow.beside(version.clone());
            }
        }
        let put = |place: &mut Arc<LoadedFilter>| {
            if place.name() == version.name() {
                *place = version.clone();
            }
        };
        self.filters.iter_mut().for_each(put);
        for listener in &mut self.listeners {
            let mut chains = listener.chain.iter().chain(&listener.connection_chain);
            if chains.any(|filter| filter.name() == version.name()) {
                let mut changed = Listener::clone(listener);
                changed.chain.iter_mut().for_each(put);
                changed.connection_chain.iter_mut().for_each(put);
                *listener = Arc::new(changed);
            }
        }
    }

    /// Goes on with what shadows were seen to do, where they are compared with the same
    /// versions as before.
    pub fn go_on_comparing(&mut self, before: &Self) {
        for shadow in &mut self.shadows {
            let known = before.shadow(shadow.filter().name());
            if let Some(known) = known.filter(|known| known.is_as(shadow)) {
                *shadow = known.clone();
            }
        }
    }

    /// The same picture once more, to be changed and published.
    pub fn next(&self) -> Self {
        Self {
            generation: self.generation + 1,
            exchanges: Arc::new(PerWorker::new(
                self.exchanges.iter().count(),
                Gauge::default,
            )),
            ..self.clone()
        }
    }
}
