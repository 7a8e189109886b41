//! How the endpoints of a cluster are.

use super::counter::{Counter, Gauge};
use crate::balance::outlier::Cause;

/// The control thread alone writes it, in the place of the first worker.
#[derive(Debug, Default)]
pub struct HealthStats {
    /// By the index of the cause.
    pub ejections: [Counter; Cause::NAMES.len()],
    /// Ejections that were due, and would have been too many.
    pub ejections_refused: Counter,
    pub checks_passed: Counter,
    pub checks_failed: Counter,
    /// How many there are of each [`EndpointState`].
    pub endpoints: [Gauge; EndpointState::NAMES.len()],
    /// 1 while sick ones are asked because too few are well.
    pub panic: Gauge,
    /// From 0, closed, to 3, open.
    pub breaker: Gauge,
    /// Requests at once that are let in now, where that is learnt.
    pub learnt_limit: Gauge,
}

/// How an endpoint is, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndpointState {
    Healthy,
    Degraded,
    /// It takes no connections, or answers on none.
    Silent,
    /// It fails its checks.
    Sick,
    Ejected,
    Drained,
}

impl EndpointState {
    pub const NAMES: [&str; 6] = [
        "healthy", "degraded", "silent", "sick", "ejected", "drained",
    ];

    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}
