//! State that all instances of a filter share: what one worker leaves, the others
//! find. Survives reloads, not restarts.
//!
//! The proxy bounds it and evicts what was least recently used, so nothing is
//! sure to be there: keep what can be made again, or missed. A key belongs to the
//! filter, and all its configurations see it: begin it with what tells them apart
//! where they differ. What a call of the filter changed here stays, also when the
//! call fails.
//!
//! The operator must grant it (`grants: { shared: true }`): the proxy refuses to
//! load a component that imports it without. A filter that uses nothing of this
//! module does not import it.
//!
//! ```
//! use lockgate_sdk::prelude::*;
//! use lockgate_sdk::shared;
//!
//! /// Lets each client in a hundred times in each minute of the clock.
//! fn on_request(exchange: &Exchange) -> Result<Verdict, Error> {
//!     let minute = lockgate_sdk::time::since_epoch().as_secs() / 60;
//!     let key = format!("{minute} {}", exchange.client_address());
//!     match shared::add(&key, 1, Some(Duration::from_secs(60)))? {
//!         ..=100 => Ok(Verdict::Next),
//!         _ => Ok(Reply::text(429, "slow down\n").into()),
//!     }
//! }
//! ```

use std::fmt;
use std::time::Duration;

use crate::host;

/// How often [`update`] tries. Of all who change an entry at once one succeeds
/// in each round, so this is about how many workers may want the same entry at
/// the same moment.
pub const TRIES: usize = 32;

/// What is kept under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The bytes; of a counter, those of its `i64`, the lowest first.
    pub value: Vec<u8>,
    /// Changes whenever the value does; never 0.
    pub version: u64,
}

/// What is kept under this key.
pub fn get(key: &str) -> Option<Entry> {
    host::shared::get(key)
}

/// Keep this value, whatever was there. With a `ttl` it is gone after that time.
pub fn set(key: &str, value: impl AsRef<[u8]>, ttl: Option<Duration>) -> Result<(), SharedError> {
    host::shared::set(key, value.as_ref(), ttl)
}

/// Keep this value if the entry is still at `version` (0: still absent), and tell
/// its new version. Otherwise it is a [`SharedError::Conflict`]. [`update`] is the
/// loop around it.
pub fn replace(
    key: &str,
    version: u64,
    value: impl AsRef<[u8]>,
    ttl: Option<Duration>,
) -> Result<u64, SharedError> {
    host::shared::replace(key, version, value.as_ref(), ttl)
}

/// Forget what is there. What is absent is fine.
pub fn remove(key: &str) {
    host::shared::remove(key);
}

/// Add to a counter, in one step, and tell its new value. One that is absent
/// begins at 0, and its `ttl` counts from then on, so that a key is a window.
pub fn add(key: &str, delta: i64, ttl: Option<Duration>) -> Result<i64, SharedError> {
    host::shared::add(key, delta, ttl)
}

/// Make a new value of the one that is there (`None`: absent), or leave it as it
/// is with `None`. When another instance was faster, `change` is called again
/// with what that one left; after [`TRIES`] times it is a
/// [`SharedError::Conflict`].
///
/// ```
/// # use lockgate_sdk::shared::{self, SharedError};
/// /// The longest name seen so far.
/// fn longest(name: &str) -> Result<(), SharedError> {
///     shared::update("longest", None, |known| {
///         let is_longer = known.is_none_or(|known| known.len() < name.len());
///         is_longer.then(|| name.into())
///     })
/// }
/// ```
pub fn update(
    key: &str,
    ttl: Option<Duration>,
    mut change: impl FnMut(Option<&[u8]>) -> Option<Vec<u8>>,
) -> Result<(), SharedError> {
    for _ in 0..TRIES {
        let entry = get(key);
        let Some(value) = change(entry.as_ref().map(|entry| entry.value.as_slice())) else {
            return Ok(());
        };
        let version = entry.map_or(0, |entry| entry.version);
        match replace(key, version, value, ttl) {
            Err(SharedError::Conflict) => {}
            other => return other.map(drop),
        }
    }
    Err(SharedError::Conflict)
}

/// Why a change was refused. What was there is unharmed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SharedError {
    /// The entry is not at that version.
    Conflict,
    /// Larger than one entry may be.
    TooLarge,
    /// [`add`] on something that [`add`] did not make.
    NotACounter,
    /// What later versions may report.
    Other(String),
}

impl fmt::Display for SharedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SharedError::Conflict => "another instance changed the entry",
            SharedError::TooLarge => "larger than one entry may be",
            SharedError::NotACounter => "the entry is not a counter",
            SharedError::Other(message) => message,
        })
    }
}

impl std::error::Error for SharedError {}

#[cfg(test)]
mod tests;
