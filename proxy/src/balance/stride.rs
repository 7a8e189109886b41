//! The order in which weighted endpoints take their turns, worked out beforehand, so that a
//! pick is a look into a table.
//!
//! Stride scheduling (Waldspurger and Weihl, "Stride Scheduling: Deterministic Proportional-
//! Share Resource Management", 1995), one round of it. gRPC's static stride scheduler (A58)
//! needs no table, but looks at as many endpoints as the heaviest is heavier than the mean.

use std::collections::HashMap;

use fastrand::Rng;

/// Turns of a round where weights cannot be had with fewer.
const MAX_TURNS: u64 = 1 << 16;

/// In place of an index: whose turn it is stands in the second table.
const SHARED: u32 = u32::MAX;

/// Turns looked at before weights are given up for finding any endpoint.
const MAX_LOOKS: usize = 64;

/// Indices of weights, as often as each weight asks for and evenly spread. A weight of
/// zero gets no turn; only where all are zero are all equal.
///
/// Where a round is too short for the weights, each endpoint has its whole turns, and the
/// parts of turns that are left over come to whole ones together, which go around in a second
/// table. So one endpoint may be four thousand million times as heavy as another.
#[derive(Debug, Default)]
pub struct Schedule {
    /// As many as there were weights.
    count: usize,
    turns: Box<[u32]>,
    /// Of the turns that are [`SHARED`].
    shared: Box<[u32]>,
}

impl Schedule {
    pub fn new(weights: &[u32]) -> Self {
        let weights = without_divisor(weights);
        let total: u64 = weights.iter().sum();
        if total <= MAX_TURNS {
            return Self {
                count: weights.len(),
                turns: order(&numbered(&weights)),
                shared: Box::default(),
            };
        }
        let exact = |weight: &u64| u128::from(*weight) * u128::from(MAX_TURNS);
        let narrow = |number: u128| u64::try_from(number).expect("a part of u64");
        let whole = |weight| narrow(exact(weight) / u128::from(total));
        let part = |weight| narrow(exact(weight) % u128::from(total));
        let mut turns = numbered(&weights.iter().map(whole).collect::<Vec<_>>());
        let parts: Vec<_> = weights.iter().map(part).collect();
        turns.push((
            SHARED,
            MAX_TURNS - turns.iter().map(|turn| turn.1).sum::<u64>(),
        ));
        Self {
            count: weights.len(),
            turns: order(&turns),
            shared: order(&numbered(&rounded(&parts))),
        }
    }

    /// How many endpoints it was made for.
    pub fn count(&self) -> usize {
        self.count
    }

    /// One by chance, heavier ones more often. `None` only without endpoints.
    pub fn draw(&self, rng: &mut Rng) -> Option<usize> {
        let drawn = at(&self.turns, rng)?;
        let drawn = match drawn {
            SHARED => at(&self.shared, rng)?,
            index => index,
        };
        Some(drawn as usize)
    }
}

fn at(table: &[u32], rng: &mut Rng) -> Option<u32> {
    let length = u32::try_from(table.len()).unwrap_or(u32::MAX);
    match length {
        0 => None,
        length => table.get(rng.u32(..length) as usize).copied(),
    }
}

/// A place in a round, on one worker.
#[derive(Debug, Default, Clone)]
pub struct RoundRobin {
    next: usize,
    next_shared: usize,
}

impl RoundRobin {
    /// Workers begin at different places, lest all of them begin with the same endpoint.
    pub fn starting_anywhere(rng: &mut Rng) -> Self {
        Self {
            next: rng.usize(..),
            next_shared: rng.usize(..),
        }
    }

    /// Whose turn it is, or the next that is not passed over. Turns of those that are go
    /// to all others alike and not to their neighbours. Where all are passed over, trying
    /// is better than failing: `None` only without endpoints.
    pub fn pick(
        &mut self,
        schedule: &Schedule,
        is_passed_over: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let first = self.turn(schedule)?;
        if !is_passed_over(first) {
            return Some(first);
        }
        let mut ahead = self.clone();
        let found = (1..MAX_LOOKS.min(schedule.turns.len()))
            .filter_map(|_| ahead.turn(schedule))
            .find(|index| !is_passed_over(*index))
            .or_else(|| any(schedule.count, first, |index| !is_passed_over(index)));
        // Where there is none the next begins behind this one's first, and not a whole round
        // later, with the same.
        if found.is_some() {
            *self = ahead;
        }
        found.or(Some(first))
    }

    fn turn(&mut self, schedule: &Schedule) -> Option<usize> {
        let index = match step(&mut self.next, &schedule.turns)? {
            SHARED => step(&mut self.next_shared, &schedule.shared)?,
            index => index,
        };
        Some(index as usize)
    }
}

/// A table that became shorter is entered anywhere.
fn step(next: &mut usize, table: &[u32]) -> Option<u32> {
    if *next >= table.len() {
        *next = next.checked_rem(table.len())?;
    }
    let found = table[*next];
    *next += 1;
    Some(found)
}

/// So many are looked at for one that will do: where one of a hundred does, it is not found
/// once in thirty thousand times. In an outage of ten thousand each request would look at all.
const MAX_LOOKED_AT: usize = 1024;

/// A prime. Where not all are looked at, each is so far from the one before: those that will
/// not do are often neighbours.
const STEP: usize = 7919;

/// The first that will do, in turn from `start` on where there are not too many to look at.
pub(super) fn any(count: usize, start: usize, will_do: impl Fn(usize) -> bool) -> Option<usize> {
    let step = match count <= MAX_LOOKED_AT || count.is_multiple_of(STEP) {
        true => 1,
        false => STEP,
    };
    let looked_at = 0..count.min(MAX_LOOKED_AT);
    let mut all = looked_at.map(|turn| (start + turn * step) % count);
    all.find(|index| will_do(*index))
}

fn without_divisor(weights: &[u32]) -> Vec<u64> {
    let divisor = weights.iter().fold(0, |a, b| gcd(a, *b));
    let divided = |weight: &u32| weight.checked_div(divisor).unwrap_or(1);
    weights.iter().map(divided).map(u64::from).collect()
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

fn numbered(turns: &[u64]) -> Vec<(u32, u64)> {
    (0..).zip(turns.iter().copied()).collect()
}

/// To a round's turns, at least one for each that has anything.
fn rounded(parts: &[u64]) -> Vec<u64> {
    let total: u128 = parts.iter().copied().map(u128::from).sum();
    let turns = |part: &u64| {
        let exact = u128::from(*part) * u128::from(MAX_TURNS);
        let nearest = (exact + total / 2).checked_div(total).unwrap_or(0);
        let nearest = u64::try_from(nearest).expect("at most a round");
        nearest.max(u64::from(*part > 0))
    };
    parts.iter().map(turns).collect()
}

/// All turns in the order of their places. The round is one unit long; turn `taken` stands
/// at `(taken + phase) / turns`, where the phases of endpoints of the same weight are
/// spread from 0 to 1: else all light ones would come in a row.
fn order(turns: &[(u32, u64)]) -> Box<[u32]> {
    let mut sizes: HashMap<u64, u64> = HashMap::new();
    for (_, turns) in turns {
        *sizes.entry(*turns).or_default() += 1;
    }
    let mut ranks: HashMap<u64, u64> = HashMap::new();
    let mut places = Vec::new();
    for (index, turns) in turns.iter().copied().filter(|(_, turns)| *turns > 0) {
        let rank = ranks.entry(turns).or_default();
        let phase = 2 * *rank + 1;
        let parts = 2 * sizes[&turns];
        *rank += 1;
        places.extend((0..turns).map(|taken| (place(taken * parts + phase, turns * parts), index)));
    }
    places.sort_unstable();
    places.into_iter().map(|(_, index)| index).collect()
}

/// A number that is ordered as the fraction is. Division of numbers below 2^53 is exact but
/// for one rounding, so that equal fractions are equal, and floats that are not negative are
/// ordered as their bits are.
fn place(numerator: u64, denominator: u64) -> u64 {
    (numerator as f64 / denominator as f64).to_bits()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(schedule: &Schedule, picks: usize) -> Vec<usize> {
        let mut round = RoundRobin {
            next: 0,
            next_shared: 0,
        };
        let pick = |_| round.pick(schedule, |_| false).unwrap();
        (0..picks).map(pick).collect()
    }

    fn counts(count: usize, picks: impl IntoIterator<Item = usize>) -> Vec<u32> {
        let mut counts = vec![0; count];
        picks.into_iter().for_each(|index| counts[index] += 1);
        counts
    }

    #[test]
    fn where_all_are_passed_over_each_has_its_turn() {
        let schedule = Schedule::new(&[1, 1, 1]);
        let mut round = RoundRobin::default();
        let picked = (0..6).map(|_| round.pick(&schedule, |_| true).unwrap());
        let mut picked: Vec<_> = picked.collect();
        picked.sort_unstable();
        assert_eq!(picked, [0, 0, 1, 1, 2, 2]);
    }

    #[test]
    fn of_many_some_are_looked_at_that_are_no_neighbours() {
        let looked_at = std::cell::Cell::new(0);
        for start in [0, 1, 5_000, 9_799] {
            let found = any(10_000, start, |index| index >= 9_800);
            assert!(found.is_some_and(|index| index >= 9_800));
        }
        let none = |_| {
            looked_at.set(looked_at.get() + 1);
            false
        };
        assert_eq!(any(10_000, 7, none), None);
        assert_eq!(looked_at.get(), MAX_LOOKED_AT);
        // Few are looked at all, in turn.
        assert_eq!(any(3, 2, |index| index == 1), Some(1));
        assert_eq!(any(3, 9, |_| true), Some(0));
        assert_eq!(any(0, 0, |_| true), None);
        assert_eq!(any(STEP, 5, |index| index == 4), None);
    }

    #[test]
    fn turns_are_even() {
        check(&[7], &[0]);
        check(&[1, 1, 1], &[0, 1, 2]);
        check(&[10, 10], &[0, 1]);
        check(&[3, 1], &[0, 0, 1, 0]);
        check(&[5, 1, 1], &[0, 1, 0, 0, 0, 2, 0]);
        check(&[3, 2, 1], &[0, 1, 0, 2, 1, 0]);
        check(&[4, 1, 1, 1, 1], &[0, 1, 0, 2, 0, 3, 0, 4]);
        check(&[1, 0], &[0]);
        check(&[0, 0], &[0, 1]);
    }

    fn check(weights: &[u32], order: &[usize]) {
        let schedule = Schedule::new(weights);
        assert_eq!(schedule.turns.len(), order.len(), "{weights:?}");
        assert_eq!(round(&schedule, order.len()), order, "{weights:?}");
    }

    #[test]
    fn no_endpoint_no_pick() {
        let schedule = Schedule::new(&[]);
        let mut rng = Rng::with_seed(1);
        assert_eq!(schedule.draw(&mut rng), None);
        let mut round = RoundRobin::starting_anywhere(&mut rng);
        assert_eq!(round.pick(&schedule, |_| false), None);
    }

    /// At any time each has had what is its due, to a turn and a half.
    #[test]
    fn turns_are_even_at_any_time() {
        let mut rng = Rng::with_seed(11);
        for _ in 0..50 {
            let weights: Vec<u32> = (0..rng.usize(1..12)).map(|_| rng.u32(..1000)).collect();
            let total: u32 = weights.iter().sum();
            let schedule = Schedule::new(&weights);
            let mut taken = vec![0; weights.len()];
            for (picks, index) in (1..).zip(round(&schedule, 3 * schedule.turns.len())) {
                taken[index] += 1;
                for (taken, weight) in taken.iter().zip(&weights).filter(|_| total > 0) {
                    let due = f64::from(picks) * f64::from(*weight) / f64::from(total);
                    let off = f64::from(*taken) - due;
                    assert!(off.abs() <= 1.6, "{weights:?}: {off} at {picks}");
                }
            }
        }
    }

    #[test]
    fn weights_are_honoured_however_far_apart() {
        check_shares(&[3, 1], 0.000_01);
        check_shares(&[u32::MAX, u32::MAX - 1], 0.000_01);
        check_shares(&[u32::MAX, u32::MAX, 0, u32::MAX], 0.000_01);
        check_shares(&[3_000_001, 1_000_000], 0.000_01);
        check_shares(&[100_000, 1, 1, 7], 0.000_01);
        check_shares(&[1_000_003, 3, 65_537, 17], 0.000_01);
    }

    /// Of a million picks by turn; by chance they are less exact.
    fn check_shares(weights: &[u32], slack: f64) {
        let schedule = Schedule::new(weights);
        let total: f64 = weights.iter().copied().map(f64::from).sum();
        let mut rng = Rng::with_seed(7);
        let picks = 1_000_000;
        let turns = counts(weights.len(), round(&schedule, picks));
        let drawn = (0..picks).map(|_| schedule.draw(&mut rng).unwrap());
        let drawn = counts(weights.len(), drawn);
        for (index, weight) in weights.iter().enumerate() {
            let wanted = f64::from(*weight) / total;
            let turns = f64::from(turns[index]) / picks as f64;
            let drawn = f64::from(drawn[index]) / picks as f64;
            assert!(
                (turns - wanted).abs() < slack,
                "{weights:?}[{index}]: {turns}"
            );
            assert!(
                (drawn - wanted).abs() < 0.002,
                "{weights:?}[{index}]: {drawn}"
            );
        }
    }

    /// Without shared turns, ten thousand light ones would have had a seventh of it all.
    #[test]
    fn many_light_ones_do_not_outweigh_a_heavy_one() {
        let mut weights = vec![1; 10_000];
        weights.push(1_000_000_000);
        let schedule = Schedule::new(&weights);
        let picks = round(&schedule, 1_000_000);
        let light = picks.iter().filter(|index| **index < 10_000).count();
        assert!((1..=20).contains(&light), "{light}, and 10 are due");
    }

    #[test]
    fn ten_thousand_of_all_weights_have_their_share() {
        let weights: Vec<u32> = (1..=10_000).collect();
        let schedule = Schedule::new(&weights);
        assert_eq!(schedule.turns.len(), 1 << 16);
        assert!(schedule.shared.len() < 1 << 17);
        let picks = 100 << 16;
        let counts = counts(weights.len(), round(&schedule, picks));
        for (count, weight) in counts.into_iter().zip(weights) {
            let due = picks as f64 * f64::from(weight) / 50_005_000.0;
            // The lightest have one of the shared turns where the 500th part is due.
            let off = f64::from(count) - due;
            assert!(off.abs() < 9.0 + 0.01 * due, "{weight}: {count}, not {due}");
        }
    }

    #[test]
    fn turns_of_who_is_passed_over_go_to_all_others() {
        let schedule = Schedule::new(&[1; 5]);
        let mut round = RoundRobin::starting_anywhere(&mut Rng::with_seed(3));
        let picks = (0..4000).map(|_| round.pick(&schedule, |index| index == 2).unwrap());
        assert_eq!(counts(5, picks), [1000, 1000, 0, 1000, 1000]);
    }

    #[test]
    fn one_that_is_ready_is_found_behind_a_heavy_one() {
        let schedule = Schedule::new(&[60_000, 1, 1]);
        let mut round = RoundRobin::starting_anywhere(&mut Rng::with_seed(3));
        for _ in 0..1000 {
            assert_eq!(round.pick(&schedule, |index| index < 2), Some(2));
        }
        assert!(round.pick(&schedule, |_| true).is_some());
    }

    #[test]
    fn a_schedule_that_became_shorter_is_entered_anywhere() {
        let mut round = RoundRobin {
            next: usize::MAX,
            next_shared: usize::MAX,
        };
        for weights in [&[u32::MAX, 1][..], &[1, 1], &[1], &[5, 7, 11]] {
            let schedule = Schedule::new(weights);
            assert!(round.pick(&schedule, |_| false).unwrap() < weights.len());
        }
    }
}
