//! `shared`: what all instances of a filter share. While a configuration is made
//! there is nothing to read, and nothing can be written: it may yet be refused.

use std::time::{Duration, Instant};

use wasmtime::Result;

use super::HostState;
use crate::filter::bindings::granted::lockgate::filter::shared::{self, Entry, SharedError};
use crate::filter::granted::Shared;
use crate::filter::state::Phase;
use crate::shared as store;

/// Keys of which it is noted what a guest found, for one call.
const MAX_FOUND: usize = 64;

type Done<T> = Result<Result<T, SharedError>>;

/// The same of a store and of an overlay.
macro_rules! on {
    ($shared:expr, $operation:ident($($given:expr),*)) => {
        match $shared {
            Shared::Store(store) => store.$operation($($given),*),
            Shared::Overlay(overlay) => overlay.$operation($($given),*),
        }
    };
}

impl HostState {
    /// What the filter shares, once it is at work.
    fn shared(&self) -> Option<&Shared> {
        let is_at_work = self.call.phase != Phase::Outside;
        self.owner.granted.shared.as_ref().filter(|_| is_at_work)
    }

    /// Notes what the guest finds under a key, for a shadow that comes later.
    fn note_found(&mut self, key: &str) {
        let Some(view) = self.call.view.as_deref_mut() else {
            return;
        };
        let Some(found) = view.found.as_mut().filter(|found| found.len() < MAX_FOUND) else {
            return;
        };
        if let Some(Shared::Store(store)) = &self.owner.granted.shared
            // No entry has a longer one.
            && key.len() <= self.owner.limits.max_shared_entry_bytes
            && !found.contains_key(key)
        {
            found.insert(key.to_owned(), store.peek(key, Instant::now()));
        }
    }

    fn change<T>(
        &mut self,
        key: &str,
        change: impl FnOnce(&Shared, Instant) -> Result<T, store::SharedError>,
    ) -> Done<T> {
        self.note_found(key);
        Ok(match self.shared() {
            Some(store) => change(store, Instant::now()).map_err(SharedError::from),
            None => Err(SharedError::Other(
                "nothing is shared while a configuration is made".into(),
            )),
        })
    }
}

impl shared::Host for HostState {
    fn get(&mut self, key: String) -> Result<Option<Entry>> {
        self.note_found(&key);
        // No entry has such a key, and it need not be read to the end.
        let store = self
            .shared()
            .filter(|_| key.len() <= self.owner.limits.max_shared_entry_bytes);
        let found = store.and_then(|store| on!(store, get(&key, Instant::now())));
        Ok(found.map(|entry| Entry {
            value: entry.value.to_vec(),
            version: entry.version,
        }))
    }

    fn set(&mut self, key: String, value: Vec<u8>, ttl: Option<u64>) -> Done<()> {
        self.change(&key, |store, now| {
            on!(store, set(&key, &value, ttl.map(Duration::from_nanos), now))
        })
    }

    fn replace(
        &mut self,
        key: String,
        version: u64,
        value: Vec<u8>,
        ttl: Option<u64>,
    ) -> Done<u64> {
        let ttl = ttl.map(Duration::from_nanos);
        self.change(&key, |store, now| {
            on!(store, replace(&key, version, &value, ttl, now))
        })
    }

    fn remove(&mut self, key: String) -> Result<()> {
        self.note_found(&key);
        if let Some(store) = self.shared() {
            on!(store, remove(&key, Instant::now()));
        }
        Ok(())
    }

    fn add(&mut self, key: String, delta: i64, ttl: Option<u64>) -> Done<i64> {
        self.change(&key, |store, now| {
            on!(store, add(&key, delta, ttl.map(Duration::from_nanos), now))
        })
    }
}

impl From<store::SharedError> for SharedError {
    fn from(error: store::SharedError) -> Self {
        match error {
            store::SharedError::Conflict => SharedError::Conflict,
            store::SharedError::TooLarge => SharedError::TooLarge,
            store::SharedError::NotACounter => SharedError::NotACounter,
        }
    }
}
