//! Which endpoint takes the next request. Pure: one policy per file.
//!
//! Takes: [`Candidates`], chance, and the little that a policy remembers.
//! Gives: the index of an endpoint, none only where there is no endpoint.
//! Must never: look at a clock or a socket. Endpoints that refused lately are
//! passed over, unless all of them did: then trying is better than failing.

mod least_request;
mod random;
mod round_robin;

use fastrand::Rng;

use self::round_robin::RoundRobin;
use crate::config::Balance;

/// What a policy may know about endpoints, by index.
pub trait Candidates {
    /// How many there are.
    fn count(&self) -> usize;
    /// Indices by weight, evenly spread; empty only without endpoints.
    fn schedule(&self) -> &[u32];
    fn weight(&self, index: usize) -> u32;
    /// Requests of this worker that are under way there.
    fn active(&self, index: usize) -> u32;
    /// Whether others should be tried first.
    fn is_passed_over(&self, index: usize) -> bool;
}

/// The policy of a cluster with its state on one worker.
#[derive(Debug)]
pub enum Balancer {
    RoundRobin(RoundRobin),
    LeastRequest,
    Random,
}

impl Balancer {
    /// Workers begin their rounds at different places.
    pub fn new(balance: Balance, rng: &mut Rng) -> Self {
        match balance {
            Balance::RoundRobin => Self::RoundRobin(RoundRobin::starting_at(rng.u32(..))),
            Balance::LeastRequest => Self::LeastRequest,
            Balance::Random => Self::Random,
        }
    }

    /// The index of an endpoint; `None` where there is none.
    pub fn pick(&mut self, candidates: &impl Candidates, rng: &mut Rng) -> Option<usize> {
        if candidates.schedule().is_empty() {
            return None;
        }
        Some(match self {
            Self::RoundRobin(round) => round.pick(candidates),
            Self::LeastRequest => least_request::pick(candidates, rng),
            Self::Random => random::pick(candidates, rng),
        })
    }
}

/// Turns looked at before weights are given up for finding any endpoint.
const MAX_LOOKS: usize = 64;

/// The endpoint whose turn it is at `slot`, or the next that is not passed
/// over.
fn at_or_after(candidates: &impl Candidates, slot: usize) -> usize {
    let schedule = candidates.schedule();
    let turn = |slot: usize| schedule[slot % schedule.len()] as usize;
    let first = turn(slot);
    if !candidates.is_passed_over(first) {
        return first;
    }
    let by_turn = (1..MAX_LOOKS.min(schedule.len())).map(|offset| turn(slot + offset));
    let by_index = (1..candidates.count()).map(|offset| (first + offset) % candidates.count());
    by_turn
        .chain(by_index)
        .find(|index| !candidates.is_passed_over(*index))
        .unwrap_or(first)
}

#[cfg(test)]
mod tests;
