//! Components in files.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use super::NoFile;

/// The bytes of a file, no more than the limit.
pub fn read(path: &Path, limit: usize) -> Result<Vec<u8>, NoFile> {
    // Asked before it is opened, because opening a pipe waits for its writer.
    if !fs::metadata(path)?.is_file() {
        return Err(NoFile::NotRegular);
    }
    let mut bytes = Vec::new();
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    File::open(path)?.take(most).read_to_end(&mut bytes)?;
    match bytes.len() > limit {
        true => Err(NoFile::TooLarge { limit }),
        false => Ok(bytes),
    }
}
