//! The way from the root to a file, link by link.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Where the system gives up, too.
const MAX_LINKS: usize = 40;

/// What decides which file a path leads to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Trail {
    /// The links on the way and the file at its end, each in a folder without
    /// links. Where the way breaks off, what is missing is the last.
    pub entries: Vec<PathBuf>,
    /// When the newest of them was put there or written. `None` if none exists.
    pub changed_at: Option<SystemTime>,
}

impl Trail {
    pub fn of(path: &Path) -> Self {
        let mut trail = Trail::default();
        // Without a current folder a relative path leads nowhere.
        let Ok(path) = std::path::absolute(path) else {
            return trail;
        };
        let mut folder = PathBuf::from("/");
        let mut rest = steps(&path);
        let mut links = 0;
        while let Some(step) = rest.pop_front() {
            if step == ".." {
                folder.pop();
                continue;
            }
            let entry = folder.join(step);
            let Ok(metadata) = fs::symlink_metadata(&entry) else {
                trail.entries.push(entry);
                break;
            };
            if metadata.is_symlink() && links < MAX_LINKS {
                links += 1;
                trail.pass(&entry, &metadata);
                let target = fs::read_link(&entry).unwrap_or_default();
                if target.is_absolute() {
                    folder = PathBuf::from("/");
                }
                rest = steps(&target).into_iter().chain(rest).collect();
            } else if rest.is_empty() {
                trail.pass(&entry, &metadata);
            } else {
                folder = entry;
            }
        }
        trail
    }

    fn pass(&mut self, entry: &Path, metadata: &fs::Metadata) {
        self.entries.push(entry.to_owned());
        self.changed_at = self.changed_at.max(changed_at(metadata));
    }
}

fn steps(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            Component::Prefix(_) | Component::RootDir | Component::CurDir => None,
        })
        .collect()
}

/// When the inode last changed, which renaming it does as well as writing.
fn changed_at(metadata: &fs::Metadata) -> Option<SystemTime> {
    let seconds = u64::try_from(metadata.ctime()).ok()?;
    let nanoseconds = u64::try_from(metadata.ctime_nsec()).ok()?;
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds) + Duration::from_nanos(nanoseconds))
}
