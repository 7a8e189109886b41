//! Each in turn, heavier ones more often.

use super::{Candidates, at_or_after};

/// Walks the schedule of the endpoint set, slot by slot.
#[derive(Debug)]
pub struct RoundRobin {
    next: u32,
}

impl RoundRobin {
    pub fn starting_at(next: u32) -> Self {
        Self { next }
    }

    /// There must be a schedule. One that became shorter is entered anywhere.
    pub fn pick(&mut self, candidates: &impl Candidates) -> usize {
        let length = u32::try_from(candidates.schedule().len()).unwrap_or(u32::MAX);
        let slot = if self.next < length {
            self.next
        } else {
            self.next % length
        };
        self.next = slot + 1;
        at_or_after(candidates, slot as usize)
    }
}
