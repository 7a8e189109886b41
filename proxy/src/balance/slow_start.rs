//! How much of its weight an endpoint gets that came a short while ago.
//!
//! Envoy's slow start: `max(least, (time / window) ^ (1 / aggression))`. A schedule of turns
//! is not built anew each second for it: a turn is taken with this chance and else passed
//! on, and where endpoints are compared, cost is divided by it.

use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rules {
    /// Zero for none.
    pub window: Duration,
    /// 1 for a straight line; above it the beginning is steeper.
    pub aggression: f64,
    /// The share of its weight from its first moment on.
    pub least: f64,
}

impl Default for Rules {
    /// For where it is turned on; the share is Envoy's.
    fn default() -> Self {
        Self {
            window: Duration::ZERO,
            aggression: 1.0,
            least: 0.1,
        }
    }
}

impl Rules {
    /// The share of its weight, above 0 and at most 1, of one that came so long ago.
    pub fn share(&self, age: Duration) -> f64 {
        if age >= self.window {
            return 1.0;
        }
        let passed = age.as_secs_f64() / self.window.as_secs_f64();
        let grown = match self.aggression {
            1.0 => passed,
            aggression => passed.powf(1.0 / aggression.max(0.01)),
        };
        grown.max(self.least).clamp(0.001, 1.0)
    }

    /// Whether it takes a turn that is its own. `chance` is from 0 to 1.
    pub fn takes(&self, age: Duration, chance: f64) -> bool {
        age >= self.window || chance < self.share(age)
    }
}

#[cfg(test)]
mod tests {
    use super::super::stride::{RoundRobin, Schedule};
    use super::*;
    use fastrand::Rng;
    use std::cell::RefCell;

    fn check(aggression: f64, seconds: u64, wanted: f64) {
        let rules = Rules {
            window: Duration::from_secs(60),
            aggression,
            ..Rules::default()
        };
        let found = rules.share(Duration::from_secs(seconds));
        assert!(
            (found - wanted).abs() < 0.001,
            "{aggression} at {seconds}: {found}"
        );
    }

    #[test]
    fn the_share_grows_to_the_whole() {
        check(1.0, 0, 0.1);
        check(1.0, 3, 0.1);
        check(1.0, 30, 0.5);
        check(1.0, 59, 0.983);
        check(1.0, 60, 1.0);
        check(1.0, u64::MAX, 1.0);
        check(2.0, 15, 0.5);
        check(0.5, 30, 0.25);
        check(0.0, 59, 0.186);
        assert_eq!(Rules::default().share(Duration::ZERO), 1.0);
        let nothing = Rules {
            window: Duration::MAX,
            least: f64::NAN,
            aggression: f64::NAN,
        };
        assert!(nothing.share(Duration::ZERO) > 0.0);
    }

    /// Turns that are not taken go to all others.
    #[test]
    fn turns_go_by_the_share() {
        let rules = Rules {
            window: Duration::from_secs(60),
            ..Rules::default()
        };
        let rng = RefCell::new(Rng::with_seed(3));
        let schedule = Schedule::new(&[1; 5]);
        let mut round = RoundRobin::default();
        let mut counts = [0_u32; 5];
        for _ in 0..100_000 {
            let age = |index| Duration::from_secs(if index == 0 { 15 } else { 600 });
            let passed_over = |index| !rules.takes(age(index), rng.borrow_mut().f64());
            counts[round.pick(&schedule, passed_over).unwrap()] += 1;
        }
        // A quarter of a turn among four whole ones.
        let wanted = [5_882, 23_529, 23_529, 23_529, 23_529];
        for (found, wanted) in counts.into_iter().zip(wanted) {
            assert!(found.abs_diff(wanted) < 400, "{counts:?}");
        }
    }
}
