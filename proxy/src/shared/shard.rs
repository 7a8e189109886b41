//! A part of a store, for whoever holds its lock: what each operation does to
//! entries, versions and bytes.

use std::time::{Duration, Instant};

use super::error::SharedError;
use super::item::{Entry, Freed, Item, Key, Value};
use super::slots::Slots;

/// Each entry made or replaced looks at so many others, in turn, for those whose
/// time is over. So these go before they are the least recently used, and where
/// all live equally long they are hardly more than a third of what is alive.
const SWEPT_PER_PUT: usize = 4;

/// What an exporter shows of a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Also those whose time is over and that have not been found yet.
    pub entries: u64,
    /// As counted against the limit.
    pub bytes: u64,
    /// Entries that made room for others, alive.
    pub evictions: u64,
    /// Entries that left because their time was over.
    pub expirations: u64,
}

#[derive(Default)]
pub struct Shard {
    slots: Slots,
    /// The sum over all slots; at most `max_bytes` whenever the lock is free.
    bytes: usize,
    max_bytes: usize,
    /// The last one given. Of all keys together, so that none sees one again.
    version: u64,
    /// The next position to be looked at.
    sweep_at: usize,
    evictions: u64,
    expirations: u64,
}

impl Shard {
    pub fn new(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            ..Self::default()
        }
    }

    pub fn get(&mut self, key: Key<'_>, now: Instant) -> Option<Entry> {
        let at = self.find(key, now)?;
        self.slots.touch(at);
        let item = self.slots.item(at);
        Some(Entry {
            value: item.value.clone(),
            version: item.version,
        })
    }

    /// The same with what is left of its time to live, and not counted as a use of it.
    pub fn peek(&self, key: Key<'_>, now: Instant) -> Option<(Entry, Option<Duration>)> {
        let item = self.slots.item(self.find(key, now)?);
        let entry = Entry {
            value: item.value.clone(),
            version: item.version,
        };
        Some((entry, item.ttl(now)))
    }

    /// The version of what is there; 0 where nothing is.
    pub fn version_of(&self, key: Key<'_>, now: Instant) -> u64 {
        self.find(key, now)
            .map_or(0, |at| self.slots.item(at).version)
    }

    /// Adds to a counter that is there.
    pub fn add(
        &mut self,
        key: Key<'_>,
        delta: i64,
        now: Instant,
    ) -> Option<Result<i64, SharedError>> {
        let at = self.find(key, now)?;
        self.slots.touch(at);
        let item = self.slots.item_mut(at);
        let Value::Counter(count) = &mut item.value else {
            return Some(Err(SharedError::NotACounter));
        };
        *count = count.saturating_add(delta);
        self.version += 1;
        item.version = self.version;
        Some(Ok(*count))
    }

    /// Keeps an item, in the place of what its key had, and gives its version.
    pub fn put(&mut self, mut item: Item, now: Instant, freed: &mut Freed) -> u64 {
        self.sweep(SWEPT_PER_PUT, now, freed);
        self.version += 1;
        item.version = self.version;
        match self.slots.find(item.key()) {
            Some(at) => self.exchange(at, item, now, freed),
            None => self.keep(item),
        }
        self.make_room(now, freed);
        self.version
    }

    pub fn remove(&mut self, key: Key<'_>, now: Instant, freed: &mut Freed) {
        if let Some(at) = self.slots.find(key) {
            let item = self.take(at);
            self.expirations += u64::from(item.is_over(now));
            freed.push(item);
        }
    }

    pub fn limit(&mut self, max_bytes: usize, now: Instant, freed: &mut Freed) {
        self.max_bytes = max_bytes;
        if self.bytes > max_bytes {
            self.sweep_at = 0;
            self.sweep(self.slots.len(), now, freed);
            self.make_room(now, freed);
        }
    }

    /// Those that are there, in no order.
    pub fn items(&self, now: Instant) -> impl Iterator<Item = &Item> {
        self.slots.items().filter(move |item| !item.is_over(now))
    }

    /// Empties it: all items, each with how many were used after it.
    pub fn drain(&mut self) -> impl Iterator<Item = (usize, Item)> + use<> {
        self.bytes = 0;
        std::mem::take(&mut self.slots).into_ranked()
    }

    /// Keeps an item of another shard as the newest, with its version.
    pub fn keep(&mut self, item: Item) {
        self.bytes += item.bytes();
        self.slots.insert(item);
    }

    pub fn version(&self) -> u64 {
        self.version
    }

    /// Goes on as a part of another size, with versions beyond this one.
    pub fn go_on(&mut self, max_bytes: usize, version: u64) {
        debug_assert!(self.slots.len() == 0 && version >= self.version, "drained");
        self.max_bytes = max_bytes;
        self.version = version;
    }

    pub fn stats(&self) -> Stats {
        Stats {
            entries: self.slots.len() as u64,
            bytes: self.bytes as u64,
            evictions: self.evictions,
            expirations: self.expirations,
        }
    }

    /// What is over is not there, but is left to the sweep: most often its key is
    /// set again at once.
    fn find(&self, key: Key<'_>, now: Instant) -> Option<usize> {
        let at = self.slots.find(key)?;
        (!self.slots.item(at).is_over(now)).then_some(at)
    }

    fn exchange(&mut self, at: usize, item: Item, now: Instant, freed: &mut Freed) {
        self.slots.touch(at);
        self.bytes += item.bytes();
        let old = self.slots.exchange(at, item);
        self.bytes -= old.bytes();
        self.expirations += u64::from(old.is_over(now));
        freed.push(old);
    }

    fn sweep(&mut self, slots: usize, now: Instant, freed: &mut Freed) {
        for _ in 0..slots.min(self.slots.len()) {
            if self.sweep_at >= self.slots.len() {
                self.sweep_at = 0;
            }
            if self.slots.item(self.sweep_at).is_over(now) {
                // Another moves to this position, and is the next.
                freed.push(self.take(self.sweep_at));
                self.expirations += 1;
            } else {
                self.sweep_at += 1;
            }
        }
    }

    fn make_room(&mut self, now: Instant, freed: &mut Freed) {
        while self.bytes > self.max_bytes
            && let Some(oldest) = self.slots.oldest()
        {
            let item = self.take(oldest);
            if item.is_over(now) {
                self.expirations += 1;
            } else {
                self.evictions += 1;
            }
            freed.push(item);
        }
    }

    fn take(&mut self, at: usize) -> Item {
        let item = self.slots.take(at);
        self.bytes -= item.bytes();
        item
    }
}
