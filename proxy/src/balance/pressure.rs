//! How often an endpoint says that it has too much to do (429, 503, RESOURCE_EXHAUSTED).
//!
//! Such answers are fast, so that to a balancer which looks at requests under way or at
//! latency the endpoint that refuses is the best of all. The idea is Linkerd's (rate-limit
//! aware balancing); this form is our own: a share that rises with each refusal, falls with
//! each proper answer, halves with time so that the endpoint is asked again, and stands still
//! for as long as `Retry-After` says.

use std::time::Duration;

use super::nanoseconds;

/// Of what is missing to the whole, with each refusal.
const RISE: f64 = 0.25;

/// Of the share, with each proper answer. Less than [`RISE`]: who refuses half of all has
/// too much to do.
const FALL: f64 = 0.1;

/// The share is halved in so many nanoseconds.
const HALF_LIFE: f64 = 2e9;

/// Whatever `Retry-After` says.
const LONGEST_HOLD: Duration = Duration::from_secs(60);

/// How much dearer an endpoint is that does nothing but refuse. One of two is then asked
/// when the other has this many times as much to do.
const DEAREST: f64 = 32.0;

/// Of one endpoint on one worker.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pressure {
    /// From 0 to 1, until `falls_from`.
    share: f64,
    /// In nanoseconds, to be small.
    falls_from: u64,
}

impl Pressure {
    /// It answered as it should, or failed for another reason.
    pub fn relieved(&mut self, now: Duration) {
        if self.share > 0.0 {
            let share = self.share(now) * (1.0 - FALL);
            self.set(now, if share < 0.001 { 0.0 } else { share });
        }
    }

    /// It said that it has too much to do, and perhaps for how long.
    pub fn refused(&mut self, now: Duration, retry_after: Option<Duration>) {
        let share = self.share(now);
        match retry_after {
            Some(hold) => {
                self.set(now, 1.0);
                let until = nanoseconds(now.saturating_add(hold.min(LONGEST_HOLD)));
                self.falls_from = self.falls_from.max(until);
            }
            None => self.set(now, share + (1.0 - share) * RISE),
        }
    }

    /// From 0, all is well, to 1.
    pub fn share(&self, now: Duration) -> f64 {
        if self.share == 0.0 {
            return 0.0;
        }
        let since = nanoseconds(now).saturating_sub(self.falls_from);
        self.share * (-(since as f64) / HALF_LIFE).exp2()
    }

    /// What the endpoint costs, where `load` is what it would cost without pressure and
    /// `one` what a request more adds to it: something, even where nothing is under way.
    pub fn cost(&self, now: Duration, load: f64, one: f64) -> f64 {
        match self.share(now) {
            0.0 => load,
            share => (load + share * one) * (1.0 + share * (DEAREST - 1.0)),
        }
    }

    fn set(&mut self, now: Duration, share: f64) {
        self.share = share;
        self.falls_from = self.falls_from.max(nanoseconds(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    enum Step {
        Fine,
        Refused,
        After(u64),
        Wait(u32),
    }
    use Step::{After, Fine, Refused, Wait};

    fn check(steps: &[Step], wanted: f64) {
        let mut pressure = Pressure::default();
        let mut now = 100 * SECOND;
        for step in steps {
            match step {
                Fine => pressure.relieved(now),
                Refused => pressure.refused(now, None),
                After(seconds) => pressure.refused(now, Some(Duration::from_secs(*seconds))),
                Wait(seconds) => now += *seconds * SECOND,
            }
        }
        let found = pressure.share(now);
        assert!((found - wanted).abs() < 0.001, "{found}, not {wanted}");
    }

    #[test]
    fn refusals_add_up_and_are_forgotten() {
        check(&[], 0.0);
        check(&[Fine], 0.0);
        check(&[Refused], 0.25);
        check(&[Refused, Refused], 0.4375);
        check(&[Refused, Fine], 0.225);
        check(&[Refused, Wait(2)], 0.125);
        check(&[Refused, Wait(200)], 0.0);
    }

    #[test]
    fn a_time_that_was_told_is_kept_and_bounded() {
        check(&[After(10)], 1.0);
        check(&[After(10), Wait(10)], 1.0);
        check(&[After(10), Wait(12)], 0.5);
        check(&[After(10), After(1), Wait(10)], 1.0);
        check(&[After(0), Wait(2)], 0.5);
        check(&[After(1_000_000_000_000), Wait(60)], 1.0);
        check(&[After(u64::MAX), Wait(62)], 0.5);
    }

    /// It is not the endpoint's last word.
    #[test]
    fn proper_answers_count_before_that_time_is_over() {
        let mut pressure = Pressure::default();
        pressure.refused(SECOND, Some(10 * SECOND));
        (0..100).for_each(|_| pressure.relieved(2 * SECOND));
        assert_eq!(pressure.share(2 * SECOND), 0.0);
    }

    #[test]
    fn a_clock_that_jumps_back_stands_still() {
        let mut pressure = Pressure::default();
        pressure.refused(10 * SECOND, None);
        assert_eq!(pressure.share(SECOND), 0.25);
        pressure.refused(SECOND, None);
        assert_eq!(pressure.share(10 * SECOND), 0.4375);
    }

    #[test]
    fn what_refuses_costs_even_where_nothing_is_under_way() {
        let mut pressure = Pressure::default();
        assert_eq!(pressure.cost(SECOND, 0.0, 1.0), 0.0);
        assert_eq!(pressure.cost(SECOND, 5.0, 1.0), 5.0);
        pressure.refused(SECOND, Some(SECOND));
        assert_eq!(pressure.cost(SECOND, 0.0, 1.0), 32.0);
        assert_eq!(pressure.cost(SECOND, 5.0, 1.0), 192.0);
    }
}
