//! Which generations are still at work.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::SystemTime;

use crate::filter::LoadedFilter;
use crate::snapshot::Snapshot;

/// Every generation that an exchange may still hold.
#[derive(Default)]
pub struct Generations(Mutex<Vec<Generation>>);

struct Generation {
    number: u64,
    published: SystemTime,
    snapshot: Weak<Snapshot>,
}

/// One generation, as `/generations` shows it.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Live {
    pub generation: u64,
    /// Seconds since 1970.
    pub published: u64,
    /// The one that new exchanges take.
    pub current: bool,
    /// Exchanges that run by it.
    pub exchanges: i64,
    /// Linear memory of the instances of those filters that the current one does not
    /// have.
    pub filter_memory_bytes: i64,
}

impl Generations {
    pub fn add(&self, snapshot: &Arc<Snapshot>) {
        self.locked().push(Generation {
            number: snapshot.generation,
            published: SystemTime::now(),
            snapshot: Arc::downgrade(snapshot),
        });
    }

    /// Oldest first.
    pub fn live(&self) -> Vec<Live> {
        let mut generations = self.locked();
        generations.retain(|generation| generation.snapshot.strong_count() > 0);
        let newest = generations.last();
        let newest = newest.and_then(|newest| newest.snapshot.upgrade());
        let tell = |generation: &Generation| {
            let snapshot = generation.snapshot.upgrade()?;
            Some(Live {
                generation: generation.number,
                published: generation
                    .published
                    .duration_since(SystemTime::UNIX_EPOCH)
                    .map_or(0, |since| since.as_secs()),
                current: newest
                    .as_ref()
                    .is_some_and(|newest| Arc::ptr_eq(newest, &snapshot)),
                exchanges: snapshot.exchanges.level(|exchanges| exchanges),
                filter_memory_bytes: memory_beyond(&snapshot, newest.as_deref()),
            })
        };
        generations.iter().filter_map(tell).collect()
    }

    /// What is still at work, oldest first.
    pub fn snapshots(&self) -> Vec<Arc<Snapshot>> {
        let generations = self.locked();
        generations
            .iter()
            .filter_map(|generation| generation.snapshot.upgrade())
            .collect()
    }

    /// Why there may be no further generation.
    pub fn full(&self, limit: usize) -> Option<String> {
        let live = self.live();
        if live.len() < limit {
            return None;
        }
        let oldest = live.first().map_or(0, |oldest| oldest.generation);
        Some(format!(
            "{} live generations (the oldest, {oldest}, is still held by open exchanges)",
            live.len()
        ))
    }

    fn locked(&self) -> MutexGuard<'_, Vec<Generation>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the filters hold that only this generation and others before have.
fn memory_beyond(snapshot: &Snapshot, newest: Option<&Snapshot>) -> i64 {
    let is_gone = |filter: &&Arc<LoadedFilter>| {
        let mut newest = newest.into_iter().flat_map(versions);
        !newest.any(|known| Arc::ptr_eq(known, filter))
    };
    versions(snapshot)
        .filter(is_gone)
        .map(|filter| filter.memory_bytes())
        .sum()
}

/// Those that serve, canaries among them.
fn versions(snapshot: &Snapshot) -> impl Iterator<Item = &Arc<LoadedFilter>> {
    snapshot.filters.iter().chain(&snapshot.canaries)
}
