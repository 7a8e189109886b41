//! How an endpoint is: what workers saw of it, what was found out, what somebody said.

use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::at_once::AtOnce;
use super::clock;
use crate::balance::health::{Health, Signs, Told};
use crate::balance::outlier::{Answer, Cause, Ejections, Rules, Streak};
use crate::stats::{Counter, Gauge, PerWorker};

/// Of one address. It outlives what a reload makes anew, as long as the address stays.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Vitals {
    /// Told by workers; only read while the endpoint is well.
    streak: Streak,
    /// What workers have counted to, for the control thread: a bit for each cause.
    accused: AtomicU8,
    /// Of [`Signs`]; the control thread's.
    signs: AtomicU8,
    /// When it came, or came back; zero for long ago.
    since: AtomicU64,
    seen: OnceLock<PerWorker<Seen>>,
    /// Where that is limited.
    at_once: OnceLock<Arc<AtOnce>>,
    /// The control thread's. No worker takes it.
    care: Mutex<Care>,
}

/// What the control thread keeps of an endpoint.
#[derive(Debug, Default)]
pub struct Care {
    pub ejections: Ejections,
    /// Of the last ejection.
    pub cause: Option<Cause>,
    /// Since the endpoint is there.
    pub ejected_times: u64,
    /// Requests and failures at the end of the last interval.
    pub counted: (u64, u64),
    /// Somebody has said something by hand, and it was not looked at yet.
    pub is_told: bool,
    /// One for each check of the cluster.
    pub checks: Vec<Checked>,
}

/// What one kind of check has shown of an endpoint.
#[derive(Debug, Clone, Default)]
pub struct Checked {
    /// Whether it passes, once that is known.
    pub passes: Option<bool>,
    /// How often in a row the last outcome was.
    pub row: u32,
    pub last_passed: bool,
    pub is_degraded: bool,
    /// Of the last one that failed.
    pub failure: Option<String>,
}

/// What one worker knows of it, as it was at the worker's last tick. A worker may know it
/// several times, by generations: each adds what it has not told yet.
#[derive(Debug, Default)]
pub struct Seen {
    pub requests: Counter,
    pub failures: Counter,
    pub active: Gauge,
    /// Connections, idle or not, and streams of HTTP/2 on them.
    pub open: Gauge,
    pub idle: Gauge,
    pub streams: Gauge,
    /// Of `peak_ewma`, in nanoseconds; zero for unknown.
    pub latency: AtomicI64,
}

const CHECKS_FAILED: u8 = 1;
const EJECTED: u8 = 2;
const DEGRADED: u8 = 4;
const TOLD_DRAIN: u8 = 8;
const TOLD_READY: u8 = 16;
const SILENT: u8 = 32;

impl Vitals {
    /// Of an endpoint that was there before, at which something is still under way.
    pub fn with(at_once: Arc<AtOnce>) -> Self {
        Self {
            at_once: at_once.into(),
            ..Self::default()
        }
    }

    /// What there is at once, from now on if nobody has counted.
    pub fn at_once(&self) -> &Arc<AtOnce> {
        self.at_once.get_or_init(Arc::default)
    }

    /// The same, if anybody has.
    pub fn known_at_once(&self) -> Option<&Arc<AtOnce>> {
        self.at_once.get()
    }

    /// Counts an answer, or that there was none. Whether the control thread is to look.
    pub fn count(&self, answer: Answer, rules: &Rules) -> bool {
        match self.streak.count(answer, rules) {
            Some(cause) => {
                self.accused.fetch_or(1 << cause as u8, Relaxed);
                true
            }
            None => false,
        }
    }

    /// What workers have counted to since this was asked last.
    pub fn take_accusation(&self) -> Option<Cause> {
        // Mostly there is none, and the line is not to leave the workers for that.
        if self.accused.load(Relaxed) == 0 {
            return None;
        }
        let accused = self.accused.swap(0, Relaxed);
        let mut causes = Cause::ALL.into_iter().rev();
        causes.find(|cause| accused & (1 << *cause as u8) != 0)
    }

    pub fn signs(&self) -> Signs {
        let signs = self.signs.load(Relaxed);
        let has = |bit: u8| signs & bit != 0;
        Signs {
            told: match () {
                () if has(TOLD_DRAIN) => Some(Told::Drain),
                () if has(TOLD_READY) => Some(Told::Ready),
                () => None,
            },
            checks_failed: has(CHECKS_FAILED),
            ejected: has(EJECTED),
            degraded: has(DEGRADED),
            silent: has(SILENT),
        }
    }

    pub fn health(&self) -> Health {
        match self.signs.load(Relaxed) {
            0 => Health::Healthy,
            _ => self.signs().health(),
        }
    }

    /// Whether somebody has said that nothing is to go there.
    pub fn is_drained(&self) -> bool {
        self.signs.load(Relaxed) & TOLD_DRAIN != 0
    }

    /// The control thread's alone. Whether that changes what the endpoint is asked for.
    pub fn change(&self, change: impl FnOnce(&mut Signs)) -> bool {
        let before = self.signs();
        let mut signs = before;
        change(&mut signs);
        let bit = |is_set: bool, bit: u8| if is_set { bit } else { 0 };
        let told = match signs.told {
            Some(Told::Drain) => TOLD_DRAIN,
            Some(Told::Ready) => TOLD_READY,
            None => 0,
        };
        let bits = told
            | bit(signs.checks_failed, CHECKS_FAILED)
            | bit(signs.ejected, EJECTED)
            | bit(signs.degraded, DEGRADED)
            | bit(signs.silent, SILENT);
        self.signs.store(bits, Relaxed);
        before.health() != signs.health()
    }

    /// It is there, or there again, since now.
    pub fn begin(&self, now: Instant) {
        self.since.store(clock::milliseconds(now), Relaxed);
    }

    /// How long it is there; `None` for as long as anybody knows.
    pub fn age(&self, now: Instant) -> Option<Duration> {
        match self.since.load(Relaxed) {
            0 => None,
            since => {
                let age = clock::milliseconds(now).saturating_sub(since);
                Some(Duration::from_millis(age))
            }
        }
    }

    /// Where a worker tells what it knows, of so many.
    pub fn seen_by(&self, worker: usize, workers: usize) -> Option<&Seen> {
        let seen = self
            .seen
            .get_or_init(|| PerWorker::new(workers, Seen::default));
        seen.iter().nth(worker)
    }

    /// What each worker told that knows it.
    pub fn seen(&self) -> impl Iterator<Item = &Seen> {
        self.seen.get().into_iter().flat_map(PerWorker::iter)
    }

    pub fn care(&self) -> MutexGuard<'_, Care> {
        self.care.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_are_kept_as_they_are_told() {
        let vitals = Vitals::default();
        assert!(vitals.change(|signs| signs.ejected = true));
        assert!(!vitals.change(|signs| signs.degraded = true));
        assert!(vitals.change(|signs| signs.told = Some(Told::Ready)));
        assert!(vitals.change(|signs| signs.told = Some(Told::Drain)));
        assert!(vitals.is_drained());
        let signs = vitals.signs();
        assert!(signs.ejected && signs.degraded && !signs.checks_failed);
        assert_eq!(signs.told, Some(Told::Drain));
        assert!(vitals.change(|signs| *signs = Signs::default()));
        assert_eq!(vitals.health(), Health::Healthy);
    }

    #[test]
    fn of_several_accusations_the_last_one_counts() {
        let rules = Rules {
            errors: 2,
            gateway: 0,
            none: 2,
            ..Rules::default()
        };
        let vitals = Vitals::default();
        let count = |answer| vitals.count(answer, &rules);
        assert!(!count(Answer::Error));
        assert!(count(Answer::Error));
        assert!(!count(Answer::None));
        assert!(count(Answer::None));
        assert_eq!(vitals.take_accusation(), Some(Cause::ConsecutiveNone));
        assert_eq!(vitals.take_accusation(), None);
    }
}
