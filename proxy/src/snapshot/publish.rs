//! Where workers find the current snapshot.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::Snapshot;

/// The current snapshot. Only the control thread stores; a store is seen by
/// every exchange that begins after it.
pub struct Published {
    current: Arc<ArcSwap<Snapshot>>,
    /// Wakes idle workers, so that they let go of what is no longer current
    /// and open and close listeners.
    generation: watch::Sender<u64>,
}

/// What a worker looks at as an exchange begins: one atomic load.
pub type Cache = arc_swap::Cache<Arc<ArcSwap<Snapshot>>, Arc<Snapshot>>;

impl Published {
    pub fn new(first: Arc<Snapshot>) -> Self {
        let (generation, _) = watch::channel(first.generation);
        Self {
            current: Arc::new(ArcSwap::new(first)),
            generation,
        }
    }

    pub fn publish(&self, next: Arc<Snapshot>) {
        let generation = next.generation;
        self.current.store(next);
        self.generation.send_replace(generation);
    }

    pub fn load(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    pub fn cache(&self) -> Cache {
        arc_swap::Cache::new(self.current.clone())
    }

    /// Changes with each publish.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }
}
