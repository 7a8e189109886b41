//! What is told of clusters and their endpoints, and what is said of these by hand.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::balance::breaker::State;
use crate::balance::health::Told;
use crate::cluster::clock::since_start;
use crate::cluster::{Bounds, Cluster, Endpoint, EndpointSet, Seen};
use crate::health;
use crate::stats::Gauge;

/// For `/clusters`.
pub fn cluster(cluster: &Arc<Cluster>) -> Value {
    let now = Instant::now();
    let set = cluster.endpoints.load();
    let bounds = cluster.bounds.as_deref();
    let endpoints = set.endpoints.iter().enumerate();
    let endpoints = endpoints.map(|(index, one)| endpoint(cluster, &set, index, one, now));
    json!({
        "name": &**cluster.name(),
        "balance": cluster.config.balance.name(),
        "panic": set.plan.is_in_panic(),
        "endpoints": endpoints.collect::<Vec<_>>(),
        "active": cluster.stats.level(|stats| &stats.active),
        "queued": cluster.stats.level(|stats| &stats.queued),
        "connecting": cluster.stats.level(|stats| &stats.connecting),
        "breaker": bounds.and_then(Bounds::breaker).map(State::name),
        "request_limit": bounds.and_then(Bounds::most_requests),
        "connections": cluster.stats.level(|stats| &stats.connections_open),
        "idle_connections": cluster.stats.level(|stats| &stats.connections_idle),
        "requests": cluster.stats.sum(|stats| &stats.requests),
        "connect_failures": cluster.stats.sum(|stats| &stats.connect_failures),
    })
}

fn endpoint(
    cluster: &Cluster,
    set: &EndpointSet,
    index: usize,
    endpoint: &Endpoint,
    now: Instant,
) -> Value {
    let (place, vitals) = (set.place(index), &endpoint.vitals);
    let labels = place.labels.iter().map(|(key, value)| (key, value));
    let level =
        |gauge: fn(&Seen) -> &Gauge| -> i64 { vitals.seen().map(|seen| gauge(seen).get()).sum() };
    let seen = || vitals.seen();
    let latencies = seen().map(|seen| seen.latency.load(Relaxed));
    let latency = latencies.max().filter(|latency| *latency > 0);
    let rules = &cluster.config.spread.slow_start;
    let share = vitals.age(now).map_or(1.0, |age| rules.share(age));
    json!({
        "address": &*endpoint.label,
        "weight": set.weight(index),
        "tier": place.tier,
        "zone": place.zone,
        "labels": labels.collect::<BTreeMap<_, _>>(),
        "health": health::state(vitals.health()).name(),
        "why": why(endpoint, now),
        "told": match vitals.signs().told {
            Some(Told::Drain) => Some("drain"),
            Some(Told::Ready) => Some("ready"),
            None => None,
        },
        "slow_start": (share < 1.0).then_some(share),
        "refusing": endpoint.is_refusing(now),
        "ejections": vitals.care().ejected_times,
        "requests": seen().map(|seen| seen.requests.get()).sum::<u64>(),
        "failures": seen().map(|seen| seen.failures.get()).sum::<u64>(),
        "active": level(|seen| &seen.active),
        "connections": level(|seen| &seen.open),
        "idle_connections": level(|seen| &seen.idle),
        "streams": level(|seen| &seen.streams),
        "ewma_ms": latency.map(|latency| latency as f64 / 1e6),
    })
}

/// What speaks against it, for people; nothing where nothing does.
fn why(endpoint: &Endpoint, now: Instant) -> Option<String> {
    let vitals = &endpoint.vitals;
    let signs = vitals.signs();
    let care = vitals.care();
    let mut reasons = Vec::new();
    match signs.told {
        Some(Told::Drain) => reasons.push("told to drain".to_owned()),
        Some(Told::Ready) => reasons.push("told to be ready".to_owned()),
        None => {}
    }
    if signs.checks_failed {
        let failures = care.checks.iter();
        let failures = failures.filter(|checked| checked.passes == Some(false));
        let failures: Vec<_> = failures
            .filter_map(|checked| checked.failure.as_deref())
            .collect();
        reasons.push(format!("checks: {}", failures.join(", ")));
    }
    if let Some(until) = care.ejections.until().filter(|_| signs.ejected) {
        let left = until.saturating_sub(since_start(now));
        let cause = care.cause.map_or("", |cause| cause.name());
        let seconds = left.as_secs_f64();
        reasons.push(format!("ejected: {cause}, for {seconds:.1} s more"));
    }
    if signs.degraded {
        reasons.push("says so in answers to checks".to_owned());
    }
    if signs.silent {
        reasons.push("silent: takes no connections, or answers on none".to_owned());
    } else if endpoint.is_refusing(now) {
        reasons.push("refused a connection".to_owned());
    }
    (!reasons.is_empty()).then(|| reasons.join("; "))
}
