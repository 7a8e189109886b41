//! CPU time: what one call may use, and what becomes of a filter that uses
//! more again and again. Pure, except for the clock at the end.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// The longest pause, however often a filter overran.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// How often a running guest is looked at.
pub const TICK: Duration = Duration::from_millis(1);

/// The CPU time of one call, looked at only when an epoch ends: reading the
/// clock is a system call. It counts from the first epoch that ends during the
/// call, so a call may use up to one tick more.
///
/// The thread's clock goes on while a hypervisor holds the processor back, and a
/// guest cannot help that. So a call is over only when the guest was also seen at
/// work at as many ticks as its budget has, or when there is no such excuse.
#[derive(Debug, Default)]
pub struct CpuBudget {
    limit: Duration,
    /// The thread's clock at the first tick of the call.
    first_tick: Option<Duration>,
    /// Ticks after the first.
    ticks: u32,
    /// CPU time before the last wait.
    before: Duration,
    /// CPU time when it was last looked at.
    used: Duration,
}

/// No processor is held back for so many budgets.
const NO_EXCUSE: u32 = 8;

/// Whether a call may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tick {
    GoOn,
    Over,
}

impl CpuBudget {
    /// Begins a call.
    pub fn start(&mut self, limit: Duration) {
        self.limit = limit;
        self.first_tick = None;
        self.ticks = 0;
        self.before = Duration::ZERO;
        self.used = Duration::ZERO;
    }

    /// In words, for a call that is over.
    pub fn told(&self) -> String {
        let Self {
            used, limit, ticks, ..
        } = self;
        format!("used {used:.1?} of CPU time and may use {limit:?}, seen at work {ticks} times")
    }

    /// The call waits from here on, and what the thread does meanwhile is not
    /// its doing. What it has used so far counts.
    pub fn wait(&mut self, now: Duration) -> Tick {
        let first_tick = self.first_tick.take().unwrap_or(now);
        self.before += now.saturating_sub(first_tick);
        self.judge(self.before)
    }

    /// It goes on, and its time counts at once: it may wait again before an epoch
    /// ends.
    pub fn resume(&mut self, now: Duration) {
        self.first_tick = Some(now);
    }

    /// An epoch ended, and the thread's clock stands at `now`.
    pub fn tick(&mut self, now: Duration) -> Tick {
        let Some(first_tick) = self.first_tick else {
            self.first_tick = Some(now);
            return Tick::GoOn;
        };
        self.ticks = self.ticks.saturating_add(1);
        self.judge(self.before + now.saturating_sub(first_tick))
    }

    fn judge(&mut self, used: Duration) -> Tick {
        self.used = used;
        let seen_at_work = TICK.saturating_mul(self.ticks) >= self.limit;
        let is_over = used >= self.limit && seen_at_work;
        match is_over || used >= self.limit.saturating_mul(NO_EXCUSE) {
            true => Tick::Over,
            false => Tick::GoOn,
        }
    }
}

/// The clock that a budget counts by.
#[derive(Debug, Clone, Default)]
pub enum Clock {
    /// A call has its thread to itself, but for its waits.
    #[default]
    Thread,
    /// A task shares its thread with others.
    Task(Arc<Meter>),
}

impl Clock {
    /// CPU time used so far.
    pub fn now(&self) -> Duration {
        match self {
            Clock::Thread => thread_cpu_time(),
            Clock::Task(meter) => meter.now(),
        }
    }
}

/// The CPU time of one task among others of a thread. Only that thread writes.
#[derive(Debug, Default)]
pub struct Meter {
    /// Up to the last time that it had a turn, in nanoseconds.
    used: AtomicU64,
    /// The thread's clock when its turn began.
    since: AtomicU64,
}

impl Meter {
    /// Counts what this work uses.
    pub async fn count<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        poll_fn(|cx| {
            self.since.store(nanoseconds(thread_cpu_time()), Relaxed);
            let polled = work.as_mut().poll(cx);
            self.used.store(nanoseconds(self.now()), Relaxed);
            polled
        })
        .await
    }

    /// All that was used so far.
    pub fn used(&self) -> Duration {
        Duration::from_nanos(self.used.load(Relaxed))
    }

    /// The same during a turn.
    fn now(&self) -> Duration {
        let since = Duration::from_nanos(self.since.load(Relaxed));
        self.used() + thread_cpu_time().saturating_sub(since)
    }
}

/// Enough for 584 years.
fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// When a filter overruns too often, it is left alone for a while.
#[derive(Debug)]
pub struct Pause {
    max_overruns: usize,
    window: Duration,
    first_pause: Duration,
    /// Of the last window, oldest first.
    overruns: VecDeque<Instant>,
    /// Pauses since the filter last kept its budget for a whole window.
    pauses: u32,
    until: Option<Instant>,
    forgiven_at: Option<Instant>,
}

impl Pause {
    pub fn new(max_overruns: u32, window: Duration, first_pause: Duration) -> Self {
        Self {
            max_overruns: max_overruns.max(1) as usize,
            window,
            first_pause,
            overruns: VecDeque::new(),
            pauses: 0,
            until: None,
            forgiven_at: None,
        }
    }

    /// Whether a pause may be under way; when not, nobody needs the clock.
    pub fn is_possible(&self) -> bool {
        self.until.is_some()
    }

    /// Whether the filter is paused at `now`.
    pub fn is_paused(&mut self, now: Instant) -> bool {
        self.until = self.until.filter(|until| now < *until);
        self.until.is_some()
    }

    /// An overrun happened. Gives the pause that begins with it, if any: twice
    /// the one before, when the filter did not keep its budget in between.
    pub fn overran(&mut self, now: Instant) -> Option<Duration> {
        if self
            .forgiven_at
            .is_some_and(|forgiven_at| now > forgiven_at)
        {
            self.pauses = 0;
        }
        self.overruns.push_back(now);
        self.overruns
            .retain(|overrun| now.duration_since(*overrun) <= self.window);
        let is_relapse = self.pauses > 0;
        if self.overruns.len() < self.max_overruns && !is_relapse {
            return None;
        }
        let doubled = self.first_pause.saturating_mul(1 << self.pauses.min(16));
        let pause = doubled.min(MAX_PAUSE);
        self.pauses += 1;
        self.overruns.clear();
        self.until = Some(now + pause);
        self.forgiven_at = Some(now + pause + self.window);
        Some(pause)
    }
}

/// CPU time that this thread has used so far.
#[allow(unsafe_code)] // The one system call that the standard library lacks.
pub fn thread_cpu_time() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a live local of the type that the call fills.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    debug_assert_eq!(result, 0, "the clock of the own thread can be read");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_call_that_only_waits_is_never_over() {
        let mut budget = CpuBudget::default();
        budget.start(3 * MS);
        for _ in 0..1000 {
            assert_eq!(budget.tick(700 * MS), Tick::GoOn);
        }
    }

    #[test]
    fn a_call_that_works_is_over_after_its_budget() {
        let mut budget = CpuBudget::default();
        budget.start(3 * MS);
        let ticks = [10, 11, 12, 13].map(|at| budget.tick(at * MS));
        assert_eq!(ticks, [Tick::GoOn, Tick::GoOn, Tick::GoOn, Tick::Over]);
        budget.start(3 * MS);
        assert_eq!(budget.tick(14 * MS), Tick::GoOn);
    }

    #[test]
    fn a_processor_held_back_is_not_the_guests_fault() {
        let mut budget = CpuBudget::default();
        budget.start(3 * MS);
        assert_eq!([10, 20].map(|at| budget.tick(at * MS)), [Tick::GoOn; 2]);
        assert_eq!(budget.tick(21 * MS), Tick::GoOn);
        assert_eq!(budget.tick(22 * MS), Tick::Over);
        budget.start(3 * MS);
        assert_eq!(
            [10, 34].map(|at| budget.tick(at * MS)),
            [Tick::GoOn, Tick::Over]
        );
    }

    #[test]
    fn waiting_costs_nothing_and_forgives_nothing() {
        let mut budget = CpuBudget::default();
        budget.start(3 * MS);
        assert_eq!([10, 11, 12].map(|at| budget.tick(at * MS)), [Tick::GoOn; 3]);
        assert_eq!(budget.wait(12 * MS), Tick::GoOn);
        budget.resume(900 * MS);
        assert_eq!(budget.tick(901 * MS), Tick::Over);
        // Also where no epoch ends between the waits.
        budget.start(3 * MS);
        for leg in 0..23 {
            budget.resume(1000 * leg * MS);
            assert_eq!(budget.wait((1000 * leg + 1) * MS), Tick::GoOn);
        }
        budget.resume(90_000 * MS);
        assert_eq!(budget.wait(90_001 * MS), Tick::Over);
    }

    #[test]
    fn pauses_begin_after_some_overruns_and_grow() {
        let start = Instant::now();
        let mut pause = Pause::new(3, Duration::from_secs(10), Duration::from_secs(1));
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        assert!(!pause.is_possible());
        assert_eq!(pause.overran(at(0)), None);
        assert_eq!(pause.overran(at(1)), None);
        assert_eq!(pause.overran(at(2)), Some(Duration::from_secs(1)));
        assert!(pause.is_paused(at(2)));
        assert!(!pause.is_paused(at(3)));
        assert_eq!(pause.overran(at(4)), Some(Duration::from_secs(2)));
        assert!(pause.is_paused(at(5)));
        assert!(!pause.is_paused(at(6)));
        assert_eq!(pause.overran(at(6)), Some(Duration::from_secs(4)));
    }

    #[test]
    fn a_quiet_time_forgives() {
        let start = Instant::now();
        let mut pause = Pause::new(1, Duration::from_secs(10), Duration::from_secs(1));
        assert_eq!(pause.overran(start), Some(Duration::from_secs(1)));
        let later = start + Duration::from_secs(12);
        assert_eq!(pause.overran(later), Some(Duration::from_secs(1)));
    }

    #[test]
    fn rare_overruns_never_pause() {
        let start = Instant::now();
        let mut pause = Pause::new(2, Duration::from_secs(10), Duration::from_secs(1));
        for overrun in 0..10 {
            assert_eq!(
                pause.overran(start + Duration::from_secs(11 * overrun)),
                None
            );
        }
    }
}
