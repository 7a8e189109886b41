//! An endpoint that gives nothing is asked now and then, instead of each time.
//!
//! Finagle's fail fast, and what clients of gRPC do between attempts to connect: after some
//! requests in a row that got nothing, one in each pause is let through, until one is
//! answered. An outage then costs the proxy and the endpoint less than serving does, and is
//! over a pause after the endpoint is back. The pause does not grow: a request that is let
//! through is no more than a check would be.
//!
//! Counted by all workers in one place for each endpoint. While it answers, that is read and
//! not written, so that it stays in every cache.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// So many in a row that got nothing make an endpoint silent. As many as eject it, by the
/// defaults, where it can be ejected.
pub const SILENT_AFTER: u32 = 5;

#[derive(Debug, Default)]
pub struct Silence {
    in_a_row: AtomicU32,
    /// When the next may be asked, once it is silent: in milliseconds.
    next: AtomicU64,
}

impl Silence {
    /// A request, or a connection, got nothing. Whether that makes it silent.
    pub fn got_nothing(&self) -> bool {
        // There is no need to count on.
        !self.is_silent() && self.in_a_row.fetch_add(1, Relaxed) + 1 == SILENT_AFTER
    }

    /// It has answered, whatever that was. Whether it had been silent.
    pub fn answered(&self) -> bool {
        self.in_a_row.load(Relaxed) != 0 && self.in_a_row.swap(0, Relaxed) >= SILENT_AFTER
    }

    /// Whether nothing came of so many that it is asked only now and then.
    pub fn is_silent(&self) -> bool {
        self.in_a_row.load(Relaxed) >= SILENT_AFTER
    }

    /// Whether it is silent, and it is not yet time to ask it.
    pub fn is_left_alone(&self, now: u64) -> bool {
        self.is_silent() && now < self.next.load(Relaxed)
    }

    /// Takes the turn of asking it, of which a silent one has one in each `pause`. `false`
    /// where it is not time, or somebody else was faster.
    pub fn may_ask(&self, now: u64, pause: u64) -> bool {
        if !self.is_silent() {
            return true;
        }
        let next = self.next.load(Relaxed);
        let after = now.saturating_add(pause);
        now >= next
            && (self.next)
                .compare_exchange(next, after, Relaxed, Relaxed)
                .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: u64 = 100;

    fn silent() -> Silence {
        let silence = Silence::default();
        let made = (0..SILENT_AFTER).map(|_| silence.got_nothing());
        assert_eq!(made.filter(|is_silent| *is_silent).count(), 1);
        silence
    }

    #[test]
    fn one_that_is_not_silent_is_asked_each_time() {
        let silence = Silence::default();
        for _ in 1..SILENT_AFTER {
            assert!(!silence.got_nothing());
        }
        assert!((0..100).all(|_| silence.may_ask(7, PAUSE)));
        assert!(!silence.is_left_alone(7));
        // An answer between them, and it begins again.
        assert!(!silence.answered());
        assert!(!silence.got_nothing());
        assert!(silence.may_ask(8, PAUSE));
    }

    #[test]
    fn a_silent_one_is_asked_once_in_a_pause() {
        let silence = silent();
        let asked: Vec<u64> = (1000..2000)
            .filter(|now| silence.may_ask(*now, PAUSE))
            .collect();
        assert_eq!(asked, (1000..2000).step_by(100).collect::<Vec<_>>());
        assert!(silence.is_left_alone(1999));
        assert!(!silence.is_left_alone(2000));
        // Nothing comes of those either, which changes nothing.
        assert!(!silence.got_nothing());
        assert!(!silence.may_ask(1999, PAUSE));
    }

    #[test]
    fn an_answer_ends_it_at_once() {
        let silence = silent();
        assert!(silence.may_ask(1000, PAUSE));
        assert!(silence.answered());
        assert!(!silence.is_left_alone(1001));
        assert!((0..100).all(|_| silence.may_ask(1001, PAUSE)));
    }

    #[test]
    fn without_a_pause_there_is_no_silence() {
        let silence = silent();
        assert!((0..100).all(|_| silence.may_ask(1000, 0)));
        assert!(!silence.is_left_alone(1000));
    }

    #[test]
    fn of_all_who_ask_at_once_one_may() {
        let silence = silent();
        let asked = std::thread::scope(|scope| {
            let ask = || (0..1000).filter(|_| silence.may_ask(5000, PAUSE)).count();
            let asking: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
            let asked = asking.into_iter().map(|one| one.join().unwrap());
            asked.sum::<usize>()
        });
        assert_eq!(asked, 1);
    }
}
