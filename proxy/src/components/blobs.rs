//! What was pulled, on disk: blobs by their digest, and what each tag stood for when
//! its registry was last asked.
//!
//! A blob is hashed when it is read, so one that is damaged is known and fetched
//! again. That a blob cannot be kept costs only another pull, so it is told and no
//! more.

use std::io::Read;
use std::path::{Path, PathBuf};

use crate::cache;
use crate::config::Reference;
use crate::digest::Digest;
use crate::private::{self, Unreadable};

/// A folder as OCI image layouts have it, and one of tags.
pub(super) struct Blobs {
    blobs: PathBuf,
    tags: PathBuf,
}

/// The length of a digest as it is written.
const WRITTEN_DIGEST: u64 = 71;

impl Blobs {
    pub(super) fn new(cache_dir: &Path) -> Self {
        Self {
            blobs: cache_dir.join(cache::BLOBS),
            tags: cache_dir.join(cache::TAGS),
        }
    }

    /// The bytes with this digest, if they are here and good.
    pub(super) fn find(&self, digest: &Digest) -> Option<Vec<u8>> {
        let path = self.blob(digest);
        match read(&self.blobs, &path, u64::MAX) {
            Ok(bytes) if Digest::of(&bytes) == *digest => Some(bytes),
            Ok(_) => {
                unusable(&path, &"its content is damaged");
                None
            }
            Err(reason) if reason.is_missing() => None,
            Err(reason) => {
                unusable(&path, &reason);
                None
            }
        }
    }

    pub(super) fn keep(&self, digest: &Digest, bytes: &[u8]) {
        self.write(&self.blobs, &self.blob(digest), bytes);
    }

    /// What a tag stood for when it was last known.
    pub(super) fn resolved(&self, tag: &Reference) -> Option<Digest> {
        let bytes = read(&self.tags, &self.tag(tag), WRITTEN_DIGEST).ok()?;
        Digest::read(std::str::from_utf8(&bytes).ok()?)
    }

    pub(super) fn keep_resolved(&self, tag: &Reference, digest: &Digest) {
        if self.resolved(tag) != Some(*digest) {
            self.write(&self.tags, &self.tag(tag), digest.to_string().as_bytes());
        }
    }

    /// Where a blob is, or would be.
    pub(super) fn blob(&self, digest: &Digest) -> PathBuf {
        self.blobs.join(digest.hex())
    }

    /// Where it is said what a tag stood for.
    pub(super) fn tag(&self, tag: &Reference) -> PathBuf {
        self.tags.join(Digest::of(tag.to_string().as_bytes()).hex())
    }

    fn write(&self, folder: &Path, path: &Path, bytes: &[u8]) {
        if let Err(error) = private::write(folder, path, &[bytes]) {
            tracing::warn!(
                folder = %folder.display(),
                %error,
                "what was pulled cannot be kept"
            );
        }
    }
}

fn read(folder: &Path, path: &Path, limit: u64) -> Result<Vec<u8>, Unreadable> {
    let (file, length) = private::open(folder, path)?;
    cache::note_use(&file);
    let mut bytes = Vec::with_capacity(usize::try_from(length.min(limit)).unwrap_or(0));
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn unusable(path: &Path, reason: &dyn std::fmt::Display) {
    tracing::warn!(
        file = %path.display(),
        %reason,
        "what was pulled before is not used; pulling it again"
    );
}
