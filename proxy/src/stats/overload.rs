//! What there is too much of.

use super::counter::Gauge;

/// What a process can run out of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    Memory,
    Descriptors,
    /// Time of workers.
    Delay,
}

impl Resource {
    pub const ALL: [Resource; 3] = [Resource::Memory, Resource::Descriptors, Resource::Delay];

    /// The value of the label `resource`.
    pub const fn name(self) -> &'static str {
        match self {
            Resource::Memory => "memory",
            Resource::Descriptors => "descriptors",
            Resource::Delay => "delay",
        }
    }
}

/// Written by the control thread.
#[derive(Debug, Default)]
pub struct OverloadStats {
    levels: [Gauge; Resource::ALL.len()],
    used: [Gauge; Resource::ALL.len()],
}

impl OverloadStats {
    /// What is given up for it: 0 for nothing, to 3.
    pub fn level(&self, resource: Resource) -> &Gauge {
        &self.levels[resource as usize]
    }

    /// In thousandths of what there is. Of delays there is none.
    pub fn used(&self, resource: Resource) -> &Gauge {
        &self.used[resource as usize]
    }
}

/// How late one worker is, written by it.
#[derive(Debug, Default)]
pub struct WorkerDelay {
    /// By how much its timer was late last.
    pub milliseconds: Gauge,
    /// What it gives up for that.
    pub level: Gauge,
}
