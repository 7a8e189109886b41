//! What one filter of one generation did on one worker.

use std::time::Duration;

use super::counter::Counter;

/// The phases of an exchange in which a filter is called.
pub const PHASES: [&str; 8] = [
    "request",
    "request-body",
    "request-trailers",
    "response",
    "response-body",
    "response-trailers",
    "transform",
    "done",
];

/// Every way in which a filter breaks its promises, in the order of the
/// filter host's own list.
pub const FAULTS: [&str; 13] = [
    "error",
    "trap",
    "overrun",
    "memory",
    "stack",
    "output-limit",
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
    /// By the index in [`FAULTS`].
    faults: [Counter; FAULTS.len()],
    /// Time of the calls that were measured: a few of all, because reading the
    /// clock costs as much as a short call.
    sampled_nanoseconds: Counter,
    samples: Counter,
    pub instances_made: Counter,
    /// Thrown away after a fault.
    pub instances_lost: Counter,
    /// Calls that had to wait for an instance.
    pub waits: Counter,
    /// Log lines beyond the limit of a call.
    pub log_lines_dropped: Counter,
}

impl FilterStats {
    /// Calls of the phase of this index in [`PHASES`].
    pub fn calls(&self, phase: usize) -> &Counter {
        &self.calls[phase]
    }

    /// Faults of this index in [`FAULTS`].
    pub fn faults(&self, fault: usize) -> &Counter {
        &self.faults[fault]
    }

    /// Notes how long one measured call took.
    pub fn sample(&self, took: Duration) {
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.sampled_nanoseconds.add(nanoseconds);
        self.samples.add(1);
    }

    /// Time of the measured calls in nanoseconds, and how many they are.
    pub fn sampled(&self) -> (u64, u64) {
        (self.sampled_nanoseconds.get(), self.samples.get())
    }
}
