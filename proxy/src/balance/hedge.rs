//! When a request that has no answer yet is sent a second time, elsewhere.
//!
//! Dean and Barroso, "The Tail at Scale", Communications of the ACM, 2013: after the 95th
//! percentile of what such requests take, so that one of twenty is sent twice and the
//! longest are cut off. The second one is a retry to the budget: where everything has become
//! slow it denies most of them, and the percentile moves.

use std::time::Duration;

use super::quantile::Quantiles;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// After this time.
    Fixed(Duration),
    /// After what so many of a hundred requests took no longer than, but not sooner than
    /// this time.
    Percentile { percent: u8, least: Duration },
}

/// With fewer nothing is known of a quantile.
const MIN_COUNT: u32 = 100;

/// Requests after which a worker looks again.
const LOOK_EVERY: u32 = 64;

/// Of one cluster on one worker.
#[derive(Debug)]
pub struct Hedge {
    rule: Rule,
    quantiles: Quantiles,
    since_look: u32,
    delay: Option<Duration>,
}

impl Hedge {
    pub fn new(rule: Rule) -> Self {
        let delay = match rule {
            Rule::Fixed(delay) => Some(delay),
            Rule::Percentile { .. } => None,
        };
        Self {
            rule,
            quantiles: Quantiles::default(),
            since_look: 0,
            delay,
        }
    }

    /// After this time without an answer; `None` while too little is known.
    pub fn delay(&self) -> Option<Duration> {
        self.delay
    }

    /// A first try got its answer after so long. One that was cut off by the second counts
    /// for as long as it lasted: else what is slow would never be seen.
    pub fn observe(&mut self, took: Duration) {
        let Rule::Percentile { percent, least } = self.rule else {
            return;
        };
        self.quantiles.observe(took);
        self.since_look += 1;
        if self.since_look >= LOOK_EVERY && self.quantiles.count() >= MIN_COUNT {
            self.since_look = 0;
            let delay = self.quantiles.at(f64::from(percent) / 100.0);
            self.delay = delay.map(|delay| delay.max(least));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fastrand::Rng;

    const RULE: Rule = Rule::Percentile {
        percent: 95,
        least: Duration::from_millis(2),
    };

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_fixed_time_is_as_it_is() {
        let mut hedge = Hedge::new(Rule::Fixed(millis(7)));
        hedge.observe(millis(1000));
        assert_eq!(hedge.delay(), Some(millis(7)));
    }

    #[test]
    fn nothing_is_sent_twice_before_enough_is_known() {
        let mut hedge = Hedge::new(RULE);
        (0..99).for_each(|_| hedge.observe(millis(10)));
        assert_eq!(hedge.delay(), None);
        (0..64).for_each(|_| hedge.observe(millis(10)));
        let delay = hedge.delay().unwrap();
        assert!((millis(10)..millis(11)).contains(&delay), "{delay:?}");
        (0..10_000).for_each(|_| hedge.observe(millis(0)));
        assert_eq!(hedge.delay(), Some(millis(2)));
    }

    /// One of a hundred takes a hundred times as long. Sent a second time after the 95th
    /// percentile, few are, and the longest hundredth is gone.
    #[test]
    fn the_tail_is_cut_for_few_requests_more() {
        let mut rng = Rng::with_seed(1);
        let draw = |rng: &mut Rng| {
            let slow = if rng.u32(..100) == 0 { 100 } else { 1 };
            Duration::from_micros(rng.u64(8_000..12_000) * slow)
        };
        let mut hedge = Hedge::new(RULE);
        let mut plain = Vec::new();
        let mut hedged = Vec::new();
        let mut twice = 0;
        for _ in 0..20_000 {
            let first = draw(&mut rng);
            let second = draw(&mut rng);
            plain.push(first);
            let took = match hedge.delay().filter(|delay| *delay < first) {
                Some(delay) => {
                    twice += 1;
                    first.min(delay + second)
                }
                None => first,
            };
            hedged.push(took);
            hedge.observe(took);
        }
        let p995 = |mut took: Vec<Duration>| {
            took.sort_unstable();
            took[took.len() * 995 / 1000]
        };
        assert!(twice < 20_000 * 7 / 100, "{twice}");
        assert!(p995(plain) > millis(800));
        let cut = p995(hedged);
        assert!(cut < millis(25), "{cut:?}");
    }
}
