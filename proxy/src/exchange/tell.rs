//! Puts the record of an exchange together.

use std::time::SystemTime;

use http::Version;

use super::Scene;
use super::access_log::AccessLog;
use super::answer::Facts;
use super::begin::Asked;
use super::record::Record;
use super::send::{Refused, Sent};
use crate::error::ProxyError;
use crate::filter::View;
use crate::stats::ListenerStats;

/// Of an exchange that is over. `stats` are its listener's.
pub fn tell(
    log: &AccessLog,
    stats: &ListenerStats,
    asked: &Asked,
    view: &View,
    sent: &Sent,
    facts: &Facts,
) {
    Record {
        started: SystemTime::now() - view.started.elapsed(),
        listener: &view.listener,
        request_id: view.request_id(),
        trace_id: &view.trace_id,
        client: view.client_address,
        peer: asked.peer,
        method: Some(asked.method.as_str()),
        authority: asked.authority.as_ref().map(|authority| authority.as_str()),
        path: Some(asked.path.as_str()),
        version: Some(asked.version),
        user_agent: asked.user_agent.as_ref().map(|agent| agent.as_bytes()),
        status: sent.status,
        route: view.decisions.route.as_deref(),
        cluster: facts.cluster.as_deref(),
        endpoint: facts.endpoint.as_ref().map(|endpoint| &*endpoint.label),
        reused: facts.reused,
        retries: facts.retries,
        tries: &facts.tries,
        no_retry: facts.no_retry,
        bytes_in: view.request_bytes,
        bytes_out: view.response_bytes,
        duration: sent.duration,
        switched: sent.switched,
        upstream: facts.upstream,
        filter: facts.filter.as_deref(),
        filters: view.told.as_deref().unwrap_or_default(),
        error: facts.error.as_ref(),
        attributes: &view.attributes,
    }
    .emit(stats, log);
}

/// Of a head that could not be read, little is known.
pub fn tell_refused(scene: &Scene<'_>, version: Version, refused: &Refused, error: &ProxyError) {
    let duration = scene.started.elapsed();
    Record {
        started: SystemTime::now() - duration,
        listener: &scene.listener.shared.config.name,
        request_id: refused.request_id.to_str().unwrap_or_default(),
        trace_id: "",
        client: scene.peer.address(),
        peer: scene.socket_peer,
        method: None,
        authority: None,
        path: None,
        version: Some(version),
        user_agent: None,
        status: refused.status,
        route: None,
        cluster: None,
        endpoint: None,
        reused: false,
        retries: 0,
        tries: &[],
        no_retry: None,
        bytes_in: 0,
        bytes_out: refused.body_bytes,
        duration,
        switched: None,
        upstream: None,
        filter: None,
        filters: &[],
        error: Some(error),
        attributes: &[],
    }
    .emit(scene.stats(), &scene.local.log);
}
