//! The folder of what can be had again: components as they were pulled and as they were
//! compiled.
//!
//! A file's time says when it was last used. Beyond the folder's bound those go that were
//! not used for longest, but none that is needed. Other processes may have the same
//! folder: what one of them has mapped stays with it when its name is gone, and what is
//! missing is pulled or compiled again. So nothing here can fail but the saving of room.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::private;

/// Where the cache has files, below its folder.
pub const COMPILED: &str = "";
pub const BLOBS: &str = "components/blobs/sha256";
pub const TAGS: &str = "components/tags";

/// The hex digits of a digest, with which the name of each file begins.
const DIGITS: usize = 64;

/// A file that may go.
struct Kept {
    used: SystemTime,
    path: PathBuf,
    bytes: u64,
}

/// Notes that a file is used.
pub fn note_use(file: &File) {
    // Where that cannot be noted, nothing can be removed either.
    file.set_modified(SystemTime::now()).ok();
}

/// Removes what is beyond so many bytes, and tells how many bytes that was. What is
/// needed stays, also where that alone is more. Blocking.
pub fn sweep(folder: &Path, max_bytes: u64, needed: &BTreeSet<PathBuf>) -> u64 {
    // What is needed is in use, however long ago it was opened.
    let open = needed.iter().filter_map(|path| File::open(path).ok());
    open.for_each(|file| note_use(&file));
    let mut kept: Vec<_> = [COMPILED, BLOBS, TAGS]
        .into_iter()
        .flat_map(|own| files(&folder.join(own)))
        .collect();
    kept.sort_by_key(|kept| kept.used);
    let all: u64 = kept.iter().map(|kept| kept.bytes).sum();
    let mut beyond = all.saturating_sub(max_bytes);
    let mut removed = 0;
    for kept in kept.iter().filter(|kept| !needed.contains(&kept.path)) {
        if beyond == 0 {
            break;
        }
        if fs::remove_file(&kept.path).is_ok() {
            beyond = beyond.saturating_sub(kept.bytes);
            removed += kept.bytes;
        }
    }
    removed
}

/// Those that we wrote: a folder that is named in a configuration may hold others.
fn files(folder: &Path) -> Vec<Kept> {
    let is_ours = fs::symlink_metadata(folder).is_ok_and(|found| private::is_ours(&found));
    let entries = is_ours.then(|| fs::read_dir(folder).ok()).flatten();
    let kept = entries.into_iter().flatten().flatten().filter_map(|entry| {
        let metadata = entry.metadata().ok()?;
        let name = entry.file_name();
        let digits = name.as_encoded_bytes().get(..DIGITS)?;
        let is_it = digits.iter().all(u8::is_ascii_hexdigit) && metadata.is_file();
        (is_it && private::is_ours(&metadata)).then(|| Kept {
            used: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
            path: entry.path(),
            bytes: metadata.len(),
        })
    });
    kept.collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
    use std::time::Duration;

    use super::*;

    /// Gone when the test ends.
    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Self {
            let name = format!("lockgate-test-cache-{:x}", fastrand::u64(..));
            Self(std::env::temp_dir().join(name))
        }

        /// A file of 100 bytes that was last used so many seconds ago.
        fn put(&self, own: &str, name: &str, ago: u64) -> PathBuf {
            let folder = self.0.join(own);
            let mut made = fs::DirBuilder::new();
            made.recursive(true).mode(0o700).create(&folder).unwrap();
            let path = folder.join(name);
            let mut options = File::options();
            let file = options.write(true).create_new(true).mode(0o600).open(&path);
            let file = file.unwrap();
            file.set_len(100).unwrap();
            let used = SystemTime::now() - Duration::from_secs(ago);
            file.set_modified(used).unwrap();
            path
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).ok();
        }
    }

    fn name(digit: char, rest: &str) -> String {
        format!("{}{rest}", digit.to_string().repeat(DIGITS))
    }

    #[test]
    fn what_was_not_used_for_longest_goes_first_and_what_is_needed_stays() {
        let folder = Folder::new();
        let needed = folder.put(COMPILED, &name('1', "-ab.cwasm"), 900);
        let oldest = folder.put(BLOBS, &name('2', ""), 800);
        let older = folder.put(TAGS, &name('3', ""), 700);
        let left_aside = folder.put(COMPILED, &name('4', "-ab.7.f"), 600);
        let newest = folder.put(COMPILED, &name('5', "-ab.cwasm"), 500);
        let other = folder.put(COMPILED, "not-ours.cwasm", 999);
        let all = [&needed, &oldest, &older, &left_aside, &newest, &other];
        let are_there = || all.map(|path| path.exists());
        let of_needed = BTreeSet::from([needed.clone(), folder.0.join("absent")]);

        assert_eq!(sweep(&folder.0, 500, &of_needed), 0);
        assert_eq!(are_there(), [true; 6]);
        assert_eq!(sweep(&folder.0, 499, &of_needed), 100);
        assert_eq!(are_there(), [true, false, true, true, true, true]);
        // Using one makes it the newest.
        note_use(&File::open(&older).unwrap());
        assert_eq!(sweep(&folder.0, 250, &of_needed), 200);
        assert_eq!(are_there(), [true, false, true, false, false, true]);
        assert_eq!(sweep(&folder.0, 0, &of_needed), 100);
        assert_eq!(are_there(), [true, false, false, false, false, true]);
        // What is needed was used now, for whoever else looks.
        assert_eq!(sweep(&folder.0, 0, &BTreeSet::new()), 100);
        assert_eq!(sweep(&folder.0.join("absent"), 0, &of_needed), 0);
    }

    #[test]
    fn a_folder_that_others_may_write_to_is_left_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = Folder::new();
        let file = folder.put(COMPILED, &name('1', ""), 900);
        fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(sweep(&folder.0, 0, &BTreeSet::new()), 0);
        assert!(file.exists());
    }
}
