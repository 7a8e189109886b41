//! The interface `shared`. It never evicts, and time is the wall clock's.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Simulated, with};
use crate::shared::{Entry, SharedError};

/// What one filter shares, and what a test makes of it.
pub(crate) struct Store {
    entries: BTreeMap<String, Item>,
    /// The last one given. Of all keys together, so that none sees one again.
    version: u64,
    /// Bytes of key and value.
    pub(crate) largest_entry: usize,
    /// Called before each `replace`.
    pub(crate) rival: Option<Rival>,
}

pub(crate) type Rival = Box<dyn FnMut(&str)>;

struct Item {
    value: Value,
    version: u64,
    /// By the wall clock; `None`: never.
    expiry: Option<Duration>,
}

enum Value {
    Bytes(Vec<u8>),
    Counter(i64),
}

impl Default for Store {
    fn default() -> Self {
        Store {
            entries: BTreeMap::new(),
            version: 0,
            largest_entry: 64 * 1024,
            rival: None,
        }
    }
}

pub(crate) fn get(key: &str) -> Option<Entry> {
    with(|simulated| {
        let item = simulated.shared.find(key, simulated.now)?;
        let value = match &item.value {
            Value::Bytes(bytes) => bytes.clone(),
            Value::Counter(count) => count.to_le_bytes().to_vec(),
        };
        let version = item.version;
        Some(Entry { value, version })
    })
}

pub(crate) fn set(key: &str, value: &[u8], ttl: Option<Duration>) -> Result<(), SharedError> {
    with(|simulated| put(simulated, key, value, ttl)).map(drop)
}

pub(crate) fn replace(
    key: &str,
    version: u64,
    value: &[u8],
    ttl: Option<Duration>,
) -> Result<u64, SharedError> {
    meet_rival(key);
    with(|simulated| {
        let item = simulated.shared.find(key, simulated.now);
        if item.map_or(0, |item| item.version) != version {
            return Err(SharedError::Conflict);
        }
        put(simulated, key, value, ttl)
    })
}

pub(crate) fn remove(key: &str) {
    with(|simulated| simulated.shared.entries.remove(key));
}

pub(crate) fn add(key: &str, delta: i64, ttl: Option<Duration>) -> Result<i64, SharedError> {
    with(|simulated| {
        let now = simulated.now;
        let store = &mut simulated.shared;
        let (count, expiry) = match store.find(key, now) {
            None => (0, ttl.map(|ttl| now.saturating_add(ttl))),
            Some(item) => match item.value {
                Value::Counter(count) => (count, item.expiry),
                Value::Bytes(_) => return Err(SharedError::NotACounter),
            },
        };
        let count = count.saturating_add(delta);
        store.keep(key, Value::Counter(count), size_of::<i64>(), expiry)?;
        Ok(count)
    })
}

/// It may use the store itself, and is not met by what it does.
fn meet_rival(key: &str) {
    if let Some(mut rival) = with(|simulated| simulated.shared.rival.take()) {
        rival(key);
        with(|simulated| simulated.shared.rival = Some(rival));
    }
}

fn put(
    simulated: &mut Simulated,
    key: &str,
    value: &[u8],
    ttl: Option<Duration>,
) -> Result<u64, SharedError> {
    let expiry = ttl.map(|ttl| simulated.now.saturating_add(ttl));
    let bytes = Value::Bytes(value.to_vec());
    simulated.shared.keep(key, bytes, value.len(), expiry)
}

impl Store {
    fn find(&self, key: &str, now: Duration) -> Option<&Item> {
        let item = self.entries.get(key)?;
        item.expiry
            .is_none_or(|expiry| now < expiry)
            .then_some(item)
    }

    fn keep(
        &mut self,
        key: &str,
        value: Value,
        bytes: usize,
        expiry: Option<Duration>,
    ) -> Result<u64, SharedError> {
        if key.len() + bytes > self.largest_entry {
            return Err(SharedError::TooLarge);
        }
        self.version += 1;
        let version = self.version;
        let item = Item {
            value,
            version,
            expiry,
        };
        self.entries.insert(key.to_owned(), item);
        Ok(version)
    }
}
