//! CPU time that a filter is forgiven. Pure.
//!
//! To a thread's clock, and to whoever reads it, a processor that a hypervisor holds back
//! looks as one that is in the middle of a long instruction. So time in which a call was
//! not seen at work is forgiven, but only so much of it: what was forgiven is made good
//! by the calls that follow, and who takes it in every call soon has none left.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::budget::nanoseconds;

/// No processor is held back for longer, beside the share of long calls.
const HELD_BACK: Duration = Duration::from_millis(20);
/// At most so many budgets.
const MAX_BUDGETS: u32 = 7;
/// The part of its budget that each call makes good.
const MADE_GOOD: u32 = 8;

/// What a filter was forgiven on one worker and has not made good, in nanoseconds. Only
/// that worker writes, but for the time before it has the filter.
#[derive(Debug, Default)]
pub struct Forgiven(AtomicU64);

impl Forgiven {
    /// A call begins. Gives what it may be forgiven.
    pub fn begin(&self, limit: Duration) -> Duration {
        let share = limit / MADE_GOOD;
        let most = limit.saturating_mul(MAX_BUDGETS).min(HELD_BACK + share);
        match self.0.load(Relaxed) {
            0 => most,
            owed => {
                let owed = owed.saturating_sub(nanoseconds(share));
                self.0.store(owed, Relaxed);
                most.saturating_sub(Duration::from_nanos(owed))
            }
        }
    }

    /// So much was forgiven.
    pub fn add(&self, more: Duration) {
        if !more.is_zero() {
            let owed = self.0.load(Relaxed).saturating_add(nanoseconds(more));
            self.0.store(owed, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn what_was_forgiven_is_made_good_by_later_calls() {
        let forgiven = Forgiven::default();
        let most = forgiven.begin(8 * MS);
        assert_eq!(most, 21 * MS);
        forgiven.add(4 * MS);
        let left = [(); 5].map(|()| forgiven.begin(8 * MS));
        assert_eq!(left, [18, 19, 20, 21, 21].map(|left| left * MS));
    }

    #[test]
    fn no_call_is_forgiven_more_than_some_budgets() {
        assert_eq!(Forgiven::default().begin(MS), 7 * MS);
        assert_eq!(Forgiven::default().begin(800 * MS), 120 * MS);
    }
}
