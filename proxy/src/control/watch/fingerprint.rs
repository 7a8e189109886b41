//! What a file is, in a few bytes.

use std::fs::{self, File, Metadata};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Beyond this only the outside of a file is looked at.
const MAX_READ_BYTES: u64 = 64 * 1024 * 1024;

/// A file as it was once looked at; the default stands for none.
#[derive(Debug, Default)]
pub struct Fingerprint {
    outside: Option<Outside>,
    content: Option<u64>,
}

/// What is known of a file without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Outside {
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Fingerprint {
    pub fn of(path: &Path) -> Self {
        let outside = Outside::of(path);
        // What cannot be read is as good as absent.
        let content = content(path).ok();
        Self { outside, content }
    }

    /// A digest of the content, of the names in a folder; `None` if it cannot
    /// be read.
    pub fn content(&self) -> Option<u64> {
        self.content
    }

    /// Whether the file looks the same from outside.
    pub fn is_still_outwardly(&self, path: &Path) -> bool {
        self.outside == Outside::of(path)
    }
}

impl Outside {
    fn of(path: &Path) -> Option<Self> {
        fs::metadata(path).ok().as_ref().map(Self::from)
    }
}

impl From<&Metadata> for Outside {
    fn from(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            length: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// Which names a folder has. Hidden ones do not count: editors and mounted
/// ConfigMaps keep their own things in them.
fn names(folder: &Path) -> io::Result<u64> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        names.push(entry?.file_name());
    }
    names.retain(|name| !name.as_encoded_bytes().starts_with(b"."));
    names.sort();
    let mut hasher = DefaultHasher::new();
    names.hash(&mut hasher);
    Ok(hasher.finish())
}

/// Nobody gains by two contents with one digest, so a fast hash is enough.
fn content(path: &Path) -> io::Result<u64> {
    // Opening a pipe would wait for a writer.
    let metadata = fs::metadata(path)?;
    if metadata.is_dir() {
        return names(path);
    }
    if !metadata.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut hasher = DefaultHasher::new();
    if metadata.len() > MAX_READ_BYTES {
        hasher.write(format!("{:?}", Outside::from(&metadata)).as_bytes());
        return Ok(hasher.finish());
    }
    let mut file = File::open(path)?.take(MAX_READ_BYTES);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finish()),
            length => hasher.write(&buffer[..length]),
        }
    }
}
