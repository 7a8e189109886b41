//! By chance, heavier ones more often.

use fastrand::Rng;

use super::{Candidates, at_or_after};

/// There must be a schedule: a slot of it drawn evenly is an endpoint drawn by
/// weight.
pub fn pick(candidates: &impl Candidates, rng: &mut Rng) -> usize {
    at_or_after(candidates, rng.usize(..candidates.schedule().len()))
}
