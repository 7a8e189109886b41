//! What a filter did and cost, of one generation over all workers, in the form in
//! which the admin address tells it.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::counter::{Counter, Gauge, PerWorker};
use super::filter::{FAULTS, FilterStats, PHASES, Waits};

/// Everything since the process started. What never happened is left out of maps.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Bill {
    /// The beginning of the component's digest.
    pub generation: String,
    /// By phase.
    pub calls: BTreeMap<String, u64>,
    /// By phase; a sampled figure.
    pub cpu_seconds: BTreeMap<String, f64>,
    pub host_calls: u64,
    pub instance_waits: u64,
    pub instance_wait_seconds: f64,
    pub call_waits: u64,
    pub call_wait_seconds: f64,
    pub body_bytes_in: u64,
    pub body_bytes_out: u64,
    /// That workers have now, and their linear memory.
    pub instances: i64,
    pub memory_bytes: i64,
    pub instances_made: u64,
    pub instances_lost: u64,
    /// By name.
    pub faults: BTreeMap<String, u64>,
    pub log_lines_dropped: u64,
    /// Workers that do not call it for a while.
    pub paused_workers: usize,
}

impl Bill {
    pub fn of(generation: &str, stats: &PerWorker<FilterStats>) -> Self {
        let sum = |counter: fn(&FilterStats) -> &Counter| stats.sum(counter);
        let level = |gauge: fn(&FilterStats) -> &Gauge| stats.level(gauge);
        Self {
            generation: generation.to_owned(),
            calls: happened(&PHASES, |phase| stats.sum(|stats| stats.calls(phase))),
            cpu_seconds: PHASES
                .iter()
                .zip(0..)
                .map(|(name, phase)| (*name, stats.sum(|stats| stats.cpu(phase))))
                .filter(|(_, nanoseconds)| *nanoseconds > 0)
                .map(|(name, nanoseconds)| (name.to_owned(), seconds(nanoseconds)))
                .collect(),
            host_calls: sum(|stats| &stats.host_calls),
            instance_waits: waits(stats, |stats| &stats.instance_waits),
            instance_wait_seconds: waited(stats, |stats| &stats.instance_waits),
            call_waits: waits(stats, |stats| &stats.call_waits),
            call_wait_seconds: waited(stats, |stats| &stats.call_waits),
            body_bytes_in: sum(|stats| &stats.body_bytes_in),
            body_bytes_out: sum(|stats| &stats.body_bytes_out),
            instances: level(|stats| &stats.instances),
            memory_bytes: level(|stats| &stats.memory_bytes),
            instances_made: sum(|stats| &stats.instances_made),
            instances_lost: sum(|stats| &stats.instances_lost),
            faults: happened(&FAULTS, |fault| stats.sum(|stats| stats.faults(fault))),
            log_lines_dropped: sum(|stats| &stats.log_lines_dropped),
            paused_workers: paused_workers(stats, SystemTime::now()),
        }
    }
}

/// Workers on which the filter is paused at `now`.
pub fn paused_workers(stats: &PerWorker<FilterStats>, now: SystemTime) -> usize {
    let now = milliseconds_since_1970(now);
    let paused = |stats: &&FilterStats| stats.paused_until.get() > now;
    stats.iter().filter(paused).count()
}

/// A time in the form of [`FilterStats::paused_until`].
pub fn milliseconds_since_1970(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    i64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(i64::MAX)
}

fn happened(names: &[&str], count: impl Fn(usize) -> u64) -> BTreeMap<String, u64> {
    let counted = names
        .iter()
        .zip(0..)
        .map(|(name, place)| (name, count(place)));
    let happened = counted.filter(|(_, count)| *count > 0);
    happened
        .map(|(name, count)| ((*name).to_owned(), count))
        .collect()
}

fn waits(stats: &PerWorker<FilterStats>, of: fn(&FilterStats) -> &Waits) -> u64 {
    stats.sum(|stats| &of(stats).count)
}

fn waited(stats: &PerWorker<FilterStats>, of: fn(&FilterStats) -> &Waits) -> f64 {
    seconds(stats.sum(|stats| &of(stats).nanoseconds))
}

fn seconds(nanoseconds: u64) -> f64 {
    Duration::from_nanos(nanoseconds).as_secs_f64()
}
