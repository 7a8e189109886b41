//! Looking at memory and descriptors, and telling of it.

use std::cmp::Ordering;
use std::time::Duration;

use super::memory::Memory;
use super::{Level, Load, descriptors};
use crate::config::{Marks, Overload};
use crate::stats::Stats;
use crate::stats::overload::{OverloadStats, Resource};

/// How often it is looked. Each look is a handful of system calls.
const LOOK: Duration = Duration::from_millis(250);

/// Looks for as long as it runs. `rules` are asked at each look, because a reload may
/// change them.
pub async fn watch(load: &Load, stats: &Stats, rules: impl Fn() -> Overload) {
    let mut looker = Looker {
        memory: Memory::open(),
        levels: [Level::Fine; Resource::ALL.len()],
    };
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        looker.look(load, &stats.process.overload, &rules());
    }
}

/// What was found at the looks before.
struct Looker {
    memory: Memory,
    /// By resource.
    levels: [Level; Resource::ALL.len()],
}

impl Looker {
    fn look(&mut self, load: &Load, stats: &OverloadStats, rules: &Overload) {
        let memory = self.memory.used(rules.memory_limit);
        self.measure(Resource::Memory, memory, &rules.memory, stats);
        // Where there was none left, that is all of them, however many the limit is.
        let descriptors = match load.take_exhaustion() {
            true => u64::MAX,
            false => descriptors::used(),
        };
        self.measure(
            Resource::Descriptors,
            descriptors,
            &rules.descriptors,
            stats,
        );
        load.set_level(
            self.level(Resource::Memory)
                .max(self.level(Resource::Descriptors)),
        );
        let delays = load.delays.iter();
        let delay = delays.map(|delay| Level::of(delay.level.get() as u8)).max();
        self.set(Resource::Delay, delay.unwrap_or_default(), stats);
    }

    fn level(&self, resource: Resource) -> Level {
        self.levels[resource as usize]
    }

    fn measure(&mut self, resource: Resource, used: u64, marks: &Marks, stats: &OverloadStats) {
        stats.used(resource).set(used.min(1_000_000) as i64);
        self.set(resource, self.level(resource).next(used, marks), stats);
    }

    /// Tells of a change, once.
    fn set(&mut self, resource: Resource, level: Level, stats: &OverloadStats) {
        stats.level(resource).set(level as i64);
        let before = std::mem::replace(&mut self.levels[resource as usize], level);
        let (resource, now) = (resource.name(), level.name());
        match level.cmp(&before) {
            Ordering::Greater => tracing::warn!(resource, now, "overloaded"),
            Ordering::Less => tracing::warn!(resource, now, "less overloaded"),
            Ordering::Equal => {}
        }
    }
}
