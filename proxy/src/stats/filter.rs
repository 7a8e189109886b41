//! What one filter of one generation did on one worker, and what it cost.

use std::time::Duration;

use super::counter::{Counter, Gauge};

/// The phases of an exchange, and of a connection, in which a filter is called.
pub const PHASES: [&str; 9] = [
    "request",
    "request-body",
    "request-trailers",
    "response",
    "response-body",
    "response-trailers",
    "transform",
    "done",
    "connection",
];

/// Every way in which a filter breaks its promises, in the order of the
/// filter host's own list.
pub const FAULTS: [&str; 15] = [
    "error",
    "trap",
    "overrun",
    "memory",
    "stack",
    "output-limit",
    "host-calls",
    "call-time",
    "invalid-verdict",
    "invalid-reply",
    "reply-too-large",
    "create",
    "no-instance",
    "paused",
    "late",
];

#[derive(Debug, Default)]
pub struct FilterStats {
    /// By the index in [`PHASES`].
    calls: [Counter; PHASES.len()],
    /// CPU time in nanoseconds, by the same: what was measured, as often as it
    /// stands for calls that were not.
    cpu: [Counter; PHASES.len()],
    /// By the index in [`FAULTS`].
    faults: [Counter; FAULTS.len()],
    pub host_calls: Counter,
    /// Instances that the worker has, lent or idle, and their linear memory.
    pub instances: Gauge,
    pub memory_bytes: Gauge,
    pub instances_made: Counter,
    /// Thrown away after a fault.
    pub instances_lost: Counter,
    /// Calls that had to wait for an instance.
    pub instance_waits: Waits,
    /// Waits for calls to clusters.
    pub call_waits: Waits,
    /// Bytes of bodies that it was given, and that it gave: in place of those, or as
    /// answers of its own.
    pub body_bytes_in: Counter,
    pub body_bytes_out: Counter,
    /// Log lines beyond the limit of a call.
    pub log_lines_dropped: Counter,
    /// When its last pause ends, in milliseconds since 1970.
    pub paused_until: Gauge,
}

/// Waits of one kind.
#[derive(Debug, Default)]
pub struct Waits {
    pub count: Counter,
    pub nanoseconds: Counter,
}

impl Waits {
    pub fn began(&self) {
        self.count.add(1);
    }

    pub fn ended(&self, took: Duration) {
        self.nanoseconds.add(nanoseconds(took));
    }
}

impl FilterStats {
    /// Calls of the phase of this index in [`PHASES`].
    pub fn calls(&self, phase: usize) -> &Counter {
        &self.calls[phase]
    }

    /// CPU nanoseconds of the phase of this index in [`PHASES`].
    pub fn cpu(&self, phase: usize) -> &Counter {
        &self.cpu[phase]
    }

    /// Faults of this index in [`FAULTS`].
    pub fn faults(&self, fault: usize) -> &Counter {
        &self.faults[fault]
    }

    /// Notes what a measured call used, which stands for `weight` calls.
    pub fn measured(&self, phase: usize, used: Duration, weight: u32) {
        let used = nanoseconds(used).saturating_mul(u64::from(weight));
        self.cpu[phase].add(used);
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
