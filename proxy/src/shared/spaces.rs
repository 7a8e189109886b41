//! The stores of all filters, by name, across reloads. For the control side.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::limits::Limits;
use super::shard::Stats;
use super::store::Store;

/// One store for each name of a filter.
#[derive(Default)]
pub struct Spaces(Mutex<BTreeMap<Arc<str>, Arc<Store>>>);

impl Spaces {
    /// The store of this name, with what it holds; made where there is none. Its
    /// limits are these from now on, so while a configuration may still be
    /// refused, [`Spaces::find`] comes first.
    pub fn open(&self, name: &str, limits: Limits, now: Instant) -> Arc<Store> {
        let mut stores = self.locked();
        if let Some(store) = stores.get(name) {
            store.limit(limits, now);
            return store.clone();
        }
        let store = Arc::new(Store::new(limits));
        stores.insert(name.into(), store.clone());
        store
    }

    pub fn find(&self, name: &str) -> Option<Arc<Store>> {
        self.locked().get(name).cloned()
    }

    /// Forgets the others. Who still has one keeps it to itself: the next to open
    /// this name begins with an empty store.
    pub fn retain(&self, configured: impl Fn(&str) -> bool) {
        self.locked().retain(|name, _| configured(name));
    }

    pub fn stats(&self) -> Vec<(Arc<str>, Stats)> {
        let stores = self.locked();
        stores
            .iter()
            .map(|(name, store)| (name.clone(), store.stats()))
            .collect()
    }

    /// A panic while the lock was held leaves a map that is still whole.
    fn locked(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Arc<Store>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What guests keep is nobody else's business.
impl fmt::Debug for Spaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.locked().keys()).finish()
    }
}
