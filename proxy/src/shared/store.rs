//! The store of one filter: which shard has a key, and what is prepared before
//! its lock is taken.

use std::cmp::Reverse;
use std::hash::{BuildHasher, RandomState};
use std::iter::repeat_with;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::error::SharedError;
use super::item::{COUNTER_BYTES, Copied, Entry, Freed, Item, Key, Value};
use super::limits::{Limits, MAX_SHARDS};
use super::shard::{Shard, Stats};

/// What the instances of one filter share, on all workers.
///
/// An entry whose `ttl` is over is not there. A version changes with every
/// change and is never that of an earlier entry of the same key, so what was
/// removed and made again is a conflict.
pub struct Store {
    /// Keys may be chosen by clients, so the hash has a key of its own that they
    /// cannot learn. SipHash, which is that of `std`, is made for this; faster
    /// ones promise less.
    hasher: RandomState,
    shards: Box<[Padded<Mutex<Shard>>]>,
    /// The first so many have entries: a power of two. Changes only while all
    /// shards are locked.
    in_use: AtomicUsize,
    /// Bytes of key and value.
    largest_entry: AtomicUsize,
    /// Locked while they change.
    limits: Mutex<Limits>,
}

/// Two lines of 64 bytes: processors fetch them in pairs.
#[repr(align(128))]
struct Padded<T>(T);

impl Store {
    pub fn new(limits: Limits) -> Self {
        let shards = limits.shards();
        let shard = || Padded(Mutex::new(Shard::new(limits.share(shards))));
        Self {
            hasher: RandomState::new(),
            shards: repeat_with(shard).take(MAX_SHARDS).collect(),
            in_use: AtomicUsize::new(shards),
            largest_entry: AtomicUsize::new(limits.largest_entry(shards)),
            limits: Mutex::new(limits),
        }
    }

    pub fn get(&self, key: &str, now: Instant) -> Option<Entry> {
        let key = self.key(key);
        self.shard(key.hash).get(key, now)
    }

    /// The same with what is left of its time to live. Who only looks does not keep
    /// an entry from being evicted.
    pub fn peek(&self, key: &str, now: Instant) -> Option<(Entry, Option<Duration>)> {
        let key = self.key(key);
        self.shard(key.hash).peek(key, now)
    }

    pub fn set(
        &self,
        key: &str,
        value: &[u8],
        ttl: Option<Duration>,
        now: Instant,
    ) -> Result<(), SharedError> {
        let item = self.bytes(key, value, ttl, now)?;
        let mut freed = Freed::new();
        self.shard(item.hash).put(item, now, &mut freed);
        Ok(())
    }

    /// Sets it if the entry is still at `version` (0: still absent), and gives
    /// its new version. A counter that is replaced is one no more.
    pub fn replace(
        &self,
        key: &str,
        version: u64,
        value: &[u8],
        ttl: Option<Duration>,
        now: Instant,
    ) -> Result<u64, SharedError> {
        let item = self.bytes(key, value, ttl, now)?;
        let mut freed = Freed::new();
        let mut shard = self.shard(item.hash);
        if shard.version_of(item.key(), now) != version {
            return Err(SharedError::Conflict);
        }
        Ok(shard.put(item, now, &mut freed))
    }

    pub fn remove(&self, key: &str, now: Instant) {
        let key = self.key(key);
        let mut freed = Freed::new();
        self.shard(key.hash).remove(key, now, &mut freed);
    }

    /// Adds to a counter and gives its new value, which stays at the ends of
    /// what an `i64` can say. `ttl` is for a counter made by this call: the
    /// time of one that is there goes on.
    pub fn add(
        &self,
        key: &str,
        delta: i64,
        ttl: Option<Duration>,
        now: Instant,
    ) -> Result<i64, SharedError> {
        self.check_size(key, COUNTER_BYTES)?;
        let key = self.key(key);
        if let Some(sum) = self.shard(key.hash).add(key, delta, now) {
            return sum;
        }
        let item = Item::new(key, Value::Counter(delta), ttl, now);
        let mut freed = Freed::new();
        let mut shard = self.shard(key.hash);
        // Another thread may have made it while the lock was free.
        if let Some(sum) = shard.add(key, delta, now) {
            return sum;
        }
        shard.put(item, now, &mut freed);
        Ok(delta)
    }

    /// Lets the store go on within other limits, and evicts what is too much. An
    /// entry that is larger than new ones may be stays while its shard has room.
    ///
    /// Where the number of shards has to change, every call waits until all
    /// entries have moved: about a millisecond for a thousand of them.
    pub fn limit(&self, limits: Limits, now: Instant) {
        let mut current = locked(&self.limits);
        if *current == limits {
            return;
        }
        *current = limits;
        let in_use = self.in_use.load(Relaxed);
        let shards = limits.shards_after(in_use);
        if shards != in_use {
            self.spread(limits, shards);
        }
        let largest_entry = limits.largest_entry(shards);
        self.largest_entry.store(largest_entry, Relaxed);
        let mut freed = Freed::new();
        for shard in &self.shards[..shards] {
            locked(&shard.0).limit(limits.share(shards), now, &mut freed);
            freed.clear();
        }
    }

    /// Everything that is there, one shard after another: what changes meanwhile is
    /// told as it was before or after.
    pub fn copies(&self, now: Instant) -> Vec<Copied> {
        let shards = self.shards.iter();
        let copies = shards.flat_map(|shard| -> Vec<_> {
            let shard = locked(&shard.0);
            shard.items(now).map(|item| item.copy(now)).collect()
        });
        copies.collect()
    }

    /// Keeps what came from another store, under its limits as any other entry.
    pub fn take(&self, copied: &Copied, now: Instant) -> Result<(), SharedError> {
        match &copied.value {
            Value::Bytes(bytes) => self.set(&copied.key, bytes, copied.ttl, now),
            Value::Counter(count) => {
                self.add(&copied.key, *count, copied.ttl, now)?;
                Ok(())
            }
        }
    }

    /// Of one shard after another, so they need not fit together while others
    /// change the store.
    pub fn stats(&self) -> Stats {
        let mut sum = Stats::default();
        // Also of shards no longer in use, for what they evicted.
        for shard in &self.shards {
            let stats = locked(&shard.0).stats();
            sum.entries += stats.entries;
            sum.bytes += stats.bytes;
            sum.evictions += stats.evictions;
            sum.expirations += stats.expirations;
        }
        sum
    }

    fn key<'a>(&self, text: &'a str) -> Key<'a> {
        let hash = self.hasher.hash_one(text);
        Key { hash, text }
    }

    fn bytes(
        &self,
        key: &str,
        value: &[u8],
        ttl: Option<Duration>,
        now: Instant,
    ) -> Result<Item, SharedError> {
        self.check_size(key, value.len())?;
        let value = Value::Bytes(value.into());
        Ok(Item::new(self.key(key), value, ttl, now))
    }

    fn check_size(&self, key: &str, value_bytes: usize) -> Result<(), SharedError> {
        if key.len().saturating_add(value_bytes) > self.largest_entry.load(Relaxed) {
            return Err(SharedError::TooLarge);
        }
        Ok(())
    }

    fn shard(&self, hash: u64) -> MutexGuard<'_, Shard> {
        loop {
            let in_use = self.in_use.load(Relaxed);
            let shard = locked(&self.shards[position(hash, in_use)].0);
            // While this lock is held the number cannot change any more.
            if self.in_use.load(Relaxed) == in_use {
                return shard;
            }
        }
    }

    /// Moves every entry to where it belongs among another number of shards.
    /// Keys are spread evenly, so entries of equal rank in their shards were used
    /// at about the same time.
    fn spread(&self, limits: Limits, in_use: usize) {
        let mut shards: Vec<_> = self.shards.iter().map(|shard| locked(&shard.0)).collect();
        let mut ranked: Vec<_> = shards.iter_mut().flat_map(|shard| shard.drain()).collect();
        ranked.sort_unstable_by_key(|(rank, _)| Reverse(*rank));
        let versions = shards.iter().map(|shard| shard.version());
        let version = versions.max().unwrap_or(0);
        for shard in &mut shards {
            shard.go_on(limits.share(in_use), version);
        }
        for (_, item) in ranked {
            shards[position(item.hash, in_use)].keep(item);
        }
        self.in_use.store(in_use, Relaxed);
    }
}

/// Bits that the table within a shard does not look at first.
fn position(hash: u64, shards: usize) -> usize {
    (hash >> 32) as usize & (shards - 1)
}

/// A panic while the lock was held would be a bug of ours, and no reason to fail
/// every later call too.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
