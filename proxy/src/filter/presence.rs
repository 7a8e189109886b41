//! An instance in the figures of the worker that has it, with its memory.

use std::sync::Arc;

use crate::stats::{FilterStats, PerWorker};

/// Counted from the worker's first hold of the instance until this is dropped,
/// which is on that worker: only it may write its figures.
pub struct Presence {
    stats: Arc<PerWorker<FilterStats>>,
    worker: usize,
    memory_bytes: usize,
}

impl Presence {
    pub fn new(stats: Arc<PerWorker<FilterStats>>, worker: usize, memory_bytes: usize) -> Self {
        let own = stats.of(worker);
        own.instances.add(1);
        own.memory_bytes.add(gauged(memory_bytes));
        Self {
            stats,
            worker,
            memory_bytes,
        }
    }

    /// Its memory may have grown.
    pub fn update(&mut self, memory_bytes: usize) {
        if memory_bytes != self.memory_bytes {
            let more = gauged(memory_bytes) - gauged(self.memory_bytes);
            self.stats.of(self.worker).memory_bytes.add(more);
            self.memory_bytes = memory_bytes;
        }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        let own = self.stats.of(self.worker);
        own.instances.sub(1);
        own.memory_bytes.sub(gauged(self.memory_bytes));
    }
}

fn gauged(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
