//! Compiled components on disk, so that a start does not compile.
//!
//! What is read here runs as native code. So the folder belongs to us and to
//! nobody else, a file is checked the same way, and its content carries a
//! digest. A file that fails any check is compiled anew, and the log says so.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use super::module::Digest;

const DIGEST_BYTES: usize = 32;

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
        let mut content = Vec::new();
        file.read_to_end(&mut content)?;
        let compiled = checked(&content).ok_or(Unusable::Damaged)?;
        // SAFETY: the bytes are those that `write` kept: only this user could
        // have written the file, and they match the digest before them.
        // wasmtime checks version and settings itself.
        unsafe { Component::deserialize(engine, compiled) }.map_err(Unusable::Unfit)
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
    file.write_all(&Sha256::digest(compiled))?;
    file.write_all(compiled)
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

/// The compiled code, if it matches the digest before it.
fn checked(content: &[u8]) -> Option<&[u8]> {
    let (digest, compiled) = content.split_at_checked(DIGEST_BYTES)?;
    (Sha256::digest(compiled).as_slice() == digest).then_some(compiled)
}
