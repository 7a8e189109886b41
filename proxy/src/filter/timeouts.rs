//! The times of an exchange that filters may set.

use std::ops::Index;
use std::time::Duration;

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timed {
    /// From the request's first byte to the answer's last.
    Total,
    /// One try, to the head of its answer.
    Try,
    /// Without a byte of the answer's body.
    Idle,
    /// Until a new connection is there, TLS and all.
    Connect,
    /// Of that, the TLS handshake.
    Tls,
    /// From the request's last byte to the answer's head.
    Answer,
}

/// What filters said of each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timeouts([Option<Duration>; 6]);

impl Timeouts {
    /// Gives back what was said before.
    pub fn set(&mut self, which: Timed, after: Option<Duration>) -> Option<Duration> {
        std::mem::replace(&mut self.0[which as usize], after)
    }
}

impl Index<Timed> for Timeouts {
    type Output = Option<Duration>;

    fn index(&self, which: Timed) -> &Self::Output {
        &self.0[which as usize]
    }
}
