//! A client's place among the connections that one of its kind may have, and among the
//! handshakes.

use std::sync::Arc;

use crate::exchange::Local;
use crate::http::forwarded::{Peer, contains};
use crate::listener::{self, Counted, Socket};
use crate::snapshot::WorkerListener;
use crate::stats::Refusal;

/// Held by a connection for as long as it lives, or shakes hands.
pub struct Place {
    /// `None` of a proxy, which brings the connections of many.
    _of_client: Option<listener::Place>,
}

/// `None` where the client has as many connections as it may. Asked as soon as it is
/// known who the client is, and before a handshake is paid for.
pub fn take_place(local: &Local, socket: &Arc<Socket>, peer: &Peer) -> Option<Place> {
    let snapshot = local.snapshot_for(socket);
    let listener = snapshot.listener(socket)?;
    let limit = listener.shared.config.limits.max_client_connections;
    let place = take(listener, socket, peer, Counted::Connections, limit);
    if place.is_none() {
        let stats = listener.shared.stats.of(local.worker);
        stats.connections_refused.count(Refusal::Client);
        let (client, listener) = (peer.address(), &*listener.shared.config.name);
        tracing::debug!(%client, listener, "connection refused: the client has as many as it may");
    }
    place
}

/// `None` where the client has as many handshakes under way as it may.
pub fn take_handshake(
    listener: &WorkerListener,
    socket: &Arc<Socket>,
    peer: &Peer,
) -> Option<Place> {
    let limit = listener.shared.config.limits.max_client_handshakes;
    take(listener, socket, peer, Counted::Handshakes, limit)
}

fn take(
    listener: &WorkerListener,
    socket: &Arc<Socket>,
    peer: &Peer,
    counted: Counted,
    limit: usize,
) -> Option<Place> {
    if is_hop(listener, peer) {
        return Some(Place { _of_client: None });
    }
    let prefix = listener.shared.config.limits.client_ipv6_prefix;
    let place = listener::Place::take(socket, counted, peer.address(), prefix, limit);
    place.map(|place| Place {
        _of_client: Some(place),
    })
}

/// Whether it is a proxy of ours and nobody that it told of. Who is connected by a Unix
/// socket is not one client either.
fn is_hop(listener: &WorkerListener, peer: &Peer) -> bool {
    let config = &listener.shared.config;
    let is_told = peer
        .introduction()
        .is_some_and(|told| told.client().is_some());
    let balancers = config.proxy_protocol.as_ref().map(|rules| &*rules.from);
    peer.address().is_unspecified()
        || contains(&config.headers.trusted_hops, peer.address())
        || !is_told && balancers.is_some_and(|from| contains(from, peer.address()))
}
