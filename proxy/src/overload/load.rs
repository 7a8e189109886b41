//! What all workers see of each other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering::Relaxed};

use super::Level;
use crate::stats::{CachePadded, PerWorker, WorkerDelay};

/// One for the process.
#[derive(Debug)]
pub struct Load {
    /// Connections of clients that are open. Written with each of them, while each request
    /// reads the level.
    pub connections: CachePadded<AtomicUsize>,
    /// What memory and descriptors ask for.
    level: AtomicU8,
    is_exhausted: AtomicBool,
    /// Each written by its worker.
    pub delays: Arc<PerWorker<WorkerDelay>>,
}

impl Load {
    pub fn new(delays: Arc<PerWorker<WorkerDelay>>) -> Self {
        Self {
            connections: CachePadded(AtomicUsize::new(0)),
            level: AtomicU8::new(0),
            is_exhausted: AtomicBool::new(false),
            delays,
        }
    }

    pub fn level(&self) -> Level {
        Level::of(self.level.load(Relaxed))
    }

    pub(super) fn set_level(&self, level: Level) {
        self.level.store(level as u8, Relaxed);
    }

    /// There was no descriptor left to accept a connection with: those that come free are
    /// for what is under way.
    pub fn exhaust(&self) {
        self.is_exhausted.store(true, Relaxed);
    }

    /// Whether that was so since this was asked last.
    pub(super) fn take_exhaustion(&self) -> bool {
        self.is_exhausted.swap(false, Relaxed)
    }
}
