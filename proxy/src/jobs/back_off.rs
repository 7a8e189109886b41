//! How long a job rests that failed: longer each time, and never as long as its
//! neighbours, so that what they ask together is not asked by all at once again.

use std::time::Duration;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(300);

/// Failures in a row.
#[derive(Debug, Default)]
pub struct BackOff {
    failures: u32,
}

impl BackOff {
    /// It failed once more. `chance` is from 0 to 1: the rest is between half and
    /// the whole of what is due.
    pub fn failed(&mut self, chance: f64) -> Duration {
        let whole = FIRST
            .saturating_mul(1 << self.failures.min(16))
            .min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        whole.mul_f64(0.5 + chance / 2.0)
    }

    /// It went well.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rests_double_up_to_a_limit_and_begin_anew_after_a_success() {
        let mut back_off = BackOff::default();
        let rests: Vec<_> = (0..11).map(|_| back_off.failed(1.0).as_secs()).collect();
        assert_eq!(rests, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        back_off.succeeded();
        assert_eq!(back_off.failed(1.0), FIRST);
    }

    #[test]
    fn chance_takes_off_up_to_half() {
        let rest = |chance| BackOff::default().failed(chance);
        assert_eq!(rest(0.0), FIRST / 2);
        assert_eq!(rest(0.5), FIRST.mul_f64(0.75));
    }

    #[test]
    fn any_number_of_failures_is_survived() {
        let mut back_off = BackOff { failures: u32::MAX };
        assert_eq!(back_off.failed(1.0), LONGEST);
    }
}
