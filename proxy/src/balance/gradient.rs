//! How many requests at once an origin takes before they only wait for each other.
//!
//! Netflix's concurrency-limits, `Gradient2Limit`: the limit shrinks by how much slower
//! answers lately are than in the long run, and grows by a few where they are not. The
//! control thread calls it with what all workers counted in a window of time.
//!
//! One thing differs. There the long run learns from every window, so that under a load that
//! always fills the limit waiting becomes what is usual, and the limit grows without end.
//! Here slower answers are believed to be usual only where the limit did not make them slow:
//! where it was not filled, or where they stay slow when it has fallen to its least. Then the
//! long run begins anew, as in Envoy's adaptive concurrency, which falls to its least from
//! time to time to look.

use std::time::Duration;

#[derive(Debug, Clone, Copy)]
pub struct Rules {
    pub first: u32,
    pub least: u32,
    pub most: u32,
    /// What may wait at the origin, by which the limit grows.
    pub queue: u32,
    /// Answers may be so many times slower than in the long run before the limit shrinks.
    pub tolerance: f64,
    /// How much of a new limit counts, from 0 to 1.
    pub smoothing: f64,
    /// Windows that the long run has.
    pub long: u32,
}

impl Default for Rules {
    /// Netflix's.
    fn default() -> Self {
        Self {
            first: 20,
            least: 20,
            most: 200,
            queue: 4,
            tolerance: 1.5,
            smoothing: 0.2,
            long: 600,
        }
    }
}

/// Windows at the beginning that count alike.
const WARM_UP: u32 = 10;

#[derive(Debug)]
pub struct Gradient {
    rules: Rules,
    limit: f64,
    /// Seconds in the long run.
    long: f64,
    windows: u32,
}

impl Gradient {
    pub fn new(rules: Rules) -> Self {
        Self {
            limit: bounded(f64::from(rules.first), &rules),
            rules,
            long: 0.0,
            windows: 0,
        }
    }

    pub fn limit(&self) -> u32 {
        self.limit as u32
    }

    /// Answers of a window took so long in the mean, and so many were under way at once.
    pub fn observe(&mut self, mean: Duration, active: u32) -> u32 {
        let short = mean.as_secs_f64().max(1e-9);
        let is_filled = f64::from(active) >= self.limit / 2.0;
        if short < self.long || !is_filled || self.windows < WARM_UP {
            self.learn(short);
        }
        // Where the limit was not what held requests back, nothing is learnt of it.
        if is_filled {
            let before = self.limit;
            self.limit = self.after(short);
            let least = bounded(0.0, &self.rules);
            if before <= least && self.limit <= least && self.windows >= WARM_UP {
                self.windows = 0;
            }
        }
        self.limit()
    }

    fn after(&self, short: f64) -> f64 {
        let gradient = (self.rules.tolerance * self.long / short).clamp(0.5, 1.0);
        let wanted = self.limit * gradient + f64::from(self.rules.queue);
        let smoothing = self.rules.smoothing.clamp(0.0, 1.0);
        let limit = self.limit * (1.0 - smoothing) + wanted * smoothing;
        bounded(limit, &self.rules)
    }

    fn learn(&mut self, short: f64) {
        self.windows = self.windows.saturating_add(1);
        let factor = match self.windows {
            windows @ ..=WARM_UP => 1.0 / f64::from(windows),
            _ => 2.0 / (f64::from(self.rules.long) + 1.0),
        };
        self.long += (short - self.long) * factor.min(1.0);
        // What was learnt while all was slow comes down faster than that.
        if self.long > 2.0 * short {
            self.long *= 0.95;
        }
    }
}

fn bounded(limit: f64, rules: &Rules) -> f64 {
    limit
        .min(f64::from(rules.most))
        .max(f64::from(rules.least))
        .max(1.0)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// An origin that serves so many at once in 10 ms, the rest wait; always as many come
    /// as the limit lets through. After so many windows, the limit.
    pub fn filled(gradient: &mut Gradient, at_once: f64, windows: usize) -> u32 {
        for _ in 0..windows {
            let active = gradient.limit();
            let waiting = (f64::from(active) / at_once).max(1.0);
            gradient.observe(Duration::from_millis(10).mul_f64(waiting), active);
        }
        gradient.limit()
    }

    fn rules() -> Rules {
        Rules {
            most: 1000,
            ..Rules::default()
        }
    }

    /// However long the limit is filled.
    #[test]
    fn it_finds_what_an_origin_takes() {
        for windows in [400, 10_000] {
            for at_once in [50.0, 100.0, 200.0] {
                let mut gradient = Gradient::new(rules());
                let found = f64::from(filled(&mut gradient, at_once, windows)) / at_once;
                assert!((1.4..1.7).contains(&found), "{at_once}: {found}");
            }
        }
    }

    #[test]
    fn it_gives_way_to_an_origin_that_became_smaller() {
        let mut gradient = Gradient::new(rules());
        let before = filled(&mut gradient, 200.0, 400);
        let after = filled(&mut gradient, 50.0, 20);
        assert!(after < before / 2, "{before}, {after}");
        assert_eq!(filled(&mut gradient, 200.0, 400), before);
    }

    /// Three times as slow, and it takes as many at once as before.
    #[test]
    fn it_learns_that_answers_became_slower() {
        let mut gradient = Gradient::new(rules());
        let before = filled(&mut gradient, 200.0, 400);
        let mut least = before;
        for _ in 0..600 {
            let active = gradient.limit();
            let waiting = (f64::from(active) / 200.0).max(1.0);
            gradient.observe(Duration::from_millis(30).mul_f64(waiting), active);
            least = least.min(gradient.limit());
        }
        assert_eq!(least, 20);
        assert_eq!(gradient.limit(), before);
    }

    #[test]
    fn who_asks_little_learns_nothing() {
        let mut gradient = Gradient::new(rules());
        for _ in 0..1000 {
            gradient.observe(Duration::from_millis(10), 9);
        }
        assert_eq!(gradient.limit(), 20);
    }

    #[test]
    fn it_stays_within_its_bounds() {
        let mut gradient = Gradient::new(Rules::default());
        assert_eq!(filled(&mut gradient, 1e9, 1000), 200);
        let observe = |second| gradient.observe(Duration::from_secs(second), 200);
        let limits: Vec<_> = (1..40).map(observe).collect();
        assert_eq!(limits.iter().min(), Some(&20));
        let odd = Rules {
            first: 0,
            least: 0,
            most: 0,
            long: 0,
            smoothing: 7.0,
            ..Rules::default()
        };
        let mut gradient = Gradient::new(odd);
        for mean in [Duration::ZERO, Duration::MAX, Duration::ZERO] {
            assert_eq!(gradient.observe(mean, u32::MAX), 1);
        }
    }
}
