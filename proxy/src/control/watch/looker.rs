//! The thread that looks at files: when the system says that something
//! happened, when it gets a new list, and every few seconds anyway.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use notify::{RecommendedWatcher, RecursiveMode, Watcher};

use super::fingerprint::Fingerprint;
use super::trail::Trail;
use super::{Others, Shared, State, Wanted};

/// After the last event, so that a file is not read while it is written.
const QUIET: Duration = Duration::from_millis(20);

/// After the first event, however many follow.
const PATIENCE: Duration = Duration::from_millis(100);

/// Between two looks without an event.
const POLL: Duration = Duration::from_secs(3);

/// Why the looking thread woke.
enum Wake {
    Touched,
    Wanted(Wanted),
    Poll,
    Over,
}

/// The thread that looks at files.
pub struct Looker {
    shared: Arc<Shared>,
    /// Absent where the system has none to give; then only polling is left.
    watcher: Option<RecommendedWatcher>,
    files: BTreeMap<PathBuf, Fingerprint>,
    folders: BTreeSet<PathBuf>,
}

impl Looker {
    pub fn new(shared: Arc<Shared>) -> Self {
        let noticing = shared.clone();
        let watcher = notify::recommended_watcher(move |event| noticing.notice(event))
            .inspect_err(|error| tracing::warn!(%error, "files are looked at every {POLL:?} only"))
            .ok();
        Self {
            shared,
            watcher,
            files: BTreeMap::new(),
            folders: BTreeSet::new(),
        }
    }

    pub fn run(mut self) {
        loop {
            match self.wait() {
                Wake::Over => return,
                Wake::Wanted(wanted) => self.adopt(wanted),
                Wake::Touched => {
                    self.settle();
                    self.follow();
                    self.look();
                }
                Wake::Poll if self.differs_outwardly() => {
                    // The events of these folders cannot be relied on.
                    self.forget_folders();
                    self.follow();
                    self.look();
                }
                Wake::Poll => {}
            }
        }
    }

    fn wait(&self) -> Wake {
        let is_idle =
            |state: &mut State| !(state.is_over || state.touched || !state.wanted.is_empty());
        let state = self.shared.state();
        let (mut state, _) = self
            .shared
            .wake
            .wait_timeout_while(state, POLL, is_idle)
            .unwrap_or_else(PoisonError::into_inner);
        if state.is_over {
            return Wake::Over;
        }
        if let Some(wanted) = state.wanted.pop_front() {
            return Wake::Wanted(wanted);
        }
        match mem::take(&mut state.touched) {
            true => Wake::Touched,
            false => Wake::Poll,
        }
    }

    /// Waits until nothing has been written for a moment.
    fn settle(&self) {
        let first = Instant::now();
        let mut state = self.shared.state();
        while first.elapsed() < PATIENCE && !state.is_over {
            let is_quiet = |state: &mut State| !(state.touched || state.is_over);
            let (woken, timeout) = self
                .shared
                .wake
                .wait_timeout_while(state, QUIET, is_quiet)
                .unwrap_or_else(PoisonError::into_inner);
            state = woken;
            state.touched = false;
            if timeout.timed_out() {
                return;
            }
        }
    }

    /// Takes a new list of files.
    fn adopt(&mut self, wanted: Wanted) {
        let mut known = mem::take(&mut self.files);
        let listed = wanted.files.iter().map(|path| {
            let before = known.remove(path).unwrap_or_default();
            (path.clone(), before)
        });
        self.files = listed.collect();
        if wanted.others == Others::Keep {
            self.files.append(&mut known);
        }
        self.follow();
        for path in &wanted.files {
            self.compare(path, wanted.read_since);
        }
    }

    /// Reports a file that has changed since it was read for the configuration.
    fn compare(&mut self, path: &Path, read_since: SystemTime) {
        let found_at = Trail::of(path).changed_at;
        let mut now = Fingerprint::of(path);
        let changed_at = Trail::of(path).changed_at;
        if found_at != changed_at {
            // Something else was put there meanwhile, and may be what the one it is reported
            // to will read. Whatever is seen next differs from nothing at all.
            now = Fingerprint::default();
        }
        let Some(before) = self.files.get_mut(path) else {
            return;
        };
        if changed_at >= Some(read_since) {
            // Also when it looks as it did before: something else may have been
            // there when it was read. But the clock of a file server may go
            // ahead, and would say so for a long time.
            let is_credible = changed_at <= Some(SystemTime::now());
            if is_credible || now.content() != before.content() {
                self.shared.report(path);
            }
        }
        *before = now;
    }

    /// Watches the folders in which files and links are found now. Comes before
    /// looking, so that nothing happens in between unseen.
    fn follow(&mut self) {
        let mut entries = HashSet::new();
        let mut listed = HashSet::new();
        for path in self.files.keys() {
            let trail = Trail::of(path);
            listed.extend(trail.entries.last().filter(|end| end.is_dir()).cloned());
            entries.extend(trail.entries);
        }
        let folders: BTreeSet<PathBuf> = entries
            .iter()
            .filter_map(|entry| entry.parent().map(Path::to_owned))
            .chain(listed.iter().cloned())
            .collect();
        let mut state = self.shared.state();
        (state.entries, state.listed) = (entries, listed);
        drop(state);
        self.change_folders(folders);
    }

    fn change_folders(&mut self, folders: BTreeSet<PathBuf>) {
        let Some(watcher) = &mut self.watcher else {
            return;
        };
        for folder in self.folders.difference(&folders) {
            // It may be gone, and its watch with it.
            let _ = watcher.unwatch(folder);
        }
        // Those that were watched, too: another may have taken the name since.
        for folder in &folders {
            if let Err(error) = watcher.watch(folder, RecursiveMode::NonRecursive) {
                tracing::warn!(%error, folder = %folder.display(), "cannot watch");
            }
        }
        self.folders = folders;
    }

    fn forget_folders(&mut self) {
        self.change_folders(BTreeSet::new());
    }

    fn look(&mut self) {
        for (path, before) in &mut self.files {
            let now = Fingerprint::of(path);
            if now.content() != before.content() {
                self.shared.report(path);
            }
            *before = now;
        }
    }

    /// Without reading a file.
    fn differs_outwardly(&self) -> bool {
        self.files
            .iter()
            .any(|(path, before)| !before.is_still_outwardly(path))
    }
}
