//! Compiled components on disk, so that a start does not compile.
//!
//! What is read here runs as native code. So the folder belongs to us and to
//! nobody else, a file is checked the same way, and its content ends with the digest
//! of the component that it is the code of, and with one of all that. A file that
//! fails any check is compiled anew, and the log says so. One that is good is mapped
//! and not read: what is never run takes no memory.

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
/// Behind the compiled code.
const END_BYTES: usize = 2 * DIGEST_BYTES;
/// Of the form of files: each has names of its own, or versions of Lockgate that share a
/// folder would write over each other's.
const FORM: u8 = 2;
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
    #[error("it is the code of another component")]
    Foreign,
    #[error("does not fit this engine: {0:#}")]
    Unfit(wasmtime::Error),
}

impl Library {
    pub fn open(dir: PathBuf, engine: &Engine) -> Self {
        let mut hasher = DefaultHasher::new();
        FORM.hash(&mut hasher);
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Self {
            dir,
            compatibility: hasher.finish(),
        }
    }

    /// The compiled form of a component, if it is here and good.
    pub fn find(&self, engine: &Engine, digest: &Digest) -> Option<Component> {
        let path = self.path(digest);
        match self.read(engine, digest, &path) {
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
    fn read(&self, engine: &Engine, digest: &Digest, path: &Path) -> Result<Component, Unusable> {
        let (mut file, length) = private::open(&self.dir, path)?;
        let component = component_of(&mut file, length).map_err(private::Unreadable::from)?;
        if component.ok_or(Unusable::Damaged)? != *digest {
            return Err(Unusable::Foreign);
        }
        cache::note_use(&file);
        // SAFETY: the bytes are those that `write` kept: only this user could
        // have written the file, or put another in its place since, they match the
        // digest behind them, and that of this component is among them. Files here are
        // replaced and never changed, so the mapping stays as it is. wasmtime checks
        // version and settings itself, and passes over what stands behind its own
        // sections.
        unsafe { Component::deserialize_file(engine, path) }.map_err(Unusable::Unfit)
    }

    fn write(&self, digest: &Digest, component: &Component) -> io::Result<()> {
        let compiled = component.serialize().map_err(io::Error::other)?;
        let component = digest.bytes();
        let mut hasher = Sha256::new();
        hasher.update(&compiled);
        hasher.update(component);
        let whole: [&[u8]; 3] = [&compiled, component, &hasher.finalize()];
        private::write(&self.dir, &self.path(digest), &whole)
    }
}

/// The digest of the component whose code this is, if all of it matches the digest at its
/// end.
fn component_of(file: &mut File, length: u64) -> io::Result<Option<Digest>> {
    let Some(compiled) = length.checked_sub(END_BYTES as u64) else {
        return Ok(None);
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
    let (mut component, mut digest) = ([0; DIGEST_BYTES], [0; DIGEST_BYTES]);
    file.seek(SeekFrom::Start(compiled))?;
    file.read_exact(&mut component)?;
    file.read_exact(&mut digest)?;
    hasher.update(component);
    Ok((hasher.finalize().as_slice() == digest).then_some(component.into()))
}
