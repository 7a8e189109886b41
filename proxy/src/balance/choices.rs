//! The cheapest of a few drawn by chance.
//!
//! Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 1996: two choices
//! do almost as well as knowing all, and do not herd where what is known is old. With weights
//! both the chance to be drawn and the cost go by them, as in HAProxy's `random(2)` and
//! Envoy's least request. One choice is plain chance.

use std::num::NonZeroU8;

use fastrand::Rng;

use super::stride::{Schedule, any};

/// Draws in vain for each choice, of one that was drawn already or is passed over, before the
/// choice is made among fewer: where one is very heavy another is rare, and need not be found.
const MAX_VAIN: usize = 3;

/// Choices that there may be.
pub const MAX_CHOICES: usize = 16;

/// The cost of an endpoint is `None` where it is passed over. Where costs are equal the first
/// drawn is taken, so that without any load it goes by weight. Where all are passed over,
/// trying is better than failing: `None` only without endpoints. Of more choices than
/// [`MAX_CHOICES`] there are so many.
pub fn pick(
    schedule: &Schedule,
    choices: NonZeroU8,
    rng: &mut Rng,
    cost: impl Fn(usize) -> Option<f64>,
) -> Option<usize> {
    let first = schedule.draw(rng)?;
    let mut best = cost(first).map(|cost| (first, cost));
    let choices = usize::from(choices.get()).min(MAX_CHOICES);
    // Those that were compared.
    let mut drawn = [first; MAX_CHOICES];
    let mut count = usize::from(best.is_some());
    let mut vain = 0;
    while count < choices && vain < choices * MAX_VAIN {
        let next = schedule.draw(rng)?;
        let is_new = !drawn[..count].contains(&next);
        match cost(next).filter(|_| is_new) {
            None => vain += 1,
            Some(cost) => {
                drawn[count] = next;
                count += 1;
                if best.is_none_or(|(_, least)| cost < least) {
                    best = Some((next, cost));
                }
            }
        }
    }
    best.map(|(best, _)| best)
        .or_else(|| any(schedule.count(), first, |index| cost(index).is_some()))
        .or(Some(first))
}

/// What an endpoint has to do, for its weight.
pub fn load(active: u32, weight: u32) -> f64 {
    f64::from(active) / f64::from(weight.max(1))
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::pressure::Pressure;
    use super::super::simulate::{Ending, Policy, Server, Simulation};
    use super::*;
    use std::time::Duration;

    pub const ONE: NonZeroU8 = NonZeroU8::MIN;
    pub const TWO: NonZeroU8 = NonZeroU8::new(2).unwrap();
    const FIVE: NonZeroU8 = NonZeroU8::new(5).unwrap();

    #[test]
    fn each_choice_is_another() {
        let schedule = Schedule::new(&[1; 3]);
        let mut rng = Rng::with_seed(3);
        let cost = |index: usize| Some([3.0, 2.0, 1.0][index]);
        let three = NonZeroU8::new(3).unwrap();
        let best = (0..10_000).filter(|_| pick(&schedule, three, &mut rng, cost) == Some(2));
        // Nine draws do not find three of three once in forty times.
        assert!(best.count() > 9_700);
        let all = NonZeroU8::MAX;
        assert_eq!(pick(&schedule, all, &mut rng, cost), Some(2));
    }

    fn shares(
        weights: &[u32],
        choices: NonZeroU8,
        cost: impl Fn(usize) -> Option<f64>,
    ) -> Vec<f64> {
        let schedule = Schedule::new(weights);
        let mut rng = Rng::with_seed(5);
        let mut counts = vec![0_u32; weights.len()];
        for _ in 0..100_000 {
            counts[pick(&schedule, choices, &mut rng, &cost).unwrap()] += 1;
        }
        let share = |count| f64::from(count) / 100_000.0;
        counts.into_iter().map(share).collect()
    }

    fn check(weights: &[u32], active: &[Option<u32>], choices: NonZeroU8, wanted: &[f64]) {
        let cost = |index: usize| active[index].map(|active| load(active, weights[index]));
        let found = shares(weights, choices, cost);
        let near = |(a, b): (&f64, &f64)| (a - b).abs() < 0.01;
        assert!(
            found.iter().zip(wanted).all(near),
            "{found:?}, not {wanted:?}"
        );
    }

    #[test]
    fn the_cheapest_of_those_drawn_is_taken() {
        let idle = Some(0);
        check(&[3, 1], &[idle; 2], ONE, &[0.75, 0.25]);
        check(&[3, 1], &[idle; 2], TWO, &[0.75, 0.25]);
        check(
            &[6, 3, 1],
            &[Some(9), Some(1), None],
            ONE,
            &[0.667, 0.333, 0.0],
        );
        check(&[1, 1], &[Some(5), Some(1)], TWO, &[0.0, 1.0]);
        // Both of the busy ones were drawn, or not.
        check(
            &[1; 3],
            &[Some(5), Some(5), Some(1)],
            TWO,
            &[0.167, 0.167, 0.667],
        );
        check(
            &[1; 3],
            &[Some(5), Some(5), Some(1)],
            FIVE,
            &[0.001, 0.001, 0.999],
        );
        // Busy for its weight, not by the bare number.
        check(&[10, 1], &[Some(9), Some(1)], TWO, &[1.0, 0.0]);
        check(&[0, 1], &[Some(0), Some(9)], TWO, &[0.0, 1.0]);
    }

    #[test]
    fn who_is_passed_over_is_picked_where_all_are() {
        check(&[3, 1, 2], &[None, Some(0), None], TWO, &[0.0, 1.0, 0.0]);
        check(
            &[60_000, 1, 1],
            &[None, None, Some(9)],
            TWO,
            &[0.0, 0.0, 1.0],
        );
        check(&[1, 1], &[None, None], TWO, &[0.5, 0.5]);
        let mut rng = Rng::with_seed(1);
        assert_eq!(pick(&Schedule::new(&[]), TWO, &mut rng, |_| None), None);
    }

    pub struct LeastRequest {
        schedule: Schedule,
        choices: NonZeroU8,
        active: Vec<u32>,
        pressure: Vec<Pressure>,
    }

    impl LeastRequest {
        pub fn new(count: usize, choices: NonZeroU8) -> Self {
            Self {
                schedule: Schedule::new(&vec![1; count]),
                choices,
                active: vec![0; count],
                pressure: vec![Pressure::default(); count],
            }
        }
    }

    impl Policy for LeastRequest {
        fn pick(&mut self, now: Duration, rng: &mut Rng) -> usize {
            let cost = |index: usize| {
                let load = load(self.active[index], 1);
                Some(self.pressure[index].cost(now, load, 1.0))
            };
            let picked = pick(&self.schedule, self.choices, rng, cost).unwrap();
            self.active[picked] += 1;
            picked
        }

        fn ended(&mut self, index: usize, now: Duration, _: Duration, ending: Ending) {
            self.active[index] -= 1;
            match ending {
                Ending::Fine => self.pressure[index].relieved(now),
                Ending::Refused => self.pressure[index].refused(now, None),
            }
        }
    }

    /// Ten endpoints and 64 requests under way in the mean; the first is twenty times as slow.
    #[test]
    fn one_slow_endpoint_is_hardly_noticed() {
        let servers = |slow| {
            let mut servers = vec![Server::with_time(Duration::from_millis(10)); 10];
            servers[0].time *= slow;
            servers
        };
        let run = |slow, choices| {
            let policy = || LeastRequest::new(10, choices);
            Simulation::new(servers(slow), 6400.0).run(2, policy)
        };
        let healthy = run(1, TWO).p99();
        let two = run(20, TWO).p99();
        let one = run(20, ONE).p99();
        assert!(two < 2 * healthy, "{two:?}, healthy {healthy:?}");
        assert!(two * 4 < one, "{two:?}, by chance {one:?}");
    }

    #[test]
    fn who_refuses_fast_does_not_attract() {
        let mut servers = vec![Server::with_time(Duration::from_millis(10)); 10];
        servers[3] = Server::refusing(Duration::from_millis(1));
        let report = Simulation::new(servers, 2000.0).run(2, || LeastRequest::new(10, TWO));
        let share = report.share(3);
        assert!(share < 0.02, "{share}");
        let others = (0..10).filter(|index| *index != 3);
        others.for_each(|index| assert!(report.share(index) > 0.09));
    }
}
