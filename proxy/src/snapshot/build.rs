//! From a checked configuration to a snapshot, aside.

use std::sync::Arc;

use super::lock::Lock;
use super::versions::{Build, Filters};
use super::{Listener, Past, Snapshot, references};
use crate::cluster::Cluster;
use crate::components::Components;
use crate::config::{self, Config, Doubts, Draft, ListenAddress, Mistake};
use crate::filter::{FilterEngine, LoadedFilter};
use crate::http::via::Via;
use crate::listener::{self, Inherited, Socket};
use crate::secrets::Secret;
use crate::shipped::Shipped;
use crate::state;
use crate::stats::{Gauge, PerWorker, Stats};
use crate::tls;
use crate::upstream;

/// Whether sockets are bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sockets {
    Bind,
    /// For a check: nothing outside the process changes.
    Leave,
}

/// What building needs beside the configuration.
pub struct Builder<'a> {
    pub engine: &'a Arc<FilterEngine>,
    pub components: &'a Components,
    pub stats: &'a Arc<Stats>,
    /// The components inside the binary, by name.
    pub shipped: &'static [Shipped],
    pub workers: usize,
    pub sockets: Sockets,
    /// Sockets that the process was started with.
    pub inherited: &'a Inherited,
    /// What outlives the process, where anything does.
    pub state: Option<&'a state::Folder>,
    /// The versions that are known to be good, or to be bad.
    pub past: &'a Past,
    /// What filters may want at most.
    pub lock: Option<&'a Lock>,
    /// A filter that cannot be built refuses a start, whatever is known of it.
    pub strict: bool,
}

/// A snapshot with what its author should look at.
pub struct Built {
    pub snapshot: Snapshot,
    pub warnings: Vec<Mistake>,
}

impl Builder<'_> {
    /// Builds the next generation. Blocking: it reads components, compiles
    /// them, and runs their `create`. Every mistake is reported, not the first;
    /// dropping the result leaves no trace.
    pub fn build(
        &self,
        config: Arc<Config>,
        before: Option<&Snapshot>,
    ) -> Result<Built, Vec<Mistake>> {
        let secrets = secrets(&config, before);
        let Filters {
            pulls,
            known,
            loaded: filters,
            canaries,
            shadows,
            origins,
            canary_origins,
            shadow_origins,
            mut mistakes,
            mut warnings,
            standings,
            ..
        } = self.filters(Build {
            config: &config,
            doubts: &Doubts::none(),
            before,
            secrets: &secrets,
        });
        let (more, remarks) = references::check(&config, &Doubts::none(), &known);
        mistakes.extend(more);
        warnings.extend(remarks);
        let mut listeners: Vec<Arc<Listener>> = Vec::new();
        if mistakes.is_empty() {
            for listener in &config.listeners {
                let known = known_socket(listener, before, &listeners);
                warnings.extend(
                    known
                        .as_ref()
                        .and_then(|known| unchanged(&config, listener, known)),
                );
                match self.listener(&config, listener, &filters, before, known) {
                    Ok(listener) => listeners.push(Arc::new(listener)),
                    Err(mistake) => mistakes.push(mistake),
                }
            }
        }
        let clusters = self.clusters(&config, before, &mut mistakes);
        if !mistakes.is_empty() {
            // Filters are built by name, and people read from the top.
            return Err(config::in_order(mistakes, &config.files));
        }
        let generation = before.map_or(1, |before| before.generation + 1);
        let snapshot = Snapshot {
            generation,
            config,
            listeners,
            clusters,
            filters,
            origins,
            canary_origins,
            shadow_origins,
            canaries,
            shadows,
            standings,
            secrets,
            kept: pulls.kept,
            exchanges: Arc::new(PerWorker::new(self.workers, Gauge::default)),
        };
        Ok(Built { snapshot, warnings })
    }

    /// What else is wrong with a configuration that is refused already: all that
    /// its filters can tell. Blocking, as [`Builder::build`] is.
    pub fn check(&self, draft: &Draft, before: Option<&Snapshot>) -> Vec<Mistake> {
        let Draft { config, doubts } = draft;
        let secrets = secrets(config, before);
        let filters = self.filters(Build {
            config,
            doubts,
            before,
            secrets: &secrets,
        });
        let mut mistakes = filters.mistakes;
        // Whatever would stand in for them: they are to be mended.
        mistakes.extend(filters.warnings);
        mistakes.extend(references::check(config, doubts, &filters.known).0);
        mistakes
    }

    fn listener(
        &self,
        config: &Config,
        listener: &config::Listener,
        filters: &[Arc<LoadedFilter>],
        before: Option<&Snapshot>,
        known: Option<Arc<Socket>>,
    ) -> Result<Listener, Mistake> {
        let tls = self.tls(config, listener, before)?;
        let socket = self.socket(listener, known).map_err(|error| {
            Mistake::at(
                &config.places,
                &pointer_of(config, listener, "address"),
                error.to_string(),
                "an address that can be listened on",
            )
        })?;
        let chain = |names: &[config::Name]| {
            let find = |name| {
                filters
                    .iter()
                    .find(|filter: &&Arc<LoadedFilter>| filter.name() == name)
            };
            names.iter().filter_map(find).cloned().collect()
        };
        Ok(Listener {
            config: listener.clone(),
            socket,
            tls,
            chain: chain(&listener.filters),
            connection_chain: chain(&listener.connection_filters),
            stats: self.stats.listener(&listener.name),
            via: listener.headers.via.as_deref().and_then(Via::new),
        })
    }

    /// The TLS of the listener of that name, if nothing of it changed.
    fn tls(
        &self,
        config: &Config,
        listener: &config::Listener,
        before: Option<&Snapshot>,
    ) -> Result<Option<Arc<tls::Server>>, Mistake> {
        let Some(configured) = &listener.tls else {
            return Ok(None);
        };
        let mut known = before.into_iter().flat_map(|before| &before.listeners);
        let known = known.find(|known| known.config.name == listener.name);
        let known = known.and_then(|known| known.tls.as_ref());
        let server = tls::Server::build(configured, known).map_err(|error| {
            Mistake::at(
                &config.places,
                &pointer_of(config, listener, "tls"),
                error.to_string(),
                "TLS that can be served",
            )
        })?;
        Ok(Some(server))
    }

    /// A socket to go on with, or a new one.
    fn socket(
        &self,
        listener: &config::Listener,
        known: Option<Arc<Socket>>,
    ) -> Result<Option<Arc<Socket>>, listener::BindError> {
        if self.sockets == Sockets::Leave {
            return Ok(None);
        }
        if known.is_some() {
            return Ok(known);
        }
        let socket = listener::bind(listener, self.workers, self.inherited)?;
        Ok(Some(Arc::new(socket)))
    }

    fn clusters(
        &self,
        config: &Config,
        before: Option<&Snapshot>,
        mistakes: &mut Vec<Mistake>,
    ) -> Vec<Arc<Cluster>> {
        let clusters = config.clusters.iter().enumerate();
        let clusters = clusters.filter_map(|(index, cluster)| {
            let known = before.and_then(|before| before.cluster(&cluster.name));
            // Who is asked for its endpoints is a part of how it finds them.
            let asks_alike = !cluster.is_discovered()
                || before.is_some_and(|before| before.config.dns == config.dns);
            let is_same = |known: &&Arc<Cluster>| known.config == *cluster && asks_alike;
            if let Some(known) = known.filter(is_same) {
                return Some(known.clone());
            }
            if let Some(known) = known.filter(|known| known.config.connects_like(cluster)) {
                return Some(known.changed(cluster.clone()));
            }
            if self.sockets == Sockets::Bind
                && let Err((key, error)) = upstream::try_out(&cluster.socket)
            {
                let pointer = format!("/clusters/{index}/socket/{key}");
                let wanted = "what the kernel lets this process have";
                mistakes.push(Mistake::at(
                    &config.places,
                    &pointer,
                    error.to_string(),
                    wanted,
                ));
                return None;
            }
            let tls = cluster.tls.as_ref().map(tls::Client::build).transpose();
            match tls {
                Ok(tls) => {
                    let stats = self.stats.cluster(&cluster.name);
                    let cluster = cluster.clone();
                    Some(match known {
                        Some(known) => known.following(cluster, tls, stats),
                        None => Cluster::new(cluster, tls, stats),
                    })
                }
                Err(error) => {
                    let pointer = format!("/clusters/{index}/tls");
                    let (found, wanted) = (error.to_string(), "TLS that can be spoken");
                    mistakes.push(Mistake::at(&config.places, &pointer, found, wanted));
                    None
                }
            }
        });
        clusters.collect()
    }
}

/// What is said where options of a socket would have to change that stays.
fn unchanged(config: &Config, listener: &config::Listener, known: &Socket) -> Option<Mistake> {
    let pointer = pointer_of(config, listener, "socket");
    let found = "options other than those that this address was opened with";
    let wanted = "the same: they count from the next start";
    (known.rules != listener.socket).then(|| Mistake::at(&config.places, &pointer, found, wanted))
}

/// The socket of the same address, if there is one that none of `listeners` has.
fn known_socket(
    listener: &config::Listener,
    before: Option<&Snapshot>,
    listeners: &[Arc<Listener>],
) -> Option<Arc<Socket>> {
    let any_port = matches!(listener.address, ListenAddress::Tcp(address) if address.port() == 0);
    let is_free = |socket: &Arc<Socket>| {
        let mut others = listeners.iter().filter_map(|other| other.socket.as_ref());
        !others.any(|other| Arc::ptr_eq(other, socket))
    };
    before?
        .listeners
        .iter()
        .filter(|known| !any_port || known.config.name == listener.name)
        .filter_map(|known| known.socket.clone())
        .find(|socket| socket.listens_at(&listener.address) && is_free(socket))
}

fn pointer_of(config: &Config, listener: &config::Listener, key: &str) -> String {
    let mut listeners = config.listeners.iter();
    let at = listeners.position(|other| other.name == listener.name);
    format!("/listeners/{}/{key}", at.unwrap_or_default())
}

/// Those that are known keep their values, and have them in common.
fn secrets(config: &Config, before: Option<&Snapshot>) -> Vec<Arc<Secret>> {
    let known = |secret: &config::Secret| {
        let mut known = before?.secrets.iter();
        known.find(|known| known.is(secret)).cloned()
    };
    let secrets = config.secrets.iter();
    secrets
        .map(|secret| known(secret).unwrap_or_else(|| Secret::new(secret)))
        .collect()
}
