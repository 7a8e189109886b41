//! What is known of filter versions and outlives the process: which version of each
//! filter was good, with the bytes of its component, and which ones failed.
//!
//! Takes and gives records and components by their digests. What cannot be read, or
//! is not what it was, counts as absent; what cannot be written costs only what a
//! later start would have had of it. Both are told in the log and fail nothing.

mod records;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{fs, io::Read};

use crate::digest::Digest;
use crate::private::{self, Unreadable};
pub use records::{Decision, Failed, Good, Record, Records, Verdict};

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
}

impl Folder {
    pub fn new(path: PathBuf) -> Self {
        Self {
            path,
            has_complained: AtomicBool::new(false),
            written: Mutex::new((0, None)),
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

    /// Writes the records if they changed, and lets go of components that neither
    /// they nor `in_use` name. Numbers count up, and those that come late are older.
    pub fn keep(&self, number: u64, records: &Records, in_use: &[String]) {
        let mut written = self
            .written
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if number < written.0 || written.1.as_ref() == Some(records) {
            return;
        }
        written.0 = number;
        let text = serde_json::to_vec_pretty(records).expect("records are JSON with text for keys");
        match private::write(&self.path, &self.path.join(RECORDS), &[&text]) {
            Ok(()) => {
                self.has_complained.store(false, Ordering::Relaxed);
                written.1 = Some(records.clone());
                self.sweep(records, in_use);
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

    /// Keeps the bytes of a component, unless they are here.
    pub fn keep_component(&self, digest: &str, bytes: &[u8]) {
        let path = self.component_path(digest);
        let is_here = fs::metadata(&path).is_ok_and(|known| known.len() == bytes.len() as u64);
        if is_here || bytes.len() as u64 > MAX_COMPONENT_BYTES {
            return;
        }
        let folder = self.path.join(COMPONENTS);
        if let Err(error) = private::write(&folder, &path, &[bytes]) {
            self.complain("a component cannot be kept", &error);
        }
    }

    fn component_path(&self, digest: &str) -> PathBuf {
        self.path.join(COMPONENTS).join(component_name(digest))
    }

    /// Failing to remove costs room and nothing else.
    fn sweep(&self, records: &Records, in_use: &[String]) {
        let good = records
            .filters
            .values()
            .filter_map(|record| record.good.as_ref());
        let needed: Vec<_> = good
            .map(|good| &good.digest)
            .chain(in_use)
            .map(|digest| component_name(digest))
            .collect();
        let Ok(entries) = fs::read_dir(self.path.join(COMPONENTS)) else {
            return;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let is_needed = needed.iter().any(|needed| **needed == *name);
            if !is_needed && is_component(&name) {
                fs::remove_file(entry.path()).ok();
            }
        }
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
