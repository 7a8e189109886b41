//! What the instances of a filter share: the store behind the contract's
//! interface `shared`.
//!
//! Takes: keys and values of guests, the time as an argument, and limits from
//! the configuration. Gives: entries with versions, counters, and [`Stats`].
//! Must never: hold more than its limit, however keys are chosen; run guest code
//! or wait for I/O while a lock is held; or have a thread or a clock of its own.
//!
//! All workers use one [`Store`] per filter at once. Its keys are spread over
//! shards by a keyed hash, and a call locks one shard for as long as it takes to
//! change an entry; what is large is allocated before and freed after. [`Spaces`]
//! keeps the stores across reloads.

mod error;
mod item;
mod limits;
mod overlay;
mod shard;
mod slots;
mod spaces;
mod store;
#[cfg(test)]
mod tests;

pub use error::SharedError;
pub use item::{Copied, Entry, Value};
pub use limits::Limits;
pub use overlay::{Found, Overlay};
pub use shard::Stats;
pub use spaces::Spaces;
pub use store::Store;
