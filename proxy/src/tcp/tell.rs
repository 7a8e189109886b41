//! What is told of a connection that is over.

use std::net::SocketAddr;

use super::Facts;
use crate::error::ProxyError;
use crate::exchange::{Local, Record};
use crate::http::forwarded::Peer;
use crate::upstream::TryEnd;

/// Counts it and writes its line.
pub fn tell(
    local: &Local,
    (peer, socket_peer): (&Peer, SocketAddr),
    facts: &Facts,
    error: Option<&ProxyError>,
) {
    let endpoint = facts.progress.endpoint();
    let stats = facts.stats.of(local.worker);
    if facts.is_opaque {
        stats.tcp_connections.add(1);
    }
    if let Some(error) = error {
        stats.errors(error.kind as usize).add(1);
    }
    let end = error.map_or(TryEnd::Connected, |error| TryEnd::Error(error.kind));
    let tries = facts.progress.tries(end);
    local.log.write(&Record {
        started: facts.started,
        listener: &facts.listener,
        request_id: "",
        trace_id: "",
        client: peer.address(),
        peer: socket_peer,
        method: None,
        authority: None,
        path: None,
        version: None,
        user_agent: None,
        status: None,
        route: None,
        cluster: facts.cluster.as_deref(),
        endpoint: endpoint.as_ref().map(|endpoint| &*endpoint.label),
        reused: false,
        retries: facts.progress.retries(),
        tries: &tries,
        no_retry: facts.progress.no_retry(),
        bytes_in: facts.passed.up,
        bytes_out: facts.passed.down,
        duration: facts.began.elapsed(),
        switched: None,
        upstream: facts.connected.map(|at| at - facts.began),
        filter: facts.filter.as_deref(),
        filters: &[],
        error,
        attributes: peer.facts(),
    });
}
