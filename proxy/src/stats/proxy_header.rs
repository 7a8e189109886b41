//! PROXY headers of one listener on one worker.

use super::counter::Counter;

/// What became of the header that a connection was to begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderOutcome {
    V1,
    V2,
    /// There was none, and none was required.
    Absent,
    /// There was none, and one was required.
    Missing,
    /// The peer may not send one, and one was required.
    Untrusted,
    Malformed,
    Timeout,
    /// The connection ended before.
    Closed,
}

impl HeaderOutcome {
    pub const NAMES: [&str; 8] = [
        "v1",
        "v2",
        "absent",
        "missing",
        "untrusted",
        "malformed",
        "timeout",
        "closed",
    ];

    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}

#[derive(Debug, Default)]
pub struct ProxyHeaders([Counter; HeaderOutcome::NAMES.len()]);

impl ProxyHeaders {
    pub fn count(&self, outcome: HeaderOutcome) {
        self.0[outcome as usize].add(1);
    }

    /// By the index of the outcome's name.
    pub fn of(&self, index: usize) -> &Counter {
        &self.0[index]
    }
}
