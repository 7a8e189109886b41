//! Items by key, and in the order of their use.
//!
//! Slots without gaps, whose links are positions, and a table from hashes to
//! positions: an entry needs no allocation beside its own, the memory of those
//! that left is given back, and every entry can be visited in turn.

use hashbrown::HashTable;

use super::item::{Item, Key};

/// Slots are allocated so many at a time. One vector for all would have to be
/// copied to grow, under the lock, and what it outgrew stays with the allocator.
const CHUNK: usize = 32;

#[derive(Default)]
pub struct Slots {
    /// The position of each key's slot.
    table: HashTable<usize>,
    /// All full but the last, and none empty.
    chunks: Vec<Vec<Slot>>,
    len: usize,
    newest: Option<usize>,
}

/// The links form a circle: what is newer than the newest is the oldest.
struct Slot {
    item: Item,
    newer: usize,
    older: usize,
}

impl Slots {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn find(&self, key: Key<'_>) -> Option<usize> {
        let at_key = |at: &usize| self.item(*at).is_at(key);
        self.table.find(key.hash, at_key).copied()
    }

    pub fn item(&self, at: usize) -> &Item {
        &self.slot(at).item
    }

    pub fn item_mut(&mut self, at: usize) -> &mut Item {
        &mut self.slot_mut(at).item
    }

    /// In no order.
    pub fn items(&self) -> impl Iterator<Item = &Item> {
        self.chunks.iter().flatten().map(|slot| &slot.item)
    }

    pub fn oldest(&self) -> Option<usize> {
        self.newest.map(|newest| self.slot(newest).newer)
    }

    /// Makes it the newest. Positions stay as they are.
    pub fn touch(&mut self, at: usize) {
        if self.newest != Some(at) {
            self.unlink(at);
            self.link(at);
        }
    }

    /// Adds an item whose key is not there, as the newest.
    pub fn insert(&mut self, item: Item) {
        debug_assert!(self.find(item.key()).is_none(), "one slot for a key");
        let (at, hash) = (self.len, item.hash);
        self.push(Slot {
            item,
            newer: at,
            older: at,
        });
        let chunks = &self.chunks;
        self.table
            .insert_unique(hash, at, |at| hash_at(chunks, *at));
        self.link(at);
    }

    /// Puts another item of the same key in its place.
    pub fn exchange(&mut self, at: usize, item: Item) -> Item {
        debug_assert!(self.item(at).is_at(item.key()), "of the same key");
        std::mem::replace(self.item_mut(at), item)
    }

    /// Takes an item out. The last one moves to its position.
    pub fn take(&mut self, at: usize) -> Item {
        self.unlink(at);
        let hash = self.item(at).hash;
        if let Ok(found) = self.table.find_entry(hash, |other| *other == at) {
            found.remove();
        }
        let last = self.len - 1;
        if last != at {
            self.renumber(last, at);
        }
        let item = self.swap_remove(at).item;
        self.give_back();
        item
    }

    /// All of them, in no order, each with how many were used after it.
    pub fn into_ranked(self) -> impl Iterator<Item = (usize, Item)> {
        let mut ranks = vec![0; self.len];
        let mut at = self.newest.unwrap_or(0);
        for rank in 0..self.len {
            ranks[at] = rank;
            at = self.slot(at).older;
        }
        let items = self.chunks.into_iter().flatten().map(|slot| slot.item);
        ranks.into_iter().zip(items)
    }

    fn link(&mut self, at: usize) {
        if let Some(newest) = self.newest {
            let oldest = self.slot(newest).newer;
            self.slot_mut(at).older = newest;
            self.slot_mut(at).newer = oldest;
            self.slot_mut(newest).newer = at;
            self.slot_mut(oldest).older = at;
        }
        self.newest = Some(at);
    }

    /// Leaves it alone in a circle of its own.
    fn unlink(&mut self, at: usize) {
        let &Slot { newer, older, .. } = self.slot(at);
        self.slot_mut(newer).older = older;
        self.slot_mut(older).newer = newer;
        if self.newest == Some(at) {
            self.newest = (older != at).then_some(older);
        }
        self.slot_mut(at).newer = at;
        self.slot_mut(at).older = at;
    }

    /// Lets everything that names position `from` name `to`.
    fn renumber(&mut self, from: usize, to: usize) {
        let &Slot { newer, older, .. } = self.slot(from);
        // Alone in the circle, these are its own links.
        self.slot_mut(newer).older = to;
        self.slot_mut(older).newer = to;
        if self.newest == Some(from) {
            self.newest = Some(to);
        }
        let hash = self.item(from).hash;
        if let Some(at) = self.table.find_mut(hash, |at| *at == from) {
            *at = to;
        }
    }

    fn slot(&self, at: usize) -> &Slot {
        &self.chunks[at / CHUNK][at % CHUNK]
    }

    fn slot_mut(&mut self, at: usize) -> &mut Slot {
        &mut self.chunks[at / CHUNK][at % CHUNK]
    }

    fn push(&mut self, slot: Slot) {
        if self.len.is_multiple_of(CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        let last = self.chunks.last_mut().expect("a chunk with room");
        last.push(slot);
        self.len += 1;
    }

    fn swap_remove(&mut self, at: usize) -> Slot {
        let chunk = self
            .chunks
            .last_mut()
            .expect("chunks while there are slots");
        let last = chunk.pop().expect("no chunk is empty");
        if chunk.is_empty() {
            self.chunks.pop();
        }
        self.len -= 1;
        if at == self.len {
            return last;
        }
        std::mem::replace(self.slot_mut(at), last)
    }

    /// Where many small entries made way for few large ones, most of the table is
    /// memory that the limit does not see.
    fn give_back(&mut self) {
        if self.len < self.table.capacity() / 4 {
            let chunks = &self.chunks;
            self.table
                .shrink_to(2 * self.len, |at| hash_at(chunks, *at));
        }
    }
}

fn hash_at(chunks: &[Vec<Slot>], at: usize) -> u64 {
    chunks[at / CHUNK][at % CHUNK].item.hash
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::super::item::Value;
    use super::*;

    /// Against a vector from the newest to the oldest.
    #[test]
    fn slots_keep_their_items_and_their_order() {
        for seed in 0..50 {
            let mut random = fastrand::Rng::with_seed(seed);
            let (mut slots, mut order) = (Slots::default(), Vec::new());
            for step in 0..400 {
                // First it grows, then it shrinks to nothing.
                let growing = random.u32(0..400) > step;
                change(&mut slots, &mut order, growing, &mut random);
                check(&slots, &order, seed);
            }
        }
    }

    fn change(
        slots: &mut Slots,
        order: &mut Vec<String>,
        growing: bool,
        random: &mut fastrand::Rng,
    ) {
        let text = random.u32(0..100).to_string();
        let found = slots.find(key(&text));
        assert_eq!(found.is_some(), order.contains(&text));
        order.retain(|other| *other != text);
        match (found, growing) {
            (None, false) => return,
            (None, true) => slots.insert(item(&text)),
            (Some(at), true) => slots.touch(at),
            (Some(at), false) => {
                assert!(slots.take(at).is_at(key(&text)));
                return;
            }
        }
        order.insert(0, text);
    }

    fn check(slots: &Slots, order: &[String], seed: u64) {
        assert_eq!(slots.len(), order.len(), "seed {seed}");
        assert_eq!(slots.table.len(), order.len(), "seed {seed}");
        assert_eq!(slots.chunks.len(), order.len().div_ceil(CHUNK));
        assert!(slots.table.capacity() <= 4 * order.len() + 4);
        let mut at = slots.newest;
        for text in order {
            let here = at.expect("an order as long as there are slots");
            assert!(slots.item(here).is_at(key(text)), "seed {seed}");
            assert_eq!(slots.find(key(text)), Some(here), "seed {seed}");
            assert_eq!(slots.slot(slots.slot(here).older).newer, here);
            at = Some(slots.slot(here).older);
        }
        assert_eq!(at, slots.newest, "seed {seed}");
    }

    /// Few hashes, so that keys meet in the table.
    fn key(text: &str) -> Key<'_> {
        Key {
            hash: text.len() as u64,
            text,
        }
    }

    fn item(text: &str) -> Item {
        Item::new(key(text), Value::Counter(0), None, Instant::now())
    }
}
