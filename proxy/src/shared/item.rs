//! One entry: as a guest sees it, and as it is kept.

use std::sync::Arc;
use std::time::{Duration, Instant};

use smallvec::SmallVec;

/// What an entry costs beside its key and its value, in bytes: its slot (80), its
/// part of a hash table that has just doubled (20), two reference counts (16),
/// and what the allocator rounds up or cannot use. Measured with full stores.
pub const OVERHEAD_BYTES: usize = 176;

/// What a counter counts as, and reads as.
pub const COUNTER_BYTES: usize = size_of::<i64>();

/// What an entry holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Made by `set` or `replace`. A slice of its own size: a `Bytes` could keep
    /// a much larger buffer alive, which no limit would see.
    Bytes(Arc<[u8]>),
    /// Made by `add`.
    Counter(i64),
}

impl Value {
    /// As `get` of the contract gives it: a counter is its eight bytes, the lowest
    /// first.
    pub fn to_vec(&self) -> Vec<u8> {
        match self {
            Self::Bytes(bytes) => bytes.to_vec(),
            Self::Counter(count) => count.to_le_bytes().to_vec(),
        }
    }

    pub fn bytes(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Counter(_) => COUNTER_BYTES,
        }
    }
}

/// What `get` finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub value: Value,
    /// Never 0, and never again the version of anything under the same key.
    pub version: u64,
}

/// An entry as it is brought from one store to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    pub key: Box<str>,
    pub value: Value,
    /// What is left of its time to live.
    pub ttl: Option<Duration>,
}

/// A key to look for, with its hash.
#[derive(Clone, Copy)]
pub struct Key<'a> {
    pub hash: u64,
    pub text: &'a str,
}

/// An entry as it is kept, or about to be.
pub struct Item {
    pub hash: u64,
    text: Box<str>,
    pub value: Value,
    /// When its time to live is over; `None`: never.
    expiry: Option<Instant>,
    pub version: u64,
}

/// What left a shard while it was locked, to be freed when it is not.
pub type Freed = SmallVec<[Item; 4]>;

impl Item {
    /// Not yet in a shard, which gives it its version.
    pub fn new(key: Key<'_>, value: Value, ttl: Option<Duration>, now: Instant) -> Self {
        Self {
            hash: key.hash,
            text: key.text.into(),
            value,
            // Beyond what an `Instant` can say is as good as never.
            expiry: ttl.and_then(|ttl| now.checked_add(ttl)),
            version: 0,
        }
    }

    pub fn key(&self) -> Key<'_> {
        Key {
            hash: self.hash,
            text: &self.text,
        }
    }

    pub fn is_at(&self, key: Key<'_>) -> bool {
        self.hash == key.hash && *self.text == *key.text
    }

    /// How it is told to another store.
    pub fn copy(&self, now: Instant) -> Copied {
        Copied {
            key: self.text.clone(),
            value: self.value.clone(),
            ttl: self.ttl(now),
        }
    }

    /// What is left of its time to live.
    pub fn ttl(&self, now: Instant) -> Option<Duration> {
        self.expiry.map(|expiry| expiry.duration_since(now))
    }

    pub fn is_over(&self, now: Instant) -> bool {
        self.expiry.is_some_and(|expiry| expiry <= now)
    }

    /// What it counts against the limit of the store. Does not change while the
    /// item is kept: a counter stays one.
    pub fn bytes(&self) -> usize {
        self.text.len() + self.value.bytes() + OVERHEAD_BYTES
    }
}
