//! Compiled components on disk, so that a start does not compile.
//!
//! What is read here runs as native code. So the folder belongs to us and to
//! nobody else, a file is checked the same way, and its content carries a
//! digest, at its end. A file that fails any check is compiled anew, and the log
//! says so. One that is good is mapped and not read: what is never run takes no
//! memory.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use super::module::Digest;

const DIGEST_BYTES: usize = 32;
/// Read at once to be hashed.
const PIECE_BYTES: usize = 64 * 1024;

/// A folder of compiled components.
pub struct Library {
    dir: PathBuf,
    /// What must be equal for compiled code to fit: version, settings, CPU.
    compatibility: u64,
}

/// Why a file is not used.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error("belongs to somebody else, or others may write to it")]
    NotOurs,
    #[error("its content is damaged")]
    Damaged,
    #[error("does not fit this engine: {0:#}")]
    Unfit(wasmtime::Error),
}

impl Library {
    pub fn open(dir: PathBuf, engine: &Engine) -> Self {
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Self {
            dir,
            compatibility: hasher.finish(),
        }
    }

    /// The compiled form of a component, if it is here and good.
    pub fn find(&self, engine: &Engine, digest: &Digest) -> Option<Component> {
        let path = self.path(digest);
        match self.read(engine, &path) {
            Ok(component) => Some(component),
            Err(Unusable::Io(error)) if error.kind() == io::ErrorKind::NotFound => None,
            Err(reason) => {
                tracing::warn!(
                    file = %path.display(),
                    %reason,
                    "compiled filter is not used; compiling it again"
                );
                None
            }
        }
    }

    /// Keeps the compiled form of a component. A failure costs only time at the
    /// next start, so it is told and no more.
    pub fn keep(&self, digest: &Digest, component: &Component) {
        if let Err(error) = self.write(digest, component) {
            tracing::warn!(
                folder = %self.dir.display(),
                %error,
                "compiled filter cannot be kept"
            );
        }
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.dir.join(format!(
            "{}-{:016x}.cwasm",
            digest.hex(),
            self.compatibility
        ))
    }

    #[allow(unsafe_code)] // There is no safe way to load compiled code.
    fn read(&self, engine: &Engine, path: &Path) -> Result<Component, Unusable> {
        check_owner(&fs::symlink_metadata(&self.dir)?)?;
        let mut file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(path)?;
        let metadata = file.metadata()?;
        check_owner(&metadata)?;
        if !metadata.is_file() {
            return Err(Unusable::NotOurs);
        }
        if !is_whole(&mut file, metadata.len())? {
            return Err(Unusable::Damaged);
        }
        // SAFETY: the bytes are those that `write` kept: only this user could
        // have written the file, or put another in its place since, and they
        // match the digest behind them. Files here are replaced and never
        // changed, so the mapping stays as it is. wasmtime checks version and
        // settings itself, and passes over what stands behind its own sections.
        unsafe { Component::deserialize_file(engine, path) }.map_err(Unusable::Unfit)
    }

    /// Writes aside and renames, so that a half-written file is never read.
    fn write(&self, digest: &Digest, component: &Component) -> io::Result<()> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.dir)?;
        if check_owner(&fs::symlink_metadata(&self.dir)?).is_err() {
            return Err(io::Error::other("others may write to the folder"));
        }
        let compiled = component.serialize().map_err(io::Error::other)?;
        let path = self.path(digest);
        let aside = path.with_extension(format!("{}.{:x}", std::process::id(), fastrand::u64(..)));
        let written = write_new(&aside, &compiled).and_then(|()| fs::rename(&aside, &path));
        if written.is_err() {
            // What is left aside is only waste; the first error is what counts.
            let _ = fs::remove_file(&aside);
        }
        written
    }
}

fn write_new(path: &Path, compiled: &[u8]) -> io::Result<()> {
    let mut file: File = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(compiled)?;
    file.write_all(&Sha256::digest(compiled))
}

/// Ours, and nobody else may write to it.
fn check_owner(metadata: &fs::Metadata) -> Result<(), Unusable> {
    let is_ours = metadata.uid() == effective_user() && metadata.mode() & 0o022 == 0;
    match is_ours && !metadata.is_symlink() {
        true => Ok(()),
        false => Err(Unusable::NotOurs),
    }
}

#[allow(unsafe_code)] // The standard library has no call for it.
fn effective_user() -> u32 {
    // SAFETY: takes nothing, cannot fail.
    unsafe { libc::geteuid() }
}

/// Whether the compiled code matches the digest behind it.
fn is_whole(file: &mut File, length: u64) -> io::Result<bool> {
    let Some(compiled) = length.checked_sub(DIGEST_BYTES as u64) else {
        return Ok(false);
    };
    let mut hasher = Sha256::new();
    let mut piece = vec![0; PIECE_BYTES];
    let mut left = (&mut *file).take(compiled);
    loop {
        match left.read(&mut piece)? {
            0 => break,
            count => hasher.update(&piece[..count]),
        }
    }
    let mut digest = [0; DIGEST_BYTES];
    file.seek(SeekFrom::Start(compiled))?;
    file.read_exact(&mut digest)?;
    Ok(hasher.finalize().as_slice() == digest)
}
