//! Tells when the files of a configuration have changed.
//!
//! Takes: the files to look at, anew after each reload. Gives: those whose
//! content changed. The folders in which a file is found are watched, also those
//! of symbolic links on the way, so that it may be written in place, replaced by
//! renaming, or exchanged with a link as mounted ConfigMaps are. What the system
//! does not tell (network file systems, whole folders moved away) is found by
//! looking every few seconds.
//! Must never: make the control thread wait for a disk, or report a file that
//! was written again with what it had.

mod fingerprint;
mod looker;
mod trail;

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::SystemTime;
use std::{io, mem};

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use tokio::sync::Notify;

use looker::Looker;
use trail::Trail;

/// The watch over the files of a configuration. Ends when dropped.
#[derive(Debug)]
pub struct Watch {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Starts with these files, which were read after `read_since`.
    pub fn start(files: Vec<PathBuf>, read_since: SystemTime) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let looking = shared.clone();
        let thread = thread::Builder::new()
            .name("watch".into())
            .spawn(move || Looker::new(looking).run())?;
        let watch = Self {
            shared,
            thread: Some(thread),
        };
        watch.replace(files, read_since);
        Ok(watch)
    }

    /// Watches these files from now on and no others; they were read after
    /// `read_since`. A change after that is reported, an earlier one is taken
    /// as read.
    pub fn replace(&self, files: Vec<PathBuf>, read_since: SystemTime) {
        self.want(files, read_since, Others::Forget);
    }

    /// Watches these files too: what a configuration that was refused is made
    /// of, and where it may be mended.
    pub fn also(&self, files: Vec<PathBuf>, read_since: SystemTime) {
        self.want(files, read_since, Others::Keep);
    }

    fn want(&self, files: Vec<PathBuf>, read_since: SystemTime, others: Others) {
        let mut state = self.shared.state();
        state.wanted.push_back(Wanted {
            files,
            read_since,
            others,
        });
        self.shared.wake.notify_one();
    }

    /// Files whose content changed since this was last asked, removed ones and
    /// new ones too. Dropping the future loses nothing.
    pub async fn changed(&self) -> Vec<PathBuf> {
        loop {
            let changed = mem::take(&mut self.shared.state().changed);
            if !changed.is_empty() {
                return changed.into_iter().collect();
            }
            self.shared.reported.notified().await;
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.state().is_over = true;
        self.shared.wake.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic of that thread was told when it happened.
            let _ = thread.join();
        }
    }
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// For the looking thread.
    wake: Condvar,
    /// For who waits for changes.
    reported: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Files and links whose events matter.
    entries: HashSet<PathBuf>,
    /// Folders in which it matters what is there, whatever it is.
    listed: HashSet<PathBuf>,
    touched: bool,
    /// One for each reload: the looking thread soon takes it.
    wanted: VecDeque<Wanted>,
    changed: BTreeSet<PathBuf>,
    is_over: bool,
}

#[derive(Debug)]
struct Wanted {
    files: Vec<PathBuf>,
    read_since: SystemTime,
    others: Others,
}

/// What becomes of the files that were watched before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Others {
    Keep,
    Forget,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the system reported. Files that are merely opened or read do not
    /// matter, or looking would wake itself.
    fn notice(&self, event: notify::Result<notify::Event>) {
        let mut state = self.state();
        state.touched |= match event {
            Err(_) => true,
            Ok(event) if event.need_rescan() => true,
            Ok(event) => {
                let matters = |path: &PathBuf| {
                    state.entries.contains(path)
                        || is_naming(&event.kind)
                            && path
                                .parent()
                                .is_some_and(|folder| state.listed.contains(folder))
                };
                is_write(&event.kind) && event.paths.iter().any(matters)
            }
        };
        if state.touched {
            self.wake.notify_one();
        }
    }

    fn report(&self, path: &Path) {
        self.state().changed.insert(path.to_owned());
        self.reported.notify_one();
    }
}

fn is_write(kind: &EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        EventKind::Any
        | EventKind::Create(_)
        | EventKind::Modify(_)
        | EventKind::Remove(_)
        | EventKind::Other => true,
    }
}

/// Whether any of these files was put there or written since then.
pub fn changed_since(files: &[PathBuf], since: SystemTime) -> bool {
    let changed_at = |path: &PathBuf| Trail::of(path).changed_at;
    files.iter().filter_map(changed_at).any(|at| at >= since)
}

/// Whether a name may have come or gone.
fn is_naming(kind: &EventKind) -> bool {
    !matches!(
        kind,
        EventKind::Access(_) | EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Metadata(_))
    )
}

#[cfg(test)]
mod tests;
