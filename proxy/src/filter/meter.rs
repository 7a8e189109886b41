//! Which calls are measured. Reading the CPU clock of a thread is a system call,
//! which costs more than a short call of a filter: so a filter's first calls are
//! all measured, and then a few, each for all that were not.

use std::cell::Cell;
use std::time::Duration;

use super::budget::thread_cpu_time;
use crate::stats::FilterStats;
use crate::stats::filter::PHASES;

/// Calls of a phase that are all measured, so that a filter with little to do has
/// an exact bill.
const FIRST: u32 = 64;
/// The mean distance between those measured afterwards.
const EVERY: u32 = 128;

thread_local! {
    /// What one reading of the clock adds to what is measured with two: more than a
    /// short call takes.
    static READING: Duration = {
        let twice = || {
            let began = thread_cpu_time();
            thread_cpu_time().saturating_sub(began)
        };
        (0..16).map(|_| twice()).min().unwrap_or_default()
    };
}

/// Chooses the calls of one filter on one worker.
#[derive(Debug, Default)]
pub struct Meter {
    phases: [Choice; PHASES.len()],
}

/// By phase, because what phases cost differs.
#[derive(Debug, Default)]
struct Choice {
    /// Of the first ones.
    measured: Cell<u32>,
    /// Calls until the next one that is measured.
    skip: Cell<u32>,
}

/// A call that is measured.
#[derive(Debug)]
pub struct Measured {
    phase: usize,
    began: Duration,
    /// Calls that it stands for.
    weight: u32,
}

impl Meter {
    /// The next calls are all measured, as the first ones were.
    pub fn start_again(&self) {
        for choice in &self.phases {
            choice.measured.set(0);
            choice.skip.set(0);
        }
    }

    /// A call of this phase begins.
    pub fn begin(&self, phase: usize) -> Option<Measured> {
        let weight = self.phases[phase].choose()?;
        Some(Measured {
            phase,
            began: thread_cpu_time(),
            weight,
        })
    }
}

impl Choice {
    /// What the call about to begin stands for, if it is measured.
    fn choose(&self) -> Option<u32> {
        if let Some(left) = self.skip.get().checked_sub(1) {
            self.skip.set(left);
            return None;
        }
        let measured = self.measured.get();
        if measured < FIRST {
            self.measured.set(measured + 1);
            return Some(1);
        }
        // By chance, or a pattern in the traffic would be measured in one place of
        // it only. From 0 to twice the mean.
        self.skip.set(fastrand::u32(0..2 * EVERY - 1));
        Some(EVERY)
    }
}

impl Measured {
    /// The call is over; `away` is what the thread did for others while it waited. Gives
    /// what it used.
    pub fn end(self, away: Duration, stats: &FilterStats) -> Duration {
        let between = thread_cpu_time().saturating_sub(self.began);
        let used = between.saturating_sub(away + READING.with(|reading| *reading));
        stats.measured(self.phase, used, self.weight);
        used
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_calls_are_all_measured_and_then_as_many_as_they_stand_for() {
        let choice = Choice::default();
        assert!((0..FIRST).all(|_| choice.choose() == Some(1)));
        fastrand::seed(7);
        let calls = 1_000_000;
        let told: u32 = (0..calls).filter_map(|_| choice.choose()).sum();
        let off = f64::from(told) / f64::from(calls) - 1.0;
        assert!(off.abs() < 0.02, "{told} calls of {calls}");
    }
}
