//! How long to wait before a request is tried again.
//!
//! Exponential with full jitter (Brooker, "Exponential Backoff And Jitter", AWS Architecture
//! Blog, 2015): of the ways that are compared there it makes the fewest calls for the least
//! time, because those that failed together come back at all times and not at one.

use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// The most that the first may wait.
    pub base: Duration,
    /// The most that any may.
    pub most: Duration,
}

impl Default for Rules {
    /// Envoy's.
    fn default() -> Self {
        Self {
            base: Duration::from_millis(25),
            most: Duration::from_millis(250),
        }
    }
}

impl Rules {
    /// Before the retry of this number, counted from 0, with a chance between 0 and 1. What
    /// the endpoint asked for by `Retry-After` is added to, lest all that were told the same
    /// come back at once. `None` where that is not before `left` is over: then the answer
    /// that is there is better than a later one.
    pub fn wait(
        &self,
        retry: u32,
        chance: f64,
        retry_after: Option<Duration>,
        left: Duration,
    ) -> Option<Duration> {
        let factor = 1 << retry.min(30);
        let most = self.base.saturating_mul(factor).min(self.most);
        // A float may round up to more than there is.
        let jitter = Duration::try_from_secs_f64(most.as_secs_f64() * chance).unwrap_or(most);
        let wait = retry_after
            .unwrap_or_default()
            .saturating_add(jitter.min(most));
        (wait < left).then_some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn check(retry: u32, chance: f64, wanted: u64) {
        let found = Rules::default().wait(retry, chance, None, SECOND);
        assert_eq!(found, Some(Duration::from_millis(wanted)), "{retry}");
    }

    #[test]
    fn waits_double_up_to_the_most() {
        check(0, 1.0, 25);
        check(1, 1.0, 50);
        check(2, 1.0, 100);
        check(3, 1.0, 200);
        check(4, 1.0, 250);
        check(u32::MAX, 1.0, 250);
        check(2, 0.5, 50);
        check(2, 0.0, 0);
    }

    #[test]
    fn what_is_asked_for_is_waited_for_if_there_is_time() {
        let wait = |after, left| Rules::default().wait(0, 1.0, Some(after), left);
        assert_eq!(wait(SECOND, 2 * SECOND), Some(Duration::from_millis(1025)));
        assert_eq!(wait(SECOND, SECOND), None);
        assert_eq!(wait(Duration::MAX, Duration::MAX), None);
        assert_eq!(
            wait(Duration::from_secs(1_000_000_000_000), 60 * SECOND),
            None
        );
        assert_eq!(Rules::default().wait(0, 0.0, None, Duration::ZERO), None);
    }

    #[test]
    fn any_time_will_do() {
        let rules = Rules {
            base: Duration::MAX,
            most: Duration::MAX,
        };
        assert!(rules.wait(9, 0.7, None, Duration::MAX).is_some());
        assert_eq!(rules.wait(9, f64::NAN, None, SECOND), None);
    }
}
