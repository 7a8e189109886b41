//! What is told of an endpoint whose health has changed.

use std::time::Duration;

use crate::balance::health::{Health, Told, Why};
use crate::balance::outlier::Cause;
use crate::cluster::{Cluster, Endpoint, EndpointSet};
use crate::stats::{EndpointState, HealthStats};

/// Written by the control thread alone.
pub fn stats(cluster: &Cluster) -> &HealthStats {
    &cluster.stats.of(0).health
}

pub fn ejected(cluster: &Cluster, endpoint: &Endpoint, cause: Cause, time: Duration) {
    stats(cluster).ejections[cause as usize].add(1);
    tracing::warn!(
        cluster = %cluster.name(),
        endpoint = %endpoint.label,
        reason = cause.name(),
        seconds = time.as_secs_f64(),
        "an endpoint is ejected"
    );
}

/// There are too many already.
pub fn kept(cluster: &Cluster, endpoint: &Endpoint, cause: Cause) {
    stats(cluster).ejections_refused.add(1);
    tracing::debug!(
        cluster = %cluster.name(),
        endpoint = %endpoint.label,
        reason = cause.name(),
        "an endpoint is not ejected: others are"
    );
}

pub fn returned(cluster: &Cluster, endpoint: &Endpoint) {
    tracing::info!(
        cluster = %cluster.name(),
        endpoint = %endpoint.label,
        "an endpoint is back that was ejected"
    );
}

pub fn checks_fail(cluster: &Cluster, endpoint: &Endpoint, failure: &str) {
    tracing::warn!(
        cluster = %cluster.name(),
        endpoint = %endpoint.label,
        reason = failure,
        "an endpoint fails its health checks"
    );
}

pub fn checks_pass(cluster: &Cluster, endpoint: &Endpoint) {
    tracing::info!(
        cluster = %cluster.name(),
        endpoint = %endpoint.label,
        "an endpoint passes its health checks"
    );
}

pub fn silent(cluster: &Cluster, endpoint: &Endpoint) {
    tracing::warn!(
        cluster = %cluster.name(),
        endpoint = %endpoint.label,
        "an endpoint is silent: it takes no connections, or answers on none"
    );
}

pub fn heard(cluster: &Cluster, endpoint: &Endpoint) {
    tracing::info!(
        cluster = %cluster.name(),
        endpoint = %endpoint.label,
        "an endpoint answers again that was silent"
    );
}

pub fn degraded(cluster: &Cluster, endpoint: &Endpoint, is_degraded: bool) {
    tracing::info!(
        cluster = %cluster.name(),
        endpoint = %endpoint.label,
        is_degraded,
        "an endpoint says how it is in an answer to a check"
    );
}

pub fn told(cluster: &Cluster, endpoint: &Endpoint, told: Option<Told>) {
    let told = match told {
        Some(Told::Drain) => "drain",
        Some(Told::Ready) => "ready",
        None => "auto",
    };
    tracing::info!(
        cluster = %cluster.name(),
        endpoint = %endpoint.label,
        told,
        "an endpoint is told by hand how it is"
    );
}

/// Counts who is how, and tells when that becomes or ceases to be a panic.
pub fn planned(cluster: &Cluster, set: &EndpointSet) {
    let mut counts = [0; EndpointState::NAMES.len()];
    for endpoint in &*set.endpoints {
        counts[state(endpoint.vitals.health()) as usize] += 1;
    }
    let stats = stats(cluster);
    for (gauge, count) in stats.endpoints.iter().zip(counts) {
        gauge.set(count);
    }
    let is_in_panic = set.plan.is_in_panic();
    if (stats.panic.get() != 0) != is_in_panic {
        stats.panic.set(is_in_panic.into());
        let cluster = cluster.name();
        match is_in_panic {
            true => tracing::warn!(%cluster, "too few endpoints are well: sick ones are asked too"),
            false => tracing::info!(%cluster, "enough endpoints are well again"),
        }
    }
}

pub fn state(health: Health) -> EndpointState {
    match health {
        Health::Healthy => EndpointState::Healthy,
        Health::Degraded => EndpointState::Degraded,
        Health::Silent => EndpointState::Silent,
        Health::Sick(Why::Checks) => EndpointState::Sick,
        Health::Sick(Why::Ejected) => EndpointState::Ejected,
        Health::Drained => EndpointState::Drained,
    }
}
