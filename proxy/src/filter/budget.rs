//! CPU time: what one call may use, and what becomes of a filter that uses
//! more again and again. Pure, except for the clock at the end.

use std::cell::Cell;
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

/// From a thread's clock as it was read for a call that begins, up to an epoch ago, to
/// the first end of an epoch in it: what is not the call's doing, or not worth judging.
const LEAD: Duration = TICK.saturating_mul(2);

/// The CPU time of one call, looked at only when an epoch ends, when it waits, and at its
/// end if an epoch ended meanwhile: reading the clock is a system call.
///
/// The thread's clock goes on while a hypervisor holds the processor back, and a
/// guest cannot help that. So time beyond the ticks at which the guest was seen at work is
/// forgiven, as far as its filter has not been forgiven too much ([`Forgiven`]).
///
/// [`Forgiven`]: super::lenience::Forgiven
#[derive(Debug, Default)]
pub struct CpuBudget {
    limit: Duration,
    /// Of the time in which it was not seen at work.
    forgivable: Duration,
    /// The epoch in which the call began.
    epoch: u32,
    /// The clock when it was last looked at.
    since: Duration,
    /// What of the time until the first look does not count.
    lead: Duration,
    /// Ticks after the first look.
    ticks: u32,
    /// CPU time when it was last looked at.
    used: Duration,
}

/// Whether a call may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tick {
    GoOn,
    Over,
}

impl CpuBudget {
    /// Begins a call in this epoch, and the clock stood at `now` at some time in it.
    pub fn start(&mut self, limit: Duration, forgivable: Duration, epoch: u32, now: Duration) {
        *self = Self {
            limit,
            forgivable,
            epoch,
            since: now,
            lead: LEAD,
            ticks: 0,
            used: Duration::ZERO,
        };
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
        self.look(now)
    }

    /// It goes on, and its time counts at once: it may wait again before an epoch
    /// ends.
    pub fn resume(&mut self, now: Duration) {
        self.since = now;
        self.lead = Duration::ZERO;
    }

    /// An epoch ended, and the thread's clock stands at `now`.
    pub fn tick(&mut self, now: Duration) -> Tick {
        if self.was_looked_at() {
            self.ticks = self.ticks.saturating_add(1);
        }
        self.look(now)
    }

    /// Whether the clock need not be read for a call that ends in this epoch.
    pub fn is_short(&self, epoch: u32) -> bool {
        !self.was_looked_at() && epoch.wrapping_sub(self.epoch) < 2
    }

    /// The call is over. Gives what it is to be forgiven, or [`Tick::Over`].
    pub fn end(&mut self, now: Duration) -> Result<Duration, Tick> {
        match self.look(now) {
            Tick::GoOn => Ok(self.used.saturating_sub(self.limit)),
            Tick::Over => Err(Tick::Over),
        }
    }

    fn was_looked_at(&self) -> bool {
        self.lead.is_zero()
    }

    fn look(&mut self, now: Duration) -> Tick {
        let more = now.saturating_sub(self.since);
        self.used += more.saturating_sub(std::mem::take(&mut self.lead));
        self.since = now;
        let unseen = self.used.saturating_sub(TICK.saturating_mul(self.ticks));
        let counts = self.used - unseen.min(self.forgivable);
        match counts >= self.limit {
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

    /// The same at some time in this epoch, which is the present one: read once in each.
    pub fn about_now(&self, epoch: u32) -> Duration {
        match self {
            Clock::Thread => READ.with(|read| match read.get() {
                Some((then, now)) if then == epoch => now,
                _ => {
                    let now = thread_cpu_time();
                    read.set(Some((epoch, now)));
                    now
                }
            }),
            Clock::Task(meter) => meter.now(),
        }
    }
}

thread_local! {
    /// In which epoch this thread's clock was last read for a call that began, and how it
    /// stood.
    static READ: Cell<Option<(u32, Duration)>> = const { Cell::new(None) };
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
pub fn nanoseconds(duration: Duration) -> u64 {
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

    /// A call that may use 3 ms and be forgiven 20, begun at this time of the clock.
    fn begun(at: Duration) -> CpuBudget {
        let mut budget = CpuBudget::default();
        budget.start(3 * MS, 20 * MS, 0, at);
        budget
    }

    #[test]
    fn a_call_that_only_waits_is_never_over() {
        let mut budget = begun(700 * MS);
        for _ in 0..1000 {
            assert_eq!(budget.tick(700 * MS), Tick::GoOn);
        }
    }

    #[test]
    fn a_call_that_works_is_over_after_its_budget() {
        let mut budget = begun(9 * MS);
        let ticks = [10, 11, 12, 13].map(|at| budget.tick(at * MS));
        assert_eq!(ticks, [Tick::GoOn, Tick::GoOn, Tick::GoOn, Tick::Over]);
        let mut budget = begun(13 * MS);
        assert_eq!(budget.tick(14 * MS), Tick::GoOn);
    }

    #[test]
    fn a_processor_held_back_is_not_the_guests_fault() {
        let mut budget = begun(9 * MS);
        assert_eq!([10, 20].map(|at| budget.tick(at * MS)), [Tick::GoOn; 2]);
        assert_eq!(budget.tick(21 * MS), Tick::GoOn);
        assert_eq!(budget.tick(22 * MS), Tick::Over);
        let mut budget = begun(9 * MS);
        assert_eq!(
            [10, 34].map(|at| budget.tick(at * MS)),
            [Tick::GoOn, Tick::Over]
        );
    }

    #[test]
    fn what_is_used_before_the_first_tick_and_after_the_last_counts() {
        // One long instruction, and nothing behind it.
        let mut budget = begun(9 * MS);
        assert_eq!(budget.tick(40 * MS), Tick::Over);
        let mut budget = begun(9 * MS);
        assert_eq!(budget.end(40 * MS), Err(Tick::Over));
        let mut budget = begun(9 * MS);
        assert_eq!(budget.tick(10 * MS), Tick::GoOn);
        assert_eq!(budget.end(40 * MS), Err(Tick::Over));
    }

    #[test]
    fn who_was_forgiven_too_much_has_only_its_budget() {
        let mut budget = begun(Duration::ZERO);
        assert_eq!(budget.end(17 * MS), Ok(12 * MS));
        budget.start(3 * MS, Duration::ZERO, 0, 20 * MS);
        assert_eq!(budget.end(24 * MS), Ok(Duration::ZERO));
        budget.start(3 * MS, Duration::ZERO, 0, 30 * MS);
        assert_eq!(budget.end(35 * MS), Err(Tick::Over));
    }

    #[test]
    fn the_clock_is_not_read_at_the_end_of_a_short_call() {
        let mut budget = CpuBudget::default();
        budget.start(3 * MS, 20 * MS, u32::MAX, 9 * MS);
        assert!([u32::MAX, 0].map(|epoch| budget.is_short(epoch)) == [true; 2]);
        assert!(!budget.is_short(1));
        budget.tick(10 * MS);
        assert!(!budget.is_short(u32::MAX));
    }

    #[test]
    fn waiting_costs_nothing_and_forgives_nothing() {
        let mut budget = begun(9 * MS);
        assert_eq!([10, 11, 12].map(|at| budget.tick(at * MS)), [Tick::GoOn; 3]);
        assert_eq!(budget.wait(12 * MS), Tick::GoOn);
        budget.resume(900 * MS);
        assert_eq!(budget.tick(901 * MS), Tick::Over);
        // Also where no epoch ends between the waits.
        let mut budget = begun(Duration::ZERO);
        for leg in 0..22 {
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
