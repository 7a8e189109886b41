//! The interface `shared`. It never evicts, and time is the wall clock's.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Simulated, with};
use crate::shared::{Entry, SharedError};
use crate::{Error, Stored};

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

#[derive(Clone)]
struct Item {
    value: Stored,
    version: u64,
    /// By the wall clock; `None`: never.
    expiry: Option<Duration>,
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
            Stored::Bytes(bytes) => bytes.clone(),
            Stored::Counter(count) => count.to_le_bytes().to_vec(),
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
                Stored::Counter(count) => (count, item.expiry),
                Stored::Bytes(_) => return Err(SharedError::NotACounter),
            },
        };
        let count = count.saturating_add(delta);
        store.keep(key, Stored::Counter(count), expiry)?;
        Ok(count)
    })
}

/// Bring every entry into another form, with nothing shared meanwhile. After an
/// error all is as it was.
pub(crate) fn hand_over(
    mut migrate: impl FnMut(&str, Stored) -> Result<Option<Stored>, Error>,
) -> Result<(), Error> {
    let (before, now) = with(|simulated| {
        let entries = std::mem::take(&mut simulated.shared.entries);
        (entries, simulated.now)
    });
    let is_there = |(_, item): &(&String, &Item)| item.is_there(now);
    let migrated = before.iter().filter(is_there).map(|(key, item)| {
        let value = migrate(key, item.value.clone())?;
        Ok(value.map(|value| (key, value, item.expiry)))
    });
    let migrated: Result<Vec<_>, Error> = migrated.filter_map(Result::transpose).collect();
    with(|simulated| {
        let store = &mut simulated.shared;
        store.entries.clear();
        let kept = migrated.and_then(|migrated| {
            for (key, value, expiry) in migrated {
                store.keep(key, value, expiry)?;
            }
            Ok(())
        });
        if kept.is_err() {
            store.entries.clone_from(&before);
        }
        kept
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
    let bytes = Stored::Bytes(value.to_vec());
    simulated.shared.keep(key, bytes, expiry)
}

impl Item {
    fn is_there(&self, now: Duration) -> bool {
        self.expiry.is_none_or(|expiry| now < expiry)
    }
}

impl Store {
    fn find(&self, key: &str, now: Duration) -> Option<&Item> {
        self.entries.get(key).filter(|item| item.is_there(now))
    }

    fn keep(
        &mut self,
        key: &str,
        value: Stored,
        expiry: Option<Duration>,
    ) -> Result<u64, SharedError> {
        let bytes = match &value {
            Stored::Bytes(bytes) => bytes.len(),
            Stored::Counter(count) => size_of_val(count),
        };
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
