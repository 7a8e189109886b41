//! A secret: where it comes from, and its bytes, which nothing shows.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::checked::Name;

/// What is wanted of every secret.
pub(super) const WANTED: &str = "a secret of 1 byte to 64 KiB";

/// A secret as it was when the configuration was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    pub name: Name,
    pub source: SecretSource,
    pub bytes: SecretBytes,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// Read again whenever it changes.
    File(PathBuf),
    /// An environment variable.
    Env(String),
    /// It stands in the configuration.
    Value,
}

/// The bytes of a secret: at least one, and no more than 64 KiB.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretBytes(Arc<[u8]>);

/// Why bytes are no secret.
#[derive(Debug, thiserror::Error)]
pub enum NoSecret {
    #[error("cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    #[error("is no regular file")]
    NoFile,
    #[error("is empty")]
    Empty,
    #[error("is longer than 64 KiB")]
    TooLong,
}

impl SecretBytes {
    /// Of the longest secret.
    pub const MAX: usize = 64 << 10;

    pub fn new(bytes: &[u8]) -> Result<Self, NoSecret> {
        match bytes.len() {
            0 => Err(NoSecret::Empty),
            1..=Self::MAX => Ok(Self(bytes.into())),
            _ => Err(NoSecret::TooLong),
        }
    }

    /// Of a file, without one newline at its end: editors and `echo` write one.
    pub fn read(path: &Path) -> Result<Self, NoSecret> {
        // Asked before it is opened, because opening a pipe waits for its writer.
        if !fs::metadata(path)?.is_file() {
            return Err(NoSecret::NoFile);
        }
        let mut bytes = Vec::new();
        let most = Self::MAX + b"\r\n".len() + 1;
        let most = u64::try_from(most).expect("a small number");
        File::open(path)?.take(most).read_to_end(&mut bytes)?;
        let without = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
        let without = match without.len() < bytes.len() {
            true => without.strip_suffix(b"\r").unwrap_or(without),
            false => without,
        };
        Self::new(without)
    }

    /// In the place of one that has a mistake, in a configuration that never runs.
    pub fn stand_in() -> Self {
        Self((*b"?").into())
    }
}

impl Deref for SecretBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
