//! A snapshot as one worker uses it, with its pools and filter instances.

use std::cell::Cell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::{Listener, Snapshot};
use crate::cluster::Cluster;
use crate::config::{HashKey, ListenAddress, Name};
use crate::filter::{
    Calls, ConnectionChain, LoadedFilter, Outbound, Place, WorkerCanary, WorkerChain, WorkerFilter,
};
use crate::listener::Socket;
use crate::upstream::WorkerCluster;

/// Held by every exchange from its start to its last byte.
pub struct WorkerSnapshot {
    pub shared: Arc<Snapshot>,
    pub listeners: Vec<WorkerListener>,
    clusters: HashMap<Name, Rc<WorkerCluster>>,
    filters: Vec<(Arc<LoadedFilter>, Rc<WorkerFilter>)>,
    /// Whether any origin is told whose connections it gets.
    pub tells_clients: bool,
    /// Whether any cluster goes to where clients wanted to go.
    pub follows_clients: bool,
    /// Where its listeners listen, if clients may say where they go.
    pub own_addresses: Vec<SocketAddr>,
    /// Whether any cluster balances by keys that filters set.
    pub takes_hash_keys: bool,
    /// Whether any has subsets.
    pub takes_subsets: bool,
    /// Where filters send their calls, if any may make one.
    pub calls: Option<Calls>,
    /// Until somebody makes them.
    asked_calls: Cell<Option<mpsc::UnboundedReceiver<Outbound>>>,
}

pub struct WorkerListener {
    pub shared: Arc<Listener>,
    pub chain: WorkerChain,
    /// Shared with connections that tell it of their end.
    pub connection_chain: Rc<ConnectionChain>,
    /// Takes what no filter routed.
    pub cluster: Option<Rc<WorkerCluster>>,
    /// Takes of that what says itself where it goes.
    pub forward_proxy: Option<Rc<WorkerCluster>>,
}

impl WorkerSnapshot {
    /// Carries over the pools and instances of what `before` shares with it.
    pub fn new(shared: Arc<Snapshot>, before: Option<&Self>, worker: usize) -> Rc<Self> {
        let clusters: HashMap<_, _> = shared
            .clusters
            .iter()
            .map(|cluster| {
                (
                    cluster.config.name.clone(),
                    carry_cluster(cluster, before, worker),
                )
            })
            .collect();
        let filters: Vec<_> = shared
            .filters
            .iter()
            .chain(&shared.canaries)
            .map(|filter| (filter.clone(), carry_filter(filter, before, worker)))
            .collect();
        let find = |name: &Option<Name>| clusters.get(name.as_ref()?).cloned();
        let listeners = shared
            .listeners
            .iter()
            .map(|listener| WorkerListener {
                shared: listener.clone(),
                chain: WorkerChain::new(places(&listener.chain, &shared, &filters)),
                connection_chain: Rc::new(ConnectionChain::new(places(
                    &listener.connection_chain,
                    &shared,
                    &filters,
                ))),
                cluster: find(&listener.config.cluster),
                forward_proxy: find(&listener.config.forward_proxy),
            })
            .collect();
        let may_call = |filter: &(Arc<LoadedFilter>, _)| !filter.0.block().grants.call.is_empty();
        let channel = filters.iter().any(may_call);
        let (calls, asked_calls) = channel.then(mpsc::unbounded_channel).unzip();
        let follows_clients = shared
            .clusters
            .iter()
            .any(|cluster| cluster.config.follows_clients());
        let takes_hash_keys = shared.clusters.iter().any(|cluster| {
            let hashing = cluster.config.balance.hashing();
            hashing.is_some_and(|hashing| hashing.keys.contains(&HashKey::Filter))
        });
        let has_subsets = |cluster: &Arc<Cluster>| cluster.config.spread.subsets.is_some();
        let takes_subsets = shared.clusters.iter().any(has_subsets);
        let mut all = shared.clusters.iter();
        Rc::new(Self {
            follows_clients,
            own_addresses: own_addresses(&shared),
            takes_hash_keys,
            takes_subsets,
            tells_clients: all.any(|cluster| cluster.config.proxy_protocol.is_some()),
            shared,
            listeners,
            clusters,
            filters,
            calls,
            asked_calls: Cell::new(asked_calls),
        })
    }

    /// What filters ask for, to be taken once by who makes the calls.
    pub fn take_calls(&self) -> Option<mpsc::UnboundedReceiver<Outbound>> {
        self.asked_calls.take()
    }

    pub fn cluster(&self, name: &str) -> Option<&Rc<WorkerCluster>> {
        self.clusters.get(name)
    }

    pub fn clusters(&self) -> impl Iterator<Item = &Rc<WorkerCluster>> {
        self.clusters.values()
    }

    /// The listener of a socket, unless it was removed.
    pub fn listener(&self, socket: &Arc<Socket>) -> Option<&WorkerListener> {
        self.listeners.iter().find(|listener| {
            listener
                .shared
                .socket
                .as_ref()
                .is_some_and(|own| Arc::ptr_eq(own, socket))
        })
    }

    /// Whether a listener is among these that `next` has not.
    pub fn has_listeners_beside(&self, next: &Self) -> bool {
        let mut sockets = self
            .listeners
            .iter()
            .filter_map(|listener| listener.shared.socket.as_ref());
        sockets.any(|socket| next.listener(socket).is_none())
    }

    /// Makes an instance of each filter ready, so that no request waits for it.
    pub fn warm(&self) {
        for (_, filter) in &self.filters {
            filter.warm();
        }
    }
}

fn own_addresses(shared: &Snapshot) -> Vec<SocketAddr> {
    let mut clusters = shared.clusters.iter();
    if !clusters.any(|cluster| cluster.config.goes_to_targets()) {
        return Vec::new();
    }
    let sockets = shared.sockets();
    let sockets = sockets.filter_map(|socket| match socket.address {
        ListenAddress::Tcp(address) => Some(address),
        ListenAddress::Unix(_) | ListenAddress::Systemd(_) => None,
    });
    sockets.collect()
}

fn carry_cluster(
    cluster: &Arc<Cluster>,
    before: Option<&WorkerSnapshot>,
    worker: usize,
) -> Rc<WorkerCluster> {
    let known = before.and_then(|before| before.clusters.get(&cluster.config.name));
    WorkerCluster::carry(cluster, known, worker)
}

fn carry_filter(
    filter: &Arc<LoadedFilter>,
    before: Option<&WorkerSnapshot>,
    worker: usize,
) -> Rc<WorkerFilter> {
    before
        .into_iter()
        .flat_map(|before| &before.filters)
        .find(|(known, _)| Arc::ptr_eq(known, filter))
        .map(|(_, local)| local.clone())
        .unwrap_or_else(|| WorkerFilter::new(filter.clone(), worker))
}

type Known = [(Arc<LoadedFilter>, Rc<WorkerFilter>)];

fn places(chain: &[Arc<LoadedFilter>], shared: &Snapshot, known: &Known) -> Vec<Place> {
    let own = |wanted: &Arc<LoadedFilter>| {
        let mut known = known.iter();
        let known = known.find(|(filter, _)| Arc::ptr_eq(filter, wanted));
        known.map(|(_, own)| own.clone())
    };
    let place = |wanted: &Arc<LoadedFilter>| {
        let canary = shared.canary(wanted.name()).and_then(|canary| {
            let rules = shared.config.canary(canary.name())?;
            Some(WorkerCanary {
                filter: own(canary)?,
                share: rules.share,
                sticky_by: rules.sticky_by.clone(),
            })
        });
        let place = Place {
            stable: own(wanted)?,
            canary,
            shadow: shared.shadow(wanted.name()).cloned(),
        };
        if place.canary.is_some() || place.shadow.is_some() {
            place.stable.is_compared();
        }
        Some(place)
    };
    chain.iter().filter_map(place).collect()
}
