//! The less busy one of two drawn by chance (Mitzenmacher 1996: two choices do
//! almost as well as knowing all, and do not herd).

use fastrand::Rng;

use super::{Candidates, random};

/// Draws before two that are the same are taken for good: with a very heavy
/// endpoint a different one is rare, and need not be found.
const MAX_DRAWS: usize = 4;

/// There must be a schedule. Both are drawn by weight, and compared by active
/// requests for each unit of weight; the first wins a tie.
pub fn pick(candidates: &impl Candidates, rng: &mut Rng) -> usize {
    let first = random::pick(candidates, rng);
    let second = (0..MAX_DRAWS)
        .map(|_| random::pick(candidates, rng))
        .find(|second| *second != first)
        .unwrap_or(first);
    let load = |index: usize, other: usize| {
        u64::from(candidates.active(index)) * u64::from(candidates.weight(other))
    };
    if load(second, first) < load(first, second) {
        second
    } else {
        first
    }
}
