//! What an endpoint costs by the latency that it shows: that of the worst lately, times what
//! is under way there.
//!
//! Finagle's `PeakEwma` (and Linkerd's, in `tower`): a moving average in time, which a slower
//! answer lifts at once and faster ones lower with time. Two things differ:
//!
//! - In Finagle the average falls while nothing answers, so that an endpoint that is frozen
//!   becomes cheaper until its requests fail. Here a request that waits counts for as long as
//!   it has waited, at least.
//! - An endpoint of which nothing is known gets one request at a time, as in Finagle, but
//!   costs what is thought likely and not more than all others together.

use std::time::Duration;

use super::nanoseconds;
use super::pressure::Pressure;

/// How latency is judged.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// In this time what was learnt falls to two fifths.
    pub decay: Duration,
    /// A failure counts as so long, at least.
    pub failure: Duration,
    /// What the second request costs where the first has not been answered.
    pub unknown: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            decay: Duration::from_secs(10),
            failure: Duration::from_secs(1),
            unknown: Duration::from_secs(1),
        }
    }
}

/// How a request went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Answered,
    /// No answer, or one that says that the endpoint is broken.
    Failed,
    /// The endpoint has too much to do.
    Refused {
        retry_after: Option<Duration>,
    },
    /// Nobody waits for it any more: no answer would have come sooner.
    GivenUp,
}

/// One endpoint on one worker.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    active: u32,
    /// In nanoseconds, at `at`; `None` before the first answer.
    latency: Option<f64>,
    at: u64,
    /// The last answer, or the first request behind a time without: what is under way since
    /// has waited as long, or others gave up that long after.
    quiet_since: u64,
    pressure: Pressure,
}

impl Tally {
    pub fn active(&self) -> u32 {
        self.active
    }

    pub fn began(&mut self, now: Duration) {
        if self.active == 0 {
            self.quiet_since = nanoseconds(now);
        }
        self.active += 1;
    }

    /// One that began is over, after so long.
    pub fn ended(&mut self, now: Duration, took: Duration, outcome: Outcome, rules: &Rules) {
        debug_assert!(self.active > 0, "what ends has begun");
        self.active = self.active.saturating_sub(1);
        let latency = match outcome {
            Outcome::GivenUp => return self.given_up(nanoseconds(now), took, rules),
            Outcome::Answered => {
                self.pressure.relieved(now);
                took
            }
            // However slow the others are: a second may be less than their answers take.
            Outcome::Failed => {
                self.pressure.refused(now, None);
                took.max(rules.failure)
            }
            Outcome::Refused { retry_after } => {
                self.pressure.refused(now, retry_after);
                took.max(rules.failure)
            }
        };
        let now = nanoseconds(now);
        self.quiet_since = self.quiet_since.max(now);
        self.observe(now, nanoseconds(latency) as f64, rules);
    }

    /// Who waited in vain knows a least latency, and no other.
    fn given_up(&mut self, now: u64, took: Duration, rules: &Rules) {
        let took = nanoseconds(took) as f64;
        let known = self.latency.unwrap_or(0.0) * self.kept(now, rules);
        if took > known {
            self.observe(now, took, rules);
        }
    }

    /// The endpoint said that it has too much to do, at another time than as its answer began.
    pub fn refused(&mut self, now: Duration) {
        self.pressure.refused(now, None);
    }

    /// What is known of its latency, if anything.
    pub fn latency(&self, now: Duration, rules: &Rules) -> Option<Duration> {
        let latency = self.latency? * self.kept(nanoseconds(now), rules);
        Some(Duration::from_nanos(latency as u64))
    }

    pub fn pressure(&self) -> &Pressure {
        &self.pressure
    }

    /// In nanoseconds that the next request would take if those under way were served in
    /// turn.
    pub fn cost(&self, now: Duration, weight: u32, rules: &Rules) -> f64 {
        let at = nanoseconds(now);
        // Without a branch, since none could be foretold; and no one waits for 292 years.
        let waited = at.saturating_sub(self.quiet_since) * u64::from(self.active > 0);
        let waited = waited.cast_signed() as f64;
        let latency = match (self.latency, self.active) {
            (Some(latency), _) => (latency * self.kept(at, rules)).max(waited),
            (None, 0) => 0.0,
            (None, _) => (nanoseconds(rules.unknown) as f64).max(waited),
        };
        let load = latency * f64::from(self.active.saturating_add(1));
        self.pressure.cost(now, load, latency) / f64::from(weight.max(1))
    }

    fn observe(&mut self, now: u64, latency: f64, rules: &Rules) {
        let kept = self.kept(now, rules);
        self.latency = Some(match self.latency {
            Some(known) if latency < known * kept => known * kept + latency * (1.0 - kept),
            _ => latency,
        });
        self.at = self.at.max(now);
    }

    /// What is left of what was known: `e^-x` in the form `(1 + x/4)^-4`, which is a tenth
    /// more at the time of decay and needs no exponential, a third of what a pick costs.
    fn kept(&self, now: u64, rules: &Rules) -> f64 {
        let since = now.saturating_sub(self.at) as f64;
        let root = 1.0 + since / nanoseconds(rules.decay).max(1) as f64 / 4.0;
        let square = root * root;
        1.0 / (square * square)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::choices;
    use super::super::simulate::{Ending, Policy, Report, Server, Simulation};
    use super::super::stride::{RoundRobin, Schedule};
    use super::*;
    use fastrand::Rng;
    use std::num::NonZeroU8;

    const RULES: Rules = Rules {
        decay: Duration::from_secs(10),
        failure: Duration::from_secs(1),
        unknown: Duration::from_secs(1),
    };

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// After answers at these times, of these latencies, what one more costs at the end.
    fn check(answers: &[(u64, u64, Outcome)], end: u64, wanted: f64) {
        let mut tally = Tally::default();
        for (at, took, outcome) in answers {
            tally.began(millis(at - took));
            tally.ended(millis(*at), millis(*took), *outcome, &RULES);
        }
        let found = tally.cost(millis(end), 1, &RULES) / 1e9;
        assert!((found - wanted).abs() < 0.0001, "{found}, not {wanted}");
    }

    const FINE: Outcome = Outcome::Answered;

    #[test]
    fn a_slow_answer_counts_at_once_and_fast_ones_with_time() {
        check(&[], 1000, 0.0);
        check(&[(1000, 20, FINE)], 1000, 0.02);
        check(&[(1000, 20, FINE), (1000, 50, FINE)], 1000, 0.05);
        check(&[(1000, 50, FINE), (1000, 20, FINE)], 1000, 0.05);
        // After 10 s two fifths of the old are left.
        check(&[(1000, 50, FINE), (11_000, 0, FINE)], 11_000, 0.0205);
        check(&[(1000, 50, FINE), (11_000, 10, FINE)], 11_000, 0.0264);
        check(&[(1000, 50, FINE)], 11_000, 0.0205);
    }

    #[test]
    fn failures_count_as_latency() {
        // A second, a quarter more for the pressure, times 1 + 31/4.
        check(&[(1000, 1, Outcome::Failed)], 1000, 10.9375);
        check(&[(5000, 3000, Outcome::Failed)], 5000, 32.8125);
        let refused = |retry_after| Outcome::Refused { retry_after };
        check(&[(1000, 1, refused(None))], 1000, 10.9375);
        let an_hour = Some(Duration::from_secs(3600));
        check(&[(1000, 1, refused(an_hour))], 1000, 64.0);
    }

    #[test]
    fn who_is_given_up_took_that_long_at_least() {
        check(&[(1000, 900, Outcome::GivenUp)], 1000, 0.9);
        check(
            &[(1000, 20, FINE), (2000, 900, Outcome::GivenUp)],
            2000,
            0.9,
        );
        check(
            &[(1000, 900, FINE), (1000, 20, Outcome::GivenUp)],
            1000,
            0.9,
        );
        check(&[(1000, 20, FINE), (1000, 0, Outcome::GivenUp)], 1000, 0.02);
    }

    #[test]
    fn who_is_frozen_becomes_dearer() {
        let mut tally = Tally::default();
        tally.began(millis(1000));
        tally.ended(millis(1010), millis(10), FINE, &RULES);
        tally.began(millis(2000));
        tally.began(millis(2000));
        let cost = |at| tally.cost(millis(at), 1, &RULES) / 1e9;
        assert!(cost(2000) < 0.031);
        assert!(cost(3000) > 2.9);
        assert!(cost(30_000) > 80.0);
        // But one that is answered while others wait is not.
        tally.ended(millis(30_000), millis(10), FINE, &RULES);
        assert!(tally.cost(millis(30_000), 1, &RULES) < 21e6);
    }

    #[test]
    fn who_is_unknown_gets_one_request_at_a_time() {
        let mut tally = Tally::default();
        assert_eq!(tally.cost(millis(0), 1, &RULES), 0.0);
        tally.began(millis(0));
        assert_eq!(tally.cost(millis(0), 1, &RULES), 2e9);
        assert_eq!(tally.cost(millis(0), 4, &RULES), 0.5e9);
    }

    #[test]
    fn clocks_may_jump_and_weights_be_nothing() {
        let mut tally = Tally::default();
        tally.began(millis(5000));
        tally.ended(millis(1), Duration::MAX, FINE, &RULES);
        tally.began(Duration::MAX);
        for now in [Duration::ZERO, millis(1), Duration::MAX] {
            let cost = tally.cost(now, 0, &RULES);
            assert!(cost.is_finite() && cost >= 0.0, "{cost}");
        }
    }

    pub struct Peak {
        schedule: Schedule,
        tallies: Vec<Tally>,
    }

    impl Peak {
        pub fn of_ten() -> Self {
            Self {
                schedule: Schedule::new(&[1; 10]),
                tallies: vec![Tally::default(); 10],
            }
        }
    }

    impl Policy for Peak {
        fn pick(&mut self, now: Duration, rng: &mut Rng) -> usize {
            let two = NonZeroU8::new(2).unwrap();
            let cost = |index: usize| Some(self.tallies[index].cost(now, 1, &RULES));
            let picked = choices::pick(&self.schedule, two, rng, cost).unwrap();
            self.tallies[picked].began(now);
            picked
        }

        fn ended(&mut self, index: usize, now: Duration, took: Duration, ending: Ending) {
            let outcome = match ending {
                Ending::Fine => Outcome::Answered,
                Ending::Refused => Outcome::Refused { retry_after: None },
            };
            self.tallies[index].ended(now, took, outcome, &RULES);
        }
    }

    pub struct InTurn(Schedule, RoundRobin);

    impl Policy for InTurn {
        fn pick(&mut self, _: Duration, _: &mut Rng) -> usize {
            self.1.pick(&self.0, |_| false).unwrap()
        }

        fn ended(&mut self, _: usize, _: Duration, _: Duration, _: Ending) {}
    }

    pub fn in_turn() -> InTurn {
        let round = RoundRobin::starting_anywhere(&mut Rng::with_seed(1));
        InTurn(Schedule::new(&[1; 10]), round)
    }

    fn run<P: Policy>(first: Server, rate: f64, policy: impl Fn() -> P) -> Report {
        let mut servers = vec![Server::with_time(millis(10)); 10];
        servers[0] = first;
        Simulation::new(servers, rate).run(2, policy)
    }

    /// 64 requests under way in the mean.
    #[test]
    fn one_slow_endpoint_is_not_noticed() {
        let healthy = run(Server::with_time(millis(10)), 6400.0, Peak::of_ten).p99();
        let slow = Server::with_time(millis(200));
        let peak = run(slow.clone(), 6400.0, Peak::of_ten).p99();
        let turns = run(slow, 6400.0, in_turn).p99();
        assert!(peak < 2 * healthy, "{peak:?}, healthy {healthy:?}");
        assert!(peak * 10 < turns, "{peak:?}, in turn {turns:?}");
    }

    #[test]
    fn who_refuses_fast_does_not_attract() {
        let share = run(Server::refusing(millis(1)), 2000.0, Peak::of_ten).share(0);
        assert!(share < 0.01, "{share}");
    }

    #[test]
    fn equal_endpoints_have_equal_shares() {
        let report = run(Server::with_time(millis(10)), 6400.0, Peak::of_ten);
        for index in 0..10 {
            let share = report.share(index);
            assert!((share - 0.1).abs() < 0.02, "{index}: {share}");
        }
    }
}
