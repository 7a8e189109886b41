//! Retries of one cluster that were not made, on one worker.

use super::counter::Counter;

/// Why a request was not tried again that would have been.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoRetry {
    /// The cluster's budget was spent.
    Budget,
    /// As many were under way as the budget lets be.
    AtOnce,
    /// As many as `limits.retries` lets be.
    Limit,
    /// No time was left for it.
    Deadline,
    /// Its body was larger than what is kept.
    Body,
    /// The hop before tries it again itself.
    OuterHop,
}

impl NoRetry {
    pub const NAMES: [&str; 6] = [
        "budget",
        "at_once",
        "limit",
        "deadline",
        "body",
        "outer_hop",
    ];

    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}

#[derive(Debug, Default)]
pub struct NoRetries([Counter; NoRetry::NAMES.len()]);

impl NoRetries {
    pub fn count(&self, why: NoRetry) {
        self.0[why as usize].add(1);
    }

    /// By the index of the reason's name.
    pub fn of(&self, index: usize) -> &Counter {
        &self.0[index]
    }
}
