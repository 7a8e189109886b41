//! What is known of filter versions and outlives the process: which version of each
//! filter was good, with the bytes of its component, and which ones failed.
//!
//! Takes and gives records and components by their digests. What cannot be read, or
//! is not what it was, counts as absent; what cannot be written costs only what a
//! later start would have had of it. Both are told in the log and fail nothing.

mod records;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::{fs, io::Read};

use crate::digest::Digest;
use crate::private::{self, Unreadable};
pub use records::{Decision, Failed, Good, Record, Records, Settled, Verdict};

/// The records' file inside the folder.
const RECORDS: &str = "filters.json";
const COMPONENTS: &str = "components";

/// More than any records that we write; what is larger is not ours.
const MAX_RECORDS_BYTES: u64 = 64 << 20;
/// A component that is larger is not kept.
const MAX_COMPONENT_BYTES: u64 = 256 << 20;

/// A folder that belongs to one configuration. Blocking throughout.
pub struct Folder {
    path: PathBuf,
    /// A failure is told once, until something could be written again.
    has_complained: AtomicBool,
    /// What stands in the records' file, as far as this process knows.
    /// With the number of the last ones that were given.
    written: Mutex<(u64, Option<Records>)>,
    /// Held for a moment only, so that the control thread may ask.
    needed: Mutex<Needed>,
}

/// Components that have to stay, by the hex digits of their SHA-256.
#[derive(Debug, Default)]
struct Needed {
    /// By what serves and by what is on record.
    known: BTreeSet<String>,
    /// By what is being built.
    new: BTreeSet<String>,
}

impl Needed {
    fn has(&self, name: &OsStr) -> bool {
        let mut needed = self.known.iter().chain(&self.new);
        needed.any(|digest| *component_name(digest) == *name)
    }
}

/// Whether anything is being built that may yet be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Build {
    Over,
    MayBeUnderWay,
}

impl Folder {
    pub fn new(path: PathBuf) -> Self {
        Self {
            path,
            has_complained: AtomicBool::new(false),
            written: Mutex::new((0, None)),
            needed: Mutex::default(),
        }
    }

    /// What the last process knew, or nothing.
    pub fn records(&self) -> Records {
        let found = "what was known of filter versions is not used";
        match read(&self.path, RECORDS, MAX_RECORDS_BYTES) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|error| {
                self.complain(found, &error);
                Records::default()
            }),
            Err(error) if error.is_missing() => Records::default(),
            Err(error) => {
                self.complain(found, &error);
                Records::default()
            }
        }
    }

    /// From now on nothing else is needed but these components, and what is being
    /// built. Does not block.
    pub fn need(&self, components: BTreeSet<String>, build: Build) {
        let mut needed = self.needed();
        needed.known = components;
        if build == Build::Over {
            needed.new.clear();
        }
    }

    /// Writes the records if they changed, and lets go of components that are not
    /// needed. Numbers count up, and those that come late are older.
    pub fn keep(&self, number: u64, records: &Records) {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if number < written.0 {
            return;
        }
        written.0 = number;
        if written.1.as_ref() == Some(records) {
            return self.sweep();
        }
        let text = serde_json::to_vec_pretty(records).expect("records are JSON with text for keys");
        match private::write(&self.path, &self.path.join(RECORDS), &[&text]) {
            Ok(()) => {
                self.has_complained.store(false, Ordering::Relaxed);
                written.1 = Some(records.clone());
                self.sweep();
            }
            Err(error) => self.complain("what is known of filter versions cannot be kept", &error),
        }
    }

    /// The bytes of a kept component, by the hex digits of their SHA-256.
    pub fn component(&self, digest: &str) -> Option<Vec<u8>> {
        let found = "a kept component is not used";
        let name = component_name(digest);
        match read(&self.path.join(COMPONENTS), &name, MAX_COMPONENT_BYTES) {
            Ok(bytes) if Digest::of(&bytes).hex() == digest => Some(bytes),
            Ok(_) => {
                self.complain(found, &"its content is damaged");
                None
            }
            Err(error) => {
                self.complain(found, &error);
                None
            }
        }
    }

    /// Keeps the bytes of a component that is being built, unless they are here.
    pub fn keep_component(&self, digest: &str, bytes: &[u8]) {
        let length = bytes.len() as u64;
        if length > MAX_COMPONENT_BYTES {
            return;
        }
        // First, so that what is found here stays.
        self.needed().new.insert(digest.to_owned());
        let folder = self.path.join(COMPONENTS);
        let known = read(&folder, &component_name(digest), length);
        if known.is_ok_and(|known| known == bytes) {
            return;
        }
        let path = self.component_path(digest);
        if let Err(error) = private::write(&folder, &path, &[bytes]) {
            self.complain("a component cannot be kept", &error);
        }
    }

    fn component_path(&self, digest: &str) -> PathBuf {
        self.path.join(COMPONENTS).join(component_name(digest))
    }

    /// Failing to remove costs room and nothing else.
    fn sweep(&self) {
        let Ok(entries) = fs::read_dir(self.path.join(COMPONENTS)) else {
            return;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            // Held until it is gone: whoever needs it next writes it once more.
            let needed = self.needed();
            if is_component(&name) && !needed.has(&name) {
                fs::remove_file(entry.path()).ok();
            }
        }
    }

    fn needed(&self) -> MutexGuard<'_, Needed> {
        self.needed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn complain(&self, what: &str, error: &dyn std::fmt::Display) {
        if !self.has_complained.swap(true, Ordering::Relaxed) {
            tracing::warn!(folder = %self.path.display(), %error, "{what}");
        }
    }
}

fn component_name(digest: &str) -> String {
    format!("{digest}.wasm")
}

/// Whether a file of this name is one that we wrote: the folder may hold others.
fn is_component(name: &OsStr) -> bool {
    let digest = name.to_str().and_then(|name| name.strip_suffix(".wasm"));
    let is_hex = |digest: &str| digest.bytes().all(|byte| byte.is_ascii_hexdigit());
    digest.is_some_and(|digest| digest.len() == 64 && is_hex(digest))
}

/// The whole of a file of at most so many bytes.
fn read(folder: &Path, name: &str, most: u64) -> Result<Vec<u8>, Unreadable> {
    let (file, length) = private::open(folder, &folder.join(name))?;
    if length > most {
        return Err(Unreadable::NotOurs);
    }
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
