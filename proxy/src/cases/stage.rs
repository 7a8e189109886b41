//! What an exchange of a case runs on: a listener with one filter, and clusters whose
//! origins are within the process.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use super::calls::{self, Made};
use super::origin::{self, Received};
use crate::cluster::{Address, Cluster, Inside};
use crate::config::cases::Step;
use crate::config::{self, Config, Name};
use crate::exchange::{AccessLog, Local};
use crate::filter::{Kind, LoadedFilter};
use crate::http::via::Via;
use crate::overload::Load;
use crate::snapshot::{Listener, Published, Snapshot, WorkerSnapshot};
use crate::stats::{Gauge, PerWorker, Stats};

/// The cluster of what no filter routed.
pub const ORIGIN: &str = "origin";

/// What every listener and cluster of a case is made of: all keys that are not here
/// have their defaults. No address in it is used.
const BASE: &str = "
access_log: { to: off }
listeners:
- { name: cases, address: '127.0.0.1:0', cluster: origin, timeouts: { total: 10s } }
clusters:
- { name: origin, endpoints: ['127.0.0.1:1'] }
";

/// For one case.
pub struct Stage {
    config: Arc<Config>,
    loaded: Arc<LoadedFilter>,
    stats: Arc<Stats>,
    pub local: Rc<Local>,
    before: Option<Rc<WorkerSnapshot>>,
}

/// For one exchange, with what is seen of it from outside.
pub struct Scenery {
    pub snapshot: Rc<WorkerSnapshot>,
    pub received: Received,
    pub made: Made,
}

impl Stage {
    pub fn new(filter: &config::Filter, loaded: Arc<LoadedFilter>) -> Self {
        let base = config::load_text(BASE, "cases", &|_| None).expect("it has no mistake");
        let mut config = base.config;
        config.filters = vec![filter.clone()];
        let config = Arc::new(config);
        let stats = Stats::new(1);
        let nothing = Published::new(Arc::new(empty(&config)));
        let load = Arc::new(Load::new(stats.delays.clone()));
        Self {
            local: Local::new(0, &nothing, AccessLog::off(), load, None),
            config,
            loaded,
            stats,
            before: None,
        }
    }

    /// Sets up the next exchange. Instances of the filter are those of the one before.
    pub fn set(&mut self, step: &Step) -> Scenery {
        let (received, made) = (Received::default(), Made::default());
        let response = step.response.clone().map(Rc::new);
        let clusters = self.cluster_names().into_iter().map(|name| {
            let (inside, arrivals) = Inside::new(name.clone());
            // Without anybody to take them, connections are refused.
            if let Some(response) = &response {
                let serving =
                    origin::serve(name.clone(), arrivals, response.clone(), received.clone());
                tokio::task::spawn_local(serving);
            }
            self.cluster(name, inside)
        });
        let snapshot = Snapshot {
            clusters: clusters.collect(),
            listeners: vec![Arc::new(self.listener())],
            filters: vec![self.loaded.clone()],
            ..empty(&self.config)
        };
        let snapshot = WorkerSnapshot::new(Arc::new(snapshot), self.before.as_deref(), 0);
        if let Some(asked) = snapshot.take_calls() {
            tokio::task::spawn_local(calls::serve(step.answers.clone(), asked, made.clone()));
        }
        self.before = Some(snapshot.clone());
        Scenery {
            snapshot,
            received,
            made,
        }
    }

    /// Those that the filter may name.
    fn cluster_names(&self) -> BTreeSet<Name> {
        let configs = self.loaded.configs().iter();
        let declared = configs
            .flat_map(|config| &config.interest.clusters)
            .cloned();
        declared.chain([ORIGIN.into()]).collect()
    }

    fn cluster(&self, name: Name, inside: Inside) -> Arc<Cluster> {
        let config = config::Cluster {
            name: name.clone(),
            ..self.config.clusters[0].clone()
        };
        let cluster = Cluster::new(config, None, self.stats.cluster(&name));
        let endpoints = [(Address::Inside(inside), 1)];
        cluster.replace_endpoints(endpoints);
        cluster
    }

    fn listener(&self) -> Listener {
        let config = self.config.listeners[0].clone();
        let chain = vec![self.loaded.clone()];
        let (chain, connection_chain) = match self.loaded.module().kind() {
            Kind::Exchanges => (chain, Vec::new()),
            Kind::Connections => (Vec::new(), chain),
        };
        Listener {
            socket: None,
            tls: None,
            chain,
            connection_chain,
            stats: self.stats.listener(&config.name),
            via: config.headers.via.as_deref().and_then(Via::new),
            config,
        }
    }
}

fn empty(config: &Arc<Config>) -> Snapshot {
    Snapshot {
        generation: 1,
        config: config.clone(),
        listeners: Vec::new(),
        clusters: Vec::new(),
        filters: Vec::new(),
        origins: BTreeMap::new(),
        canary_origins: BTreeMap::new(),
        shadow_origins: BTreeMap::new(),
        canaries: Vec::new(),
        shadows: Vec::new(),
        standings: Vec::new(),
        secrets: Vec::new(),
        kept: BTreeSet::new(),
        exchanges: Arc::new(PerWorker::new(1, Gauge::default)),
    }
}
