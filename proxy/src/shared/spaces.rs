//! The stores of all filters, by name and by the form that entries are kept in,
//! across reloads. For the control side.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::limits::Limits;
use super::shard::Stats;
use super::store::Store;

/// The stores of each filter's name.
#[derive(Default)]
pub struct Spaces(Mutex<BTreeMap<Arc<str>, Space>>);

/// The stores of one name.
#[derive(Default)]
struct Space {
    /// By format.
    stores: BTreeMap<u32, Arc<Store>>,
    /// The format of the version that serves.
    current: u32,
}

impl Spaces {
    /// The store of this name and format with what it holds. `None` where there is
    /// none, or none any more.
    pub fn find(&self, name: &str, format: u32) -> Option<Arc<Store>> {
        self.locked().get(name)?.stores.get(&format).cloned()
    }

    /// This store is the one of its name from now on, within these limits. Stores
    /// of other formats stay for as long as a version has them.
    pub fn serve(
        &self,
        name: &Arc<str>,
        format: u32,
        store: &Arc<Store>,
        limits: Limits,
        now: Instant,
    ) {
        store.limit(limits, now);
        let mut spaces = self.locked();
        let space = spaces.entry(name.clone()).or_default();
        space.stores.insert(format, store.clone());
        space.current = format;
    }

    /// Forgets the others. Who still has one keeps it to itself: the next of this
    /// name begins with an empty store.
    pub fn retain(&self, configured: impl Fn(&str) -> bool) {
        let mut spaces = self.locked();
        spaces.retain(|name, _| configured(name));
        for space in spaces.values_mut() {
            let current = space.current;
            let is_had = |store: &Arc<Store>| Arc::strong_count(store) > 1;
            space
                .stores
                .retain(|format, store| *format == current || is_had(store));
        }
    }

    /// Of the stores that serve.
    pub fn stats(&self) -> Vec<(Arc<str>, Stats)> {
        let spaces = self.locked();
        let serving = spaces.iter().filter_map(|(name, space)| {
            let store = space.stores.get(&space.current)?;
            Some((name.clone(), store.stats()))
        });
        serving.collect()
    }

    /// A panic while the lock was held leaves a map that is still whole.
    fn locked(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Space>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What guests keep is nobody else's business.
impl fmt::Debug for Spaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.locked().keys()).finish()
    }
}
