//! How much a store may hold, and into how many shards that is split.

use super::item::OVERHEAD_BYTES;

/// Several for each worker of most machines, so that two seldom want the same.
pub const MAX_SHARDS: usize = 64;

/// A share has room for so many entries of the largest size, so that keys which
/// by chance meet in one shard rarely evict each other while others have room.
const LARGEST_PER_SHARD: usize = 16;

/// The limits of one filter's store.
///
/// Each shard may hold an equal share of `max_bytes` and evicts by itself. Keys
/// are spread evenly, so with many entries the whole is used; with few large
/// ones a shard can be full before the store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// For everything: keys, values, and what keeping them costs.
    pub max_bytes: usize,
    /// For key and value of one entry. Never more than fits into `max_bytes`.
    pub max_entry_bytes: usize,
}

impl Limits {
    /// For a new store. A power of two, and so few that a share has room for many
    /// of the largest entries; or one.
    pub fn shards(self) -> usize {
        let fitting = self.max_bytes / self.largest_cost().saturating_mul(LARGEST_PER_SHARD);
        1 << fitting.clamp(1, MAX_SHARDS).ilog2()
    }

    /// For a store that has some already. Another number means that every entry
    /// moves, so it keeps what is about right.
    pub fn shards_after(self, current: usize) -> usize {
        let wanted = self.shards();
        let about_right = current <= 4 * wanted && wanted <= 4 * current;
        if about_right && self.share(current) >= self.largest_cost() {
            return current;
        }
        wanted
    }

    /// What one shard may hold.
    pub fn share(self, shards: usize) -> usize {
        self.max_bytes / shards
    }

    /// Bytes of key and value that are accepted.
    pub fn largest_entry(self, shards: usize) -> usize {
        let fitting = self.share(shards).saturating_sub(OVERHEAD_BYTES);
        self.max_entry_bytes.min(fitting)
    }

    fn largest_cost(self) -> usize {
        self.max_entry_bytes.saturating_add(OVERHEAD_BYTES)
    }
}
