//! An endpoint that gives nothing is asked now and then, instead of each time.
//!
//! Finagle's fail fast, and what clients of gRPC do between attempts to connect: once several
//! requests in a row got nothing for a while, one in each pause is let through, until one is
//! answered. An outage then costs the proxy and the endpoint less than serving does, and is
//! over a pause after the endpoint is back. The pause does not grow: a request that is let
//! through is no more than a check would be.
//!
//! Nothing is a connection that is not made or breaks without an answer, or an answer that is
//! not there in time. Of the two only the first says that there is nobody: who waits in vain
//! may have asked for what takes long.
//!
//! Counted by all workers in one place for each endpoint. While it answers, that is read and
//! not written, so that it stays in every cache.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};

/// So many in a row that got nothing make an endpoint silent. As many as eject it, by the
/// defaults, where it can be ejected.
pub const SILENT_AFTER: u32 = 5;

/// And for so long, in milliseconds, so that nobody who sends what breaks an endpoint's
/// connections has it taken for silent while others are answered.
const SILENT_FOR: u64 = 500;

/// The most that one who was let through is waited for before the next, in milliseconds.
const PATIENCE: u64 = 1000;

/// Times are in milliseconds.
#[derive(Debug, Default)]
pub struct Silence {
    in_a_row: AtomicU32,
    /// Of these: without a connection, since one was made last.
    unconnected: AtomicU32,
    /// Of these: on connections that broke.
    broken: AtomicU32,
    /// When the row began.
    since: AtomicU64,
    /// It lasts for long enough.
    is_silent: AtomicBool,
    /// When the next may be asked.
    next: AtomicU64,
}

/// What a request got that got nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nothing {
    /// No connection.
    Unconnected,
    /// One that broke.
    Broken,
    /// No answer in time.
    Late,
}

impl Silence {
    /// A request, or a connection, got nothing. Whether it is news that nobody is there.
    pub fn got(&self, nothing: Nothing, now: u64, pause: u64) -> bool {
        let was_gone = self.is_gone();
        let before = count(&self.in_a_row);
        if before == 0 {
            self.since.store(now, Relaxed);
        }
        match nothing {
            Nothing::Unconnected => count(&self.unconnected),
            Nothing::Broken => count(&self.broken),
            Nothing::Late => 0,
        };
        let lasts = now.saturating_sub(self.since.load(Relaxed));
        if before + 1 >= SILENT_AFTER && lasts >= SILENT_FOR {
            self.is_silent.store(true, Relaxed);
        }
        if self.is_silent() {
            // Nobody is waited for any more.
            self.next.store(now.saturating_add(pause), Relaxed);
        }
        self.is_gone() && !was_gone
    }

    /// A connection was made. Whether that was news.
    pub fn connected(&self) -> bool {
        if self.unconnected.load(Relaxed) == 0 {
            return false;
        }
        let was_gone = self.is_gone();
        self.unconnected.store(0, Relaxed);
        was_gone
    }

    /// It has answered, whatever that was. Whether that was news.
    pub fn answered(&self) -> bool {
        if self.in_a_row.load(Relaxed) == 0 {
            return false;
        }
        let was_gone = self.is_gone();
        self.unconnected.store(0, Relaxed);
        self.broken.store(0, Relaxed);
        self.is_silent.store(false, Relaxed);
        self.in_a_row.store(0, Relaxed);
        was_gone
    }

    /// Whether nothing came of so many, for so long, that it is asked only now and then.
    pub fn is_silent(&self) -> bool {
        self.is_silent.load(Relaxed)
    }

    /// Whether it is silent, and it is not yet time to ask it.
    pub fn is_left_alone(&self, now: u64) -> bool {
        self.is_silent() && now < self.next.load(Relaxed)
    }

    /// Whether it is silent, and that is because nobody is there.
    pub fn is_gone(&self) -> bool {
        let is_it = |count: &AtomicU32| count.load(Relaxed) >= SILENT_AFTER;
        self.is_silent() && (is_it(&self.unconnected) || is_it(&self.broken))
    }

    /// Takes the turn of asking it, of which a silent one has one in each `pause`, and one in
    /// a second while they hang. `false` where it is not time, or somebody else was faster.
    pub fn may_ask(&self, now: u64, pause: u64) -> bool {
        if !self.is_silent() || pause == 0 {
            return true;
        }
        let next = self.next.load(Relaxed);
        let after = now.saturating_add(pause.max(PATIENCE));
        now >= next
            && (self.next)
                .compare_exchange(next, after, Relaxed, Relaxed)
                .is_ok()
    }
}

/// One more, as far as that matters. How many there were before.
fn count(counter: &AtomicU32) -> u32 {
    let before = counter.load(Relaxed);
    if before < SILENT_AFTER {
        counter.fetch_add(1, Relaxed);
    }
    before
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: u64 = 100;

    /// From this time on.
    const SILENT: u64 = 1000;

    fn silent(nothing: Nothing) -> Silence {
        let silence = Silence::default();
        for time in 1..SILENT_AFTER {
            let time = SILENT - SILENT_FOR + u64::from(time) - 1;
            assert!(!silence.got(nothing, time, PAUSE));
        }
        assert!(!silence.is_silent());
        let is_news = silence.got(nothing, SILENT, 0);
        assert_eq!(is_news, nothing != Nothing::Late);
        assert!(silence.is_silent());
        silence
    }

    #[test]
    fn one_that_is_not_silent_is_asked_each_time() {
        let silence = Silence::default();
        for time in 1..SILENT_AFTER {
            assert!(!silence.got(Nothing::Broken, u64::from(time), PAUSE));
        }
        let late = 10_000;
        assert!((0..100).all(|_| silence.may_ask(late, PAUSE)));
        // An answer between them, and it begins again. All at once are one event.
        assert!(!silence.answered());
        for _ in 0..3 * SILENT_AFTER {
            assert!(!silence.got(Nothing::Broken, late, PAUSE));
        }
        assert!(!silence.is_left_alone(late) && !silence.is_silent());
        assert!((0..100).all(|_| silence.may_ask(late + SILENT_FOR, PAUSE)));
    }

    #[test]
    fn a_silent_one_is_asked_once_in_a_pause() {
        let silence = silent(Nothing::Broken);
        let ask = |now: &u64| {
            let may_ask = silence.may_ask(*now, PAUSE);
            if may_ask {
                assert!(!silence.got(Nothing::Broken, *now, PAUSE), "it is known");
            }
            may_ask
        };
        let asked: Vec<u64> = (SILENT..2 * SILENT).filter(ask).collect();
        assert_eq!(asked, (SILENT..2 * SILENT).step_by(100).collect::<Vec<_>>());
        assert!(silence.is_left_alone(2 * SILENT - 1));
        assert!(!silence.is_left_alone(2 * SILENT));
    }

    #[test]
    fn one_that_hangs_is_asked_once_in_a_second() {
        let silence = silent(Nothing::Late);
        let asked = (SILENT..11 * SILENT).filter(|now| silence.may_ask(*now, PAUSE));
        assert_eq!(asked.count(), 10);
        assert!(!silence.is_gone(), "it may be what is asked of it");
    }

    #[test]
    fn an_answer_ends_it_at_once() {
        let silence = silent(Nothing::Broken);
        assert!(silence.is_gone() && silence.may_ask(SILENT, PAUSE));
        assert!(silence.answered());
        assert!(!silence.answered());
        assert!(!silence.is_left_alone(SILENT + 1) && !silence.is_gone());
        assert!((0..100).all(|_| silence.may_ask(SILENT + 1, PAUSE)));
    }

    #[test]
    fn who_takes_connections_again_is_not_gone() {
        let silence = silent(Nothing::Unconnected);
        assert!(silence.is_gone());
        assert!(silence.connected());
        assert!(!silence.connected());
        assert!(silence.is_silent() && !silence.is_gone());
        // But it is where each of them breaks.
        let silence = silent(Nothing::Broken);
        assert!(!silence.connected());
        assert!(silence.is_gone());
    }

    #[test]
    fn without_a_pause_all_are_let_through() {
        let silence = silent(Nothing::Broken);
        silence.got(Nothing::Broken, SILENT, 0);
        assert!((0..100).all(|_| silence.may_ask(SILENT, 0)));
        assert!(!silence.is_left_alone(SILENT));
    }

    #[test]
    fn of_all_who_ask_at_once_one_may() {
        let silence = silent(Nothing::Broken);
        let asked = std::thread::scope(|scope| {
            let ask = || (0..1000).filter(|_| silence.may_ask(5000, PAUSE)).count();
            let asking: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
            let asked = asking.into_iter().map(|one| one.join().unwrap());
            asked.sum::<usize>()
        });
        assert_eq!(asked, 1);
    }
}
