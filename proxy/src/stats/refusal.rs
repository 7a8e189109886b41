//! Connections of one listener that were closed as they came, on one worker.

use super::counter::Counter;

/// Whose limit was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The listener's.
    Listener,
    /// That of all listeners together.
    Process,
    /// The client's.
    Client,
    /// What the process can carry.
    Overload,
}

impl Refusal {
    pub const NAMES: [&str; 4] = ["listener", "process", "client", "overload"];

    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}

#[derive(Debug, Default)]
pub struct Refusals([Counter; Refusal::NAMES.len()]);

impl Refusals {
    pub fn count(&self, refusal: Refusal) {
        self.0[refusal as usize].add(1);
    }

    /// By the index of the refusal's name.
    pub fn of(&self, index: usize) -> &Counter {
        &self.0[index]
    }
}
