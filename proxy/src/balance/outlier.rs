//! Which endpoints are ejected for how their answers went, and for how long.
//!
//! Envoy's outlier detection with its defaults: failures in a row, success rates far below
//! those of others, and failures beyond a percentage; each ejection is longer than the one
//! before, and not too many are ejected at once.
//!
//! Failures in a row are counted by all workers in one word for each endpoint. While it
//! answers well the word is read and not written, so that it stays in every cache. The
//! rest is the control thread's, with counts that workers keep for themselves.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

/// How an answer went, in the words of outlier detection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Well,
    /// 5xx that an endpoint means itself, as 500.
    Error,
    /// 502, 503, 504: the endpoint could not.
    Gateway,
    /// Connections refused or broken, and timeouts.
    None,
}

/// Why an endpoint is ejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    ConsecutiveErrors,
    ConsecutiveGateway,
    ConsecutiveNone,
    SuccessRate,
    FailurePercentage,
}

impl Cause {
    pub const ALL: [Self; 5] = [
        Self::ConsecutiveErrors,
        Self::ConsecutiveGateway,
        Self::ConsecutiveNone,
        Self::SuccessRate,
        Self::FailurePercentage,
    ];

    /// As the rule is called in the configuration.
    pub const NAMES: [&str; 5] = [
        "consecutive_5xx",
        "consecutive_gateway",
        "consecutive_no_answer",
        "success_rate",
        "failure_percent",
    ];

    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rules {
    /// Failures of any kind in a row; 0 for however many.
    pub errors: u32,
    /// Without 500 and the like among them.
    pub gateway: u32,
    /// Without any answer.
    pub none: u32,
    /// Success rates so many standard deviations below the mean.
    pub deviations: f64,
    /// Failures beyond this percentage; above 100 for however many.
    pub failure_percent: f64,
    /// An endpoint is judged by rate once it had so many requests in an interval.
    pub min_requests: u64,
    /// And where so many can be.
    pub min_endpoints: usize,
    pub base_time: Duration,
    pub max_time: Duration,
    /// Of all endpoints at once. One is, if there are others, however few these are.
    pub max_percent: u32,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            errors: 5,
            gateway: 5,
            none: 5,
            deviations: 1.9,
            failure_percent: 85.0,
            min_requests: 100,
            min_endpoints: 5,
            base_time: Duration::from_secs(30),
            max_time: Duration::from_secs(300),
            max_percent: 10,
        }
    }
}

/// Failures in a row, shared by all workers.
#[derive(Debug, Default)]
pub struct Streak {
    errors: AtomicU32,
    gateway: AtomicU32,
    none: AtomicU32,
}

impl Streak {
    /// The cause to eject it for. Of the workers that count at once one alone is given it, who
    /// counts to exactly the threshold. Then the row begins anew, so that it is given again
    /// where the endpoint was not ejected, or is back and fails on.
    pub fn count(&self, answer: Answer, rules: &Rules) -> Option<Cause> {
        let Self {
            errors,
            gateway,
            none,
        } = self;
        match answer {
            Answer::Well => {
                [errors, gateway, none].into_iter().for_each(end);
                None
            }
            Answer::Error => {
                [gateway, none].into_iter().for_each(end);
                reaches(errors, rules.errors).then_some(Cause::ConsecutiveErrors)
            }
            Answer::Gateway => {
                end(none);
                let in_all = reaches(errors, rules.errors).then_some(Cause::ConsecutiveErrors);
                let more = reaches(gateway, rules.gateway).then_some(Cause::ConsecutiveGateway);
                more.or(in_all)
            }
            Answer::None => {
                let in_all = reaches(errors, rules.errors).then_some(Cause::ConsecutiveErrors);
                let more = reaches(gateway, rules.gateway).then_some(Cause::ConsecutiveGateway);
                let most = reaches(none, rules.none).then_some(Cause::ConsecutiveNone);
                most.or(more).or(in_all)
            }
        }
    }
}

/// Whether this failure is the one that it takes.
fn reaches(word: &AtomicU32, limit: u32) -> bool {
    let is_it = limit > 0 && word.fetch_add(1, Relaxed).wrapping_add(1) == limit;
    if is_it {
        word.store(0, Relaxed);
    }
    is_it
}

/// Reads before it writes: see the file's header.
fn end(word: &AtomicU32) {
    if word.load(Relaxed) != 0 {
        word.store(0, Relaxed);
    }
}

/// Of an endpoint in one interval, over all workers.
#[derive(Debug, Clone, Copy, Default)]
pub struct Interval {
    pub requests: u64,
    pub failures: u64,
}

impl Interval {
    fn successes(self) -> f64 {
        let failures = self.failures.min(self.requests);
        (self.requests - failures) as f64 / self.requests as f64
    }
}

/// Who is an outlier by rate, by index. Who is ejected already is not to be among those
/// given: what it answered before says nothing about others.
pub fn outliers(intervals: &[Interval], rules: &Rules) -> Vec<(usize, Cause)> {
    let judged = || {
        let all = intervals.iter().enumerate();
        all.filter(|(_, interval)| interval.requests >= rules.min_requests.max(1))
            .map(|(index, interval)| (index, interval.successes()))
    };
    let count = judged().count();
    if count < rules.min_endpoints {
        return Vec::new();
    }
    let mean = judged().map(|(_, rate)| rate).sum::<f64>() / count as f64;
    let squares: f64 = judged().map(|(_, rate)| (rate - mean).powi(2)).sum();
    let least = mean - (squares / count as f64).sqrt() * rules.deviations;
    let cause = |rate: f64| match () {
        () if (1.0 - rate) * 100.0 >= rules.failure_percent => Some(Cause::FailurePercentage),
        () if rate < least => Some(Cause::SuccessRate),
        () => None,
    };
    judged()
        .filter_map(|(index, rate)| Some((index, cause(rate)?)))
        .collect()
}

/// Whether one more may be ejected, where so many of so many are.
pub fn may_eject(ejected: usize, all: usize, rules: &Rules) -> bool {
    let after = ejected as u64 + 1;
    let is_few = after * 100 <= all as u64 * u64::from(rules.max_percent);
    rules.max_percent > 0 && all > 1 && (is_few || ejected == 0)
}

/// One endpoint's ejections, on the control thread.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ejections {
    until: Option<Duration>,
    /// That still count.
    times: u32,
}

impl Ejections {
    pub fn is_ejected(&self) -> bool {
        self.until.is_some()
    }

    /// When it is to come back.
    pub fn until(&self) -> Option<Duration> {
        self.until
    }

    /// How often it was, as far as that makes the next one longer.
    pub fn times(&self) -> u32 {
        self.times
    }

    /// Begins one, for longer than the one before. `chance`, from 0 to 1, makes it up to a
    /// tenth longer, so that those that went together do not come back together. One that is
    /// on its way goes on as it is.
    pub fn eject(&mut self, now: Duration, rules: &Rules, chance: f64) {
        if self.until.is_some() {
            return;
        }
        self.times = self.times.saturating_add(1);
        let time = rules
            .base_time
            .saturating_mul(self.times)
            .min(rules.max_time);
        let jitter = (time / 10).mul_f64(chance.clamp(0.0, 1.0));
        self.until = Some(now.saturating_add(time).saturating_add(jitter));
    }

    /// At the end of each interval: whether it is back. One that stayed for a whole interval
    /// has an ejection less that counts.
    pub fn end_interval(&mut self, now: Duration) -> bool {
        match self.until {
            Some(until) if now >= until => {
                self.until = None;
                true
            }
            Some(_) => false,
            None => {
                self.times = self.times.saturating_sub(1);
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Answer::{Error, Gateway, Well};

    const RULES: Rules = Rules {
        errors: 5,
        gateway: 3,
        none: 2,
        deviations: 1.9,
        failure_percent: 85.0,
        min_requests: 100,
        min_endpoints: 5,
        base_time: Duration::from_secs(30),
        max_time: Duration::from_secs(300),
        max_percent: 10,
    };

    /// The causes that these answers give, with the number of the answer.
    fn check(answers: &[Answer], wanted: &[(usize, Cause)]) {
        let streak = Streak::default();
        let count = |(number, answer)| Some((number, streak.count(answer, &RULES)?));
        let answers = (1..).zip(answers.iter().copied());
        let found: Vec<_> = answers.filter_map(count).collect();
        assert_eq!(found, wanted);
    }

    #[test]
    fn failures_in_a_row_are_a_cause() {
        let errors = Cause::ConsecutiveErrors;
        let gateway = Cause::ConsecutiveGateway;
        let none = Cause::ConsecutiveNone;
        check(&[Well; 20], &[]);
        check(&[Error; 12], &[(5, errors), (10, errors)]);
        check(&[Error, Error, Error, Error, Well, Error], &[]);
        check(&[Gateway; 6], &[(3, gateway), (5, errors), (6, gateway)]);
        check(&[Answer::None; 4], &[(2, none), (3, gateway), (4, none)]);
        check(&[Gateway, Gateway, Error, Gateway, Gateway], &[(5, errors)]);
        check(
            &[Answer::None, Gateway, Answer::None, Well],
            &[(3, gateway)],
        );
    }

    #[test]
    fn what_is_turned_off_is_no_cause() {
        let rules = Rules {
            errors: 0,
            gateway: 0,
            none: 0,
            ..RULES
        };
        let streak = Streak::default();
        assert!((0..100).all(|_| streak.count(Answer::None, &rules).is_none()));
    }

    #[test]
    fn all_workers_count_in_one_row() {
        let streak = Streak::default();
        let count = || {
            (0..1000)
                .filter_map(|_| streak.count(Error, &RULES))
                .count()
        };
        let found = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(count)).collect();
            let found = threads.into_iter().map(|thread| thread.join().unwrap());
            found.sum::<usize>()
        });
        assert!((1..=800).contains(&found), "{found}");
    }

    /// Percents of failures of a thousand requests; who is an outlier.
    fn check_rates(percents: &[u64], wanted: &[(usize, Cause)]) {
        let interval = |percent: &u64| Interval {
            requests: 1000,
            failures: percent * 10,
        };
        let intervals: Vec<_> = percents.iter().map(interval).collect();
        assert_eq!(outliers(&intervals, &RULES), wanted, "{percents:?}");
    }

    #[test]
    fn who_fails_more_than_others_is_an_outlier() {
        check_rates(&[0; 10], &[]);
        check_rates(&[30; 10], &[]);
        check_rates(&[0, 0, 0, 0, 20], &[(4, Cause::SuccessRate)]);
        check_rates(&[0, 0, 0, 20, 20], &[]);
        check_rates(&[0, 5, 0, 5, 0, 5, 40], &[(6, Cause::SuccessRate)]);
        check_rates(&[0, 0, 0, 0, 90], &[(4, Cause::FailurePercentage)]);
        // Where all fail the mean does too; the percentage is for that.
        let all: Vec<_> = (0..5)
            .map(|index| (index, Cause::FailurePercentage))
            .collect();
        check_rates(&[100; 5], &all);
        check_rates(&[0, 0, 0, 90], &[]);
        check_rates(&[], &[]);
    }

    #[test]
    fn who_was_hardly_asked_is_not_judged() {
        let well = Interval {
            requests: 1000,
            failures: 0,
        };
        let little = Interval {
            requests: 99,
            failures: 99,
        };
        assert_eq!(
            outliers(&[well, well, well, well, well, little], &RULES),
            []
        );
        let too_many = Interval {
            requests: 100,
            failures: 700,
        };
        let found = outliers(&[well, well, well, well, too_many], &RULES);
        assert_eq!(found, [(4, Cause::FailurePercentage)]);
        let none = Rules {
            min_requests: 0,
            ..RULES
        };
        assert_eq!(outliers(&[Interval::default(); 9], &none), []);
    }

    #[test]
    fn not_too_many_are_ejected() {
        let check = |ejected, all, wanted| {
            assert_eq!(
                may_eject(ejected, all, &RULES),
                wanted,
                "{ejected} of {all}"
            );
        };
        check(0, 1, false);
        check(0, 2, true);
        check(1, 2, false);
        check(0, 10, true);
        check(1, 10, false);
        check(9, 100, true);
        check(10, 100, false);
        check(0, 0, false);
        let never = Rules {
            max_percent: 0,
            ..RULES
        };
        assert!(!may_eject(0, 10, &never));
    }

    #[test]
    fn ejections_grow_and_are_forgotten() {
        let second = Duration::from_secs(1);
        let mut ejections = Ejections::default();
        let mut now = Duration::ZERO;
        let mut lengths = Vec::new();
        for _ in 0..12 {
            ejections.eject(now, &RULES, 0.0);
            ejections.eject(now, &RULES, 0.0);
            let begun = now;
            while !ejections.end_interval(now) {
                assert!(ejections.is_ejected());
                now += second;
            }
            lengths.push((now - begun).as_secs());
        }
        assert_eq!(
            lengths,
            [30, 60, 90, 120, 150, 180, 210, 240, 270, 300, 300, 300]
        );
        (0..11).for_each(|_| assert!(!ejections.end_interval(now)));
        assert_eq!(ejections.times(), 1);
        ejections.eject(now, &RULES, 1.0);
        assert!(!ejections.end_interval(now + 65 * second));
        assert!(ejections.end_interval(now + 66 * second));
    }

    #[test]
    fn any_number_of_ejections_is_survived() {
        let mut ejections = Ejections {
            until: None,
            times: u32::MAX,
        };
        let rules = Rules {
            base_time: Duration::MAX,
            max_time: Duration::MAX,
            ..RULES
        };
        ejections.eject(Duration::MAX, &rules, 0.5);
        assert!(ejections.end_interval(Duration::MAX));
    }
}
