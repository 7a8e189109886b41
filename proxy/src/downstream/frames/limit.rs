//! How many frames that carry nothing there may be.

use std::time::Duration;

use tokio::time::Instant;

/// In which frames are counted.
const WINDOW: Duration = Duration::from_secs(10);
/// A client that is sent much says so often that there is room again: one frame more for
/// each so many bytes. The answer to a PING is shorter, so a flood does not feed itself.
const BYTES_A_FRAME: u64 = 32;

/// After so many frames the clock is looked at.
const LOOK: u64 = 256;

/// How many there may be.
#[derive(Debug)]
pub(super) struct Limit {
    max: u64,
    /// In this window.
    frames: u64,
    written: u64,
    since: Instant,
    /// Frames since the clock was looked at.
    unlooked: u64,
}

impl Limit {
    pub fn new(max: u64, since: Instant) -> Self {
        Self {
            max,
            frames: 0,
            written: 0,
            since,
            unlooked: 0,
        }
    }

    /// The clock is only looked at now and then, and when that would be too many. So a
    /// window may have begun long before, and the one behind it counts in full; what was
    /// written in it gives no room in another.
    pub fn is_exceeded(&mut self, more: u64) -> bool {
        self.frames += more;
        self.unlooked += more;
        let is_exceeded = self.frames > self.max + self.written / BYTES_A_FRAME;
        if !is_exceeded && self.unlooked < LOOK {
            return false;
        }
        self.unlooked = 0;
        let now = Instant::now();
        if now - self.since < WINDOW {
            return is_exceeded;
        }
        *self = Self::new(self.max, now);
        false
    }

    /// So many bytes were written.
    pub fn note(&mut self, written: u64) {
        self.written += written;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_allows_for_more() {
        let mut limit = Limit::new(10, Instant::now());
        assert!(!limit.is_exceeded(10));
        limit.note(64);
        assert!(!limit.is_exceeded(2));
        assert!(limit.is_exceeded(1));
    }

    #[test]
    fn windows_pass() {
        let long_ago = Instant::now() - WINDOW;
        let mut limit = Limit::new(10, long_ago);
        assert!(!limit.is_exceeded(11));
        assert!(!limit.is_exceeded(10));
        assert!(limit.is_exceeded(1));
    }

    #[test]
    fn what_was_written_long_ago_gives_no_room() {
        let long_ago = Instant::now() - WINDOW;
        let mut limit = Limit::new(1000, long_ago);
        limit.note(1_000_000_000);
        let exceeded = (0..1_300).position(|_| limit.is_exceeded(1));
        // The window ended when the clock was looked at first.
        assert_eq!(exceeded, Some(LOOK as usize + 1_000));
    }
}
