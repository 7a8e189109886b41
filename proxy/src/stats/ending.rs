//! Connections of one listener that the proxy itself ended, on one worker.

use super::counter::Counter;

/// Why it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// No request came for too long.
    Idle,
    /// To make room.
    Overload,
    /// Of HTTP/2: a rule of its frames was broken, or a limit of its codec.
    Protocol,
    /// Too many streams were broken off.
    Resets,
    /// Too many frames carried nothing.
    ControlFrames,
    /// A ping was not answered.
    Ping,
    /// It had as many requests as it may.
    MaxRequests,
    /// Of HTTP/2: a head did not end in time.
    HeadTimeout,
}

impl Ending {
    pub const NAMES: [&str; 8] = [
        "idle",
        "overload",
        "protocol",
        "resets",
        "control_frames",
        "ping",
        "max_requests",
        "head_timeout",
    ];

    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}

#[derive(Debug, Default)]
pub struct Endings([Counter; Ending::NAMES.len()]);

impl Endings {
    pub fn count(&self, ending: Ending) {
        self.0[ending as usize].add(1);
    }

    /// By the index of the ending's name.
    pub fn of(&self, index: usize) -> &Counter {
        &self.0[index]
    }
}
