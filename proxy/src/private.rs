//! Folders and files that belong to us and to nobody else: what is kept in them is
//! believed, so another user must not have put it there.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

/// Why a file is not read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error("belongs to somebody else, or others may write to it")]
    NotOurs,
}

impl Unreadable {
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Io(error) if error.kind() == io::ErrorKind::NotFound)
    }
}

/// Opens a regular file of ours, in a folder of ours, with its length.
pub fn open(folder: &Path, path: &Path) -> Result<(File, u64), Unreadable> {
    check_owner(&fs::symlink_metadata(folder)?)?;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)?;
    let metadata = file.metadata()?;
    check_owner(&metadata)?;
    match metadata.is_file() {
        true => Ok((file, metadata.len())),
        false => Err(Unreadable::NotOurs),
    }
}

/// Writes a file of these parts, and makes its folder. Writes aside and renames, so
/// that a half-written file is never read.
pub fn write(folder: &Path, path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    if !is_ours(&fs::symlink_metadata(folder)?) {
        return Err(io::Error::other("others may write to the folder"));
    }
    let aside = path.with_extension(format!("{}.{:x}", std::process::id(), fastrand::u64(..)));
    let written = write_new(&aside, parts).and_then(|()| fs::rename(&aside, path));
    if written.is_err() {
        // What is left aside is only waste; the first error is what counts.
        let _ = fs::remove_file(&aside);
    }
    written
}

fn write_new(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    parts.iter().try_for_each(|part| file.write_all(part))
}

/// Whether it is ours, and nobody else may write to it.
pub fn is_ours(metadata: &fs::Metadata) -> bool {
    let is_ours = metadata.uid() == effective_user() && metadata.mode() & 0o022 == 0;
    is_ours && !metadata.is_symlink()
}

fn check_owner(metadata: &fs::Metadata) -> Result<(), Unreadable> {
    match is_ours(metadata) {
        true => Ok(()),
        false => Err(Unreadable::NotOurs),
    }
}

#[allow(unsafe_code)] // The standard library has no call for it.
fn effective_user() -> u32 {
    // SAFETY: takes nothing, cannot fail.
    unsafe { libc::geteuid() }
}
