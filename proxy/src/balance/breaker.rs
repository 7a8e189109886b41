//! Whether a cluster that mostly fails is asked at all.
//!
//! The circuit breaker (Nygard, "Release It!", 2007): closed; open for a time once too many
//! requests of a window failed; half open, when a few are let through to see. What is added:
//! it closes gradually, a growing share of requests over a time, since an origin that has
//! just come back has cold caches and connections to make; and it stays open longer each
//! time that it opens again before it was closed for whole.
//!
//! The control thread owns the [`Breaker`] and looks at sums of the workers' counters, ten
//! times a second. Workers see the [`Gate`]: one word to read while all is well.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// It opens when so large a share of requests failed, from 0 to 1.
    pub failed: f64,
    /// Of at least so many in the window.
    pub min_requests: u64,
    pub window: Duration,
    /// How long it is open the first time, then twice as long each time.
    pub open: Duration,
    pub max_open: Duration,
    /// Requests let through when it is half open; all have to go well.
    pub probes: u32,
    /// From the first share to all requests.
    pub closing: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            failed: 0.5,
            min_requests: 20,
            window: Duration::from_secs(10),
            open: Duration::from_secs(1),
            max_open: Duration::from_secs(30),
            probes: 3,
            closing: Duration::from_secs(5),
        }
    }
}

/// The first share of requests when it begins to close.
const FIRST_SHARE: f64 = 0.1;

/// Parts of the window that are forgotten one by one.
const PARTS: usize = 10;

/// Requests that ended, not counting those that were refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub ended: u64,
    pub failed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum State {
    Closed,
    Open {
        until: Duration,
    },
    /// Since when, and what became of requests since.
    HalfOpen {
        since: Duration,
        seen: Counts,
    },
    Closing {
        since: Duration,
    },
}

impl State {
    /// In a word, for people.
    pub fn name(self) -> &'static str {
        match self {
            State::Closed => "closed",
            State::Closing { .. } => "closing",
            State::HalfOpen { .. } => "half_open",
            State::Open { .. } => "open",
        }
    }

    /// From 0, closed, to 3, open.
    pub fn level(self) -> i64 {
        match self {
            State::Closed => 0,
            State::Closing { .. } => 1,
            State::HalfOpen { .. } => 2,
            State::Open { .. } => 3,
        }
    }
}

/// What workers may let through.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Admission {
    All,
    None,
    /// So many, and no more.
    Probes(u32),
    /// This share of requests, by chance.
    Share(f64),
}

#[derive(Debug)]
pub struct Breaker {
    rules: Rules,
    state: State,
    /// That it opened without having been closed for whole.
    times: u32,
    recent: [Counts; PARTS],
    /// The part of `recent` that counts now, and since when.
    part: usize,
    part_since: Duration,
}

impl Breaker {
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            state: State::Closed,
            times: 0,
            recent: [Counts::default(); PARTS],
            part: 0,
            part_since: Duration::ZERO,
        }
    }

    pub fn state(&self) -> State {
        self.state
    }

    /// `new` is what ended since the last time; in half open only probes are to be counted,
    /// since what else ends began before. Gives what is admitted from now on where
    /// that changes.
    pub fn tick(&mut self, now: Duration, new: Counts) -> Option<Admission> {
        self.count(now, new);
        match self.state {
            State::Closed => self.fails().then(|| self.open(now)),
            State::Open { until } => (now >= until).then(|| self.half_open(now)),
            State::HalfOpen { since, seen } => self.judge(now, since, add(seen, new)),
            State::Closing { .. } if self.fails() => Some(self.open(now)),
            State::Closing { since } => Some(self.close_further(now, since)),
        }
    }

    fn open(&mut self, now: Duration) -> Admission {
        self.state = State::Open {
            until: now.saturating_add(self.open_for()),
        };
        self.times = self.times.saturating_add(1);
        Admission::None
    }

    fn open_for(&self) -> Duration {
        let factor = 1 << self.times.min(30);
        self.rules
            .open
            .saturating_mul(factor)
            .min(self.rules.max_open)
    }

    fn half_open(&mut self, now: Duration) -> Admission {
        self.state = State::HalfOpen {
            since: now,
            seen: Counts::default(),
        };
        Admission::Probes(self.rules.probes.max(1))
    }

    /// Probes that nothing is heard of, as those of a frozen origin, are made anew after the
    /// time that it would have been open.
    fn judge(&mut self, now: Duration, since: Duration, seen: Counts) -> Option<Admission> {
        self.state = State::HalfOpen { since, seen };
        let good = seen.ended.saturating_sub(seen.failed);
        match () {
            () if seen.failed > 0 => Some(self.open(now)),
            () if good >= u64::from(self.rules.probes.max(1)) => {
                self.recent = Default::default();
                self.state = State::Closing { since: now };
                Some(self.close_further(now, now))
            }
            () if now.saturating_sub(since) >= self.open_for() => Some(self.half_open(now)),
            () => None,
        }
    }

    fn close_further(&mut self, now: Duration, since: Duration) -> Admission {
        let passed = now.saturating_sub(since);
        if passed >= self.rules.closing {
            self.state = State::Closed;
            self.times = 0;
            return Admission::All;
        }
        let part = passed.as_secs_f64() / self.rules.closing.as_secs_f64();
        Admission::Share(FIRST_SHARE + (1.0 - FIRST_SHARE) * part)
    }

    fn fails(&self) -> bool {
        let all = self.recent.into_iter().fold(Counts::default(), add);
        all.ended >= self.rules.min_requests.max(1)
            && all.failed as f64 >= all.ended as f64 * self.rules.failed
    }

    fn count(&mut self, now: Duration, new: Counts) {
        let length = self.rules.window / PARTS as u32;
        let passed = now.saturating_sub(self.part_since);
        let parts = match length.is_zero() {
            true => PARTS,
            false => (passed.as_nanos() / length.as_nanos()).min(PARTS as u128) as usize,
        };
        for _ in 0..parts {
            self.part = (self.part + 1) % PARTS;
            self.recent[self.part] = Counts::default();
        }
        if parts > 0 {
            self.part_since = now;
        }
        self.recent[self.part] = add(self.recent[self.part], new);
    }
}

fn add(a: Counts, b: Counts) -> Counts {
    Counts {
        ended: a.ended.saturating_add(b.ended),
        failed: a.failed.saturating_add(b.failed),
    }
}

/// What workers look at. Two lines of its own.
#[derive(Debug)]
#[repr(align(128))]
pub struct Gate {
    /// Of 65,536, or [`PROBES`].
    share: AtomicU32,
    /// Those of this time: its number, and in the lower half how many are left.
    probes: AtomicU64,
}

/// In place of a share: so many as `probes` says.
const PROBES: u32 = u32::MAX;

const ALL: u32 = 1 << 16;

/// The number of a time of being half open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Time(u32);

/// Whether a request goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passage {
    Free,
    /// It is to be counted as one of the probes, or [given back](Gate::give_back).
    Probe(Time),
    Refused,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            share: AtomicU32::new(ALL),
            probes: AtomicU64::new(0),
        }
    }
}

impl Gate {
    pub fn set(&self, admission: Admission) {
        let share = match admission {
            Admission::All => ALL,
            Admission::None => 0,
            Admission::Share(share) => (share.clamp(0.0, 1.0) * f64::from(ALL)) as u32,
            Admission::Probes(probes) => {
                let time = self.probes.load(Relaxed) >> 32;
                let next = (time + 1) << 32;
                self.probes.store(next | u64::from(probes), Relaxed);
                PROBES
            }
        };
        self.share.store(share, Relaxed);
    }

    /// For one request; of `chance` all bits are used.
    pub fn pass(&self, chance: u16) -> Passage {
        match self.share.load(Relaxed) {
            ALL => Passage::Free,
            PROBES => {
                let less = |probes: u64| (probes as u32 > 0).then(|| probes - 1);
                match self.probes.fetch_update(Relaxed, Relaxed, less) {
                    Ok(probes) => Passage::Probe(Time((probes >> 32) as u32)),
                    Err(_) => Passage::Refused,
                }
            }
            share if u32::from(chance) < share => Passage::Free,
            _ => Passage::Refused,
        }
    }

    /// A probe came to nothing that tells anything: another request may be one.
    pub fn give_back(&self, time: Time) {
        // Of a time that is over it is worth nothing. `time` of 32 bits comes again after
        // four thousand million times of some milliseconds.
        let more = |probes: u64| ((probes >> 32) as u32 == time.0).then(|| probes + 1);
        let _ = self.probes.fetch_update(Relaxed, Relaxed, more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Admission::{All, None, Probes, Share};

    const RULES: Rules = Rules {
        failed: 0.5,
        min_requests: 20,
        window: Duration::from_secs(10),
        open: Duration::from_secs(1),
        max_open: Duration::from_secs(30),
        probes: 3,
        closing: Duration::from_secs(5),
    };

    fn at(tenths: u64) -> Duration {
        Duration::from_millis(tenths * 100)
    }

    /// At tenths of seconds, so many ended and failed; what changes then.
    fn check(steps: &[(u64, u64, u64, Option<Admission>)]) {
        let mut breaker = Breaker::new(RULES);
        for (tenths, ended, failed, wanted) in steps {
            let counts = Counts {
                ended: *ended,
                failed: *failed,
            };
            let found = breaker.tick(at(*tenths), counts);
            assert_eq!(found, *wanted, "at {tenths}: {:?}", breaker.state());
        }
    }

    const STAYS: Option<Admission> = Option::None;

    #[test]
    fn it_opens_when_too_many_of_enough_fail() {
        check(&[(0, 19, 19, STAYS), (1, 1, 0, Some(None))]);
        check(&[(0, 40, 19, STAYS), (1, 0, 0, STAYS)]);
        check(&[(0, 40, 20, Some(None))]);
        // The window forgets.
        check(&[(0, 19, 19, STAYS), (120, 19, 19, STAYS)]);
        check(&[(0, 19, 19, STAYS), (50, 10, 10, Some(None))]);
    }

    #[test]
    fn it_lets_some_through_and_closes_by_and_by() {
        check(&[
            (0, 20, 20, Some(None)),
            (9, 5, 5, STAYS),
            (10, 0, 0, Some(Probes(3))),
            (11, 2, 0, STAYS),
            (12, 1, 0, Some(Share(0.1))),
            (37, 100, 0, Some(Share(0.55))),
            (62, 100, 0, Some(All)),
            (63, 100, 0, STAYS),
        ]);
    }

    #[test]
    fn it_opens_longer_each_time() {
        check(&[
            (0, 20, 20, Some(None)),
            (10, 0, 0, Some(Probes(3))),
            (11, 2, 1, Some(None)),
            (30, 0, 0, STAYS),
            (31, 0, 0, Some(Probes(3))),
            (32, 3, 0, Some(Share(0.1))),
            // It failed again while it closed.
            (33, 20, 10, Some(None)),
            (72, 0, 0, STAYS),
            (73, 0, 0, Some(Probes(3))),
        ]);
        let mut breaker = Breaker::new(RULES);
        breaker.times = 100;
        assert_eq!(breaker.open_for(), RULES.max_open);
    }

    #[test]
    fn probes_that_nothing_is_heard_of_are_made_anew() {
        check(&[
            (0, 20, 20, Some(None)),
            (10, 0, 0, Some(Probes(3))),
            (29, 2, 0, STAYS),
            (30, 0, 0, Some(Probes(3))),
            (31, 3, 0, Some(Share(0.1))),
        ]);
    }

    #[test]
    fn clocks_may_jump_and_rules_be_nothing() {
        let mut breaker = Breaker::new(Rules {
            window: Duration::ZERO,
            open: Duration::MAX,
            closing: Duration::ZERO,
            min_requests: 0,
            probes: 0,
            ..RULES
        });
        let most = Counts {
            ended: u64::MAX,
            failed: u64::MAX,
        };
        for now in [Duration::MAX, Duration::ZERO, Duration::MAX] {
            breaker.tick(now, most);
        }
        assert_eq!(breaker.tick(Duration::MAX, Counts::default()), STAYS);
    }

    #[test]
    fn the_gate_does_as_it_is_told() {
        let gate = Gate::default();
        assert_eq!(gate.pass(u16::MAX), Passage::Free);
        gate.set(None);
        assert_eq!(gate.pass(0), Passage::Refused);
        gate.set(Share(0.25));
        let passed = (0..=u16::MAX).filter(|chance| gate.pass(*chance) == Passage::Free);
        assert_eq!(passed.count(), 1 << 14);
        gate.set(Share(1.0));
        assert_eq!(gate.pass(u16::MAX), Passage::Free);
        gate.set(Probes(2));
        let passed: Vec<_> = (0..3).map(|_| gate.pass(0)).collect();
        let first = Passage::Probe(Time(1));
        assert_eq!(passed, [first, first, Passage::Refused]);
    }

    #[test]
    fn a_probe_that_told_nothing_is_another_request_s() {
        let gate = Gate::default();
        gate.set(Probes(1));
        let (first, second) = (Passage::Probe(Time(1)), Passage::Probe(Time(2)));
        assert_eq!(gate.pass(0), first);
        gate.give_back(Time(1));
        assert_eq!([gate.pass(0), gate.pass(0)], [first, Passage::Refused]);
        // It is open again meanwhile, and another time has its own.
        gate.set(Admission::None);
        gate.give_back(Time(1));
        assert_eq!(gate.pass(0), Passage::Refused);
        gate.set(Probes(1));
        assert_eq!([gate.pass(0), gate.pass(0)], [second, Passage::Refused]);
        gate.give_back(Time(1));
        assert_eq!(gate.pass(0), Passage::Refused);
        gate.give_back(Time(2));
        assert_eq!(gate.pass(0), second);
    }

    #[test]
    fn workers_never_send_a_probe_too_many() {
        let gate = Gate::default();
        gate.set(Probes(100));
        let pass = || {
            (0..1000)
                .filter(|_| gate.pass(0) != Passage::Refused)
                .count()
        };
        let passed = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(pass)).collect();
            let passed = threads.into_iter().map(|thread| thread.join().unwrap());
            passed.sum::<usize>()
        });
        assert_eq!(passed, 100);
    }
}
