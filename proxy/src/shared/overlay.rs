//! A store as one sees it who comes later, and may change nothing in it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::error::SharedError;
use super::item::{Entry, Value};
use super::limits::Limits;
use super::store::Store;

/// Versions of what was written here, apart from those of the store below.
const OWN: u64 = 1 << 63;

/// An entry with what is left of its time to live, or that there is none.
pub type Found = Option<(Entry, Option<Duration>)>;

/// Reads what is in the store below until the first write to a key, which goes to a
/// store of its own, as do all later reads and writes of that key.
///
/// What comes later than others that write to the store below is told what they found
/// there.
///
/// For one thread: a change is made of several steps.
pub struct Overlay {
    below: Arc<Store>,
    /// What others found who came first.
    found: Mutex<BTreeMap<String, Found>>,
    /// Values under `+KEY`; `-KEY` says that the store below is not asked for it.
    own: Store,
}

impl Overlay {
    /// What is written here is kept within the same limits as what is below.
    pub fn new(below: Arc<Store>, limits: Limits) -> Self {
        let own = Store::new(Limits {
            max_entry_bytes: limits.max_entry_bytes + 1,
            ..limits
        });
        Self {
            below,
            found: Mutex::default(),
            own,
        }
    }

    /// Until this is called again, these keys are below as they were found then.
    pub fn found(&self, found: BTreeMap<String, Found>) {
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = found;
    }

    pub fn get(&self, key: &str, now: Instant) -> Option<Entry> {
        if let Some(entry) = self.own.get(&value_of(key), now) {
            return Some(Entry {
                version: entry.version | OWN,
                ..entry
            });
        }
        self.below(key, now).map(|(entry, _)| entry)
    }

    pub fn set(
        &self,
        key: &str,
        value: &[u8],
        ttl: Option<Duration>,
        now: Instant,
    ) -> Result<(), SharedError> {
        self.own.set(&value_of(key), value, ttl, now)?;
        self.leave(key, now)
    }

    pub fn replace(
        &self,
        key: &str,
        version: u64,
        value: &[u8],
        ttl: Option<Duration>,
        now: Instant,
    ) -> Result<u64, SharedError> {
        let found = self.get(key, now).map_or(0, |entry| entry.version);
        if found != version {
            return Err(SharedError::Conflict);
        }
        self.set(key, value, ttl, now)?;
        let written = self.own.get(&value_of(key), now);
        Ok(written.map_or(0, |entry| entry.version | OWN))
    }

    pub fn remove(&self, key: &str, now: Instant) {
        self.own.remove(&value_of(key), now);
        // No larger than what could be written.
        self.leave(key, now).ok();
    }

    pub fn add(
        &self,
        key: &str,
        delta: i64,
        ttl: Option<Duration>,
        now: Instant,
    ) -> Result<i64, SharedError> {
        let own = value_of(key);
        if self.own.get(&own, now).is_none() {
            match self.below(key, now) {
                Some((entry, ttl)) => match entry.value {
                    Value::Counter(count) => self.own.add(&own, count, ttl, now)?,
                    Value::Bytes(_) => return Err(SharedError::NotACounter),
                },
                None => 0,
            };
            self.leave(key, now)?;
        }
        self.own.add(&own, delta, ttl, now)
    }

    fn below(&self, key: &str, now: Instant) -> Found {
        if self.own.get(&left(key), now).is_some() {
            return None;
        }
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        match found.get(key) {
            Some(found) => found.clone(),
            None => self.below.peek(key, now),
        }
    }

    /// The store below is not asked for this key any more.
    fn leave(&self, key: &str, now: Instant) -> Result<(), SharedError> {
        self.own.set(&left(key), &[], None, now)
    }
}

fn value_of(key: &str) -> String {
    format!("+{key}")
}

fn left(key: &str) -> String {
    format!("-{key}")
}
