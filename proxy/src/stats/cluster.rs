//! What one cluster did on one worker.

use super::counter::{Counter, Gauge, Histogram};
use super::health::HealthStats;
use super::listener::MAX_ERROR_KINDS;
use super::retries::NoRetries;

#[derive(Debug)]
pub struct ClusterStats {
    /// Requests handed to the cluster, each once, however often it was tried.
    pub requests: Counter,
    /// Requests without a complete answer, by the index of the error's kind.
    errors: [Counter; MAX_ERROR_KINDS],
    /// Requests under way, to the last byte of the answer.
    pub active: Gauge,
    /// Requests that wait for their turn, and of those under way the ones that wait for a
    /// connection to be made.
    pub queued: Gauge,
    pub connecting: Gauge,
    /// From the choice of an endpoint to the head of its answer.
    pub durations: Histogram,
    pub connections_opened: Counter,
    /// Requests that found an idle connection.
    pub connections_reused: Counter,
    /// Closed before they could be reused: broken, unfinished or not wanted.
    pub connections_discarded: Counter,
    /// Idle connections closed for their age, or by the origin.
    pub connections_expired: Counter,
    pub connections_idle: Gauge,
    /// Idle or not.
    pub connections_open: Gauge,
    /// Connections that an endpoint refused, or that were not made in time.
    pub connect_failures: Counter,
    /// Tries beyond the first.
    pub retries: Counter,
    /// Of these, those beside a first one that took long, and those that were answered
    /// sooner than it.
    pub hedges: Counter,
    pub hedges_won: Counter,
    /// Requests of which the breaker knows how they went, where there is one; those that
    /// failed; and both again of those that it let through to see.
    pub judged: Counter,
    pub judged_failed: Counter,
    pub probes: Counter,
    pub probes_failed: Counter,
    pub retries_denied: NoRetries,
    /// Copies of requests sent here, those not made because there were too many
    /// under way, and those that did not end well.
    pub copies: Counter,
    pub copies_refused: Counter,
    pub copies_failed: Counter,
    pub health: HealthStats,
}

impl ClusterStats {
    /// Requests that failed with the kind of this index.
    pub fn errors(&self, kind: usize) -> &Counter {
        &self.errors[kind]
    }
}

impl Default for ClusterStats {
    fn default() -> Self {
        Self {
            requests: Counter::default(),
            errors: std::array::from_fn(|_| Counter::default()),
            active: Gauge::default(),
            queued: Gauge::default(),
            connecting: Gauge::default(),
            durations: Histogram::default(),
            connections_opened: Counter::default(),
            connections_reused: Counter::default(),
            connections_discarded: Counter::default(),
            connections_expired: Counter::default(),
            connections_idle: Gauge::default(),
            connections_open: Gauge::default(),
            connect_failures: Counter::default(),
            retries: Counter::default(),
            hedges: Counter::default(),
            hedges_won: Counter::default(),
            judged: Counter::default(),
            judged_failed: Counter::default(),
            probes: Counter::default(),
            probes_failed: Counter::default(),
            retries_denied: NoRetries::default(),
            copies: Counter::default(),
            copies_refused: Counter::default(),
            copies_failed: Counter::default(),
            health: HealthStats::default(),
        }
    }
}
