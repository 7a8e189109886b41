//! The order in which weighted endpoints take their turns.

use std::cmp::{Ordering, Reverse};
use std::collections::HashMap;
use std::collections::binary_heap::{BinaryHeap, PeekMut};

/// Beyond this many turns weights are rounded: to half a turn in 65,536, or
/// to one turn each where there are more endpoints than that.
const MAX_TURNS: u64 = 1 << 16;

/// Indices of `weights`, each as often as its weight asks for, as evenly spread
/// as whole turns allow (stride scheduling: Waldspurger and Weihl 1995). A
/// weight of zero gets no turn; only where all are zero are all equal.
pub fn schedule(weights: &[u32]) -> Box<[u32]> {
    let turns = turns(weights);
    let mut groups = groups(&turns);
    let mut next: BinaryHeap<Reverse<Turn>> = BinaryHeap::with_capacity(weights.len());
    for (index, turns) in (0..).zip(turns).filter(|(_, turns)| *turns > 0) {
        let group = groups.entry(turns).or_default();
        next.push(Reverse(Turn::first(index, turns, *group)));
        group.rank += 1;
    }
    let mut order = Vec::new();
    while let Some(mut first) = next.peek_mut() {
        order.push(first.0.index);
        first.0.taken += 1;
        if first.0.taken == first.0.turns {
            PeekMut::pop(first);
        }
    }
    order.into()
}

/// How often each endpoint comes in one round.
fn turns(weights: &[u32]) -> Vec<u64> {
    let divisor = weights.iter().fold(0, |a, b| gcd(a, *b));
    if divisor == 0 {
        return vec![1; weights.len()];
    }
    let turns = || weights.iter().map(|weight| u64::from(weight / divisor));
    let total: u64 = turns().sum();
    let most = MAX_TURNS.max(weights.len() as u64);
    if total <= most {
        return turns().collect();
    }
    turns()
        .map(|turns| match turns {
            0 => 0,
            // Both factors are below 2^33 and 2^32: no overflow in `u128`.
            turns => {
                let scaled = (u128::from(turns) * u128::from(most) + u128::from(total / 2))
                    / u128::from(total);
                u64::try_from(scaled).unwrap_or(most).max(1)
            }
        })
        .collect()
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Endpoints with the same number of turns, by that number.
fn groups(turns: &[u64]) -> HashMap<u64, Group> {
    let mut groups: HashMap<u64, Group> = HashMap::new();
    for turns in turns {
        groups.entry(*turns).or_default().size += 1;
    }
    groups
}

#[derive(Debug, Clone, Copy, Default)]
struct Group {
    size: u64,
    rank: u64,
}

/// The next turn of an endpoint. The round is one unit long; turn `taken` stands
/// at `(taken + phase) / turns`, where the phases of endpoints of the same
/// weight are spread from 0 to 1: else all light ones would come in a row.
#[derive(PartialEq, Eq)]
struct Turn {
    index: u32,
    taken: u64,
    turns: u64,
    /// The phase is `phase / parts`.
    phase: u64,
    parts: u64,
}

impl Turn {
    fn first(index: u32, turns: u64, group: Group) -> Self {
        Self {
            index,
            taken: 0,
            turns,
            phase: 2 * group.rank + 1,
            parts: 2 * group.size,
        }
    }

    /// As a fraction. All its numbers are below 2^33, so that the products of
    /// two fit.
    fn place(&self) -> (u128, u128) {
        let parts = u128::from(self.parts);
        (
            u128::from(self.taken) * parts + u128::from(self.phase),
            u128::from(self.turns) * parts,
        )
    }
}

impl Ord for Turn {
    fn cmp(&self, other: &Self) -> Ordering {
        let (mine, my_parts) = self.place();
        let (theirs, their_parts) = other.place();
        (mine * their_parts)
            .cmp(&(theirs * my_parts))
            .then(self.index.cmp(&other.index))
    }
}

impl PartialOrd for Turn {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_even() {
        check(&[], &[]);
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

    fn check(weights: &[u32], order: &[u32]) {
        assert_eq!(&*schedule(weights), order, "{weights:?}");
    }

    #[test]
    fn huge_weights_are_rounded() {
        check_share(&[u32::MAX, u32::MAX - 1], 0, 0.5);
        check_share(&[u32::MAX, 1], 0, 1.0);
        check_share(&[3_000_001, 1_000_000], 0, 0.75);
        assert!(schedule(&[u32::MAX, 1]).contains(&1));
    }

    fn check_share(weights: &[u32], index: u32, share: f64) {
        let order = schedule(weights);
        let count = order.iter().filter(|found| **found == index).count();
        let found = count as f64 / order.len() as f64;
        assert!((found - share).abs() < 0.001, "{weights:?}: {found}");
    }

    #[test]
    fn many_endpoints_all_have_a_turn() {
        let weights: Vec<u32> = (1..=10_000).collect();
        let order = schedule(&weights);
        let mut found = vec![false; weights.len()];
        order.iter().for_each(|index| found[*index as usize] = true);
        assert!(found.iter().all(|found| *found));
        assert!(order.len() < 100_000);
    }
}
