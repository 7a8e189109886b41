//! `shared`: what all instances of a filter share. While a configuration is made
//! there is nothing to read, and nothing can be written: it may yet be refused.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmtime::Result;

use super::HostState;
use crate::filter::bindings::granted::lockgate::filter::shared::{self, Entry, SharedError};
use crate::filter::state::Phase;
use crate::shared::{self as store, Store};

type Done<T> = Result<Result<T, SharedError>>;

impl HostState {
    /// The store of the filter, once it is at work.
    fn shared(&self) -> Option<&Arc<Store>> {
        let is_at_work = self.call.phase != Phase::Outside;
        self.owner.granted.shared.as_ref().filter(|_| is_at_work)
    }

    fn change<T>(
        &self,
        change: impl FnOnce(&Store, Instant) -> Result<T, store::SharedError>,
    ) -> Done<T> {
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
        // No entry has such a key, and it need not be read to the end.
        let store = self
            .shared()
            .filter(|_| key.len() <= self.owner.limits.max_shared_entry_bytes);
        let found = store.and_then(|store| store.get(&key, Instant::now()));
        Ok(found.map(|entry| Entry {
            value: entry.value.to_vec(),
            version: entry.version,
        }))
    }

    fn set(&mut self, key: String, value: Vec<u8>, ttl: Option<u64>) -> Done<()> {
        self.change(|store, now| store.set(&key, &value, ttl.map(Duration::from_nanos), now))
    }

    fn replace(
        &mut self,
        key: String,
        version: u64,
        value: Vec<u8>,
        ttl: Option<u64>,
    ) -> Done<u64> {
        let ttl = ttl.map(Duration::from_nanos);
        self.change(|store, now| store.replace(&key, version, &value, ttl, now))
    }

    fn remove(&mut self, key: String) -> Result<()> {
        if let Some(store) = self.shared() {
            store.remove(&key, Instant::now());
        }
        Ok(())
    }

    fn add(&mut self, key: String, delta: i64, ttl: Option<u64>) -> Done<i64> {
        self.change(|store, now| store.add(&key, delta, ttl.map(Duration::from_nanos), now))
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
