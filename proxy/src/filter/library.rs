//! Compiled components on disk, so that a start does not compile.
//!
//! What is read here runs as native code. So the folder belongs to us and to
//! nobody else, a file is checked the same way, and its content carries a
//! digest, at its end. A file that fails any check is compiled anew, and the log
//! says so. One that is good is mapped and not read: what is never run takes no
//! memory.

use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::digest::Digest;
use crate::{cache, private};

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
    #[error(transparent)]
    Unreadable(#[from] private::Unreadable),
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
            Err(Unusable::Unreadable(reason)) if reason.is_missing() => None,
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

    /// Where the compiled form of a component is, or would be.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.dir.join(format!(
            "{}-{:016x}.cwasm",
            digest.hex(),
            self.compatibility
        ))
    }

    #[allow(unsafe_code)] // There is no safe way to load compiled code.
    fn read(&self, engine: &Engine, path: &Path) -> Result<Component, Unusable> {
        let (mut file, length) = private::open(&self.dir, path)?;
        if !is_whole(&mut file, length).map_err(private::Unreadable::from)? {
            return Err(Unusable::Damaged);
        }
        cache::note_use(&file);
        // SAFETY: the bytes are those that `write` kept: only this user could
        // have written the file, or put another in its place since, and they
        // match the digest behind them. Files here are replaced and never
        // changed, so the mapping stays as it is. wasmtime checks version and
        // settings itself, and passes over what stands behind its own sections.
        unsafe { Component::deserialize_file(engine, path) }.map_err(Unusable::Unfit)
    }

    fn write(&self, digest: &Digest, component: &Component) -> io::Result<()> {
        let compiled = component.serialize().map_err(io::Error::other)?;
        let whole: [&[u8]; 2] = [&compiled, &Sha256::digest(&compiled)];
        private::write(&self.dir, &self.path(digest), &whole)
    }
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
