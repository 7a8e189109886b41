//! From the files on disk to a snapshot that could be published. `check`, a
//! start and a reload take this same road.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::checks::{self, Failed};
use super::log_target;
use super::watch::changed_since;
use crate::cache;
use crate::cluster::Resolver;
use crate::components::{self, Components};
use crate::config::{self, ComponentSource, Config, Draft, Mistake, Mistakes};
use crate::digest::Digest;
use crate::filter::{Compiler, EngineOptions, FilterEngine, LoadedFilter};
use crate::listener::Inherited;
use crate::snapshot::lock::{self, Lock};
use crate::snapshot::{Builder, Origin, Past, Snapshot, Sockets};
use crate::state::{Folder, Records};
use crate::stats::Stats;

/// A configuration with everything it needs, not yet published.
pub struct Candidate {
    pub snapshot: Snapshot,
    pub warnings: Vec<Mistake>,
    /// Of the clusters that have host names, already asked once.
    pub resolvers: Vec<Resolver>,
}

/// What stays the same from one reload to the next.
pub struct Loader {
    pub path: PathBuf,
    pub engine: Arc<FilterEngine>,
    pub components: Components,
    pub cache_dir: Option<PathBuf>,
    pub stats: Arc<Stats>,
    pub workers: usize,
    /// Sockets that the process was started with.
    pub inherited: Inherited,
    /// Where what is known of filter versions outlives the process.
    pub state: Option<Arc<Folder>>,
    /// Whether a start is refused in which another version would stand in for a bad one.
    pub strict: bool,
}

/// Reads and checks a configuration file.
pub fn attempt(path: &Path) -> config::Attempt {
    config::attempt(path, &|name| std::env::var(name).ok())
}

/// The clock of file systems goes on by ticks of up to 10 ms, so a file that
/// has just been written may bear a time that is past.
const CLOCK_LAG: Duration = Duration::from_millis(15);

/// A configuration as read for a start or a reload.
pub struct Reading {
    pub attempt: config::Attempt,
    /// A file that bears this time or a later one may have changed after it was
    /// read, and none that bears an earlier one.
    pub since: SystemTime,
}

/// Reads a configuration file so that later changes can be told from what was
/// read. Files written at this very moment are read again a moment later.
pub fn read_to_watch(path: &Path) -> Reading {
    let reading = read_now(path);
    if !changed_since(&files_of(&reading.attempt), reading.since) {
        return reading;
    }
    std::thread::sleep(CLOCK_LAG);
    read_now(path)
}

fn read_now(path: &Path) -> Reading {
    let since = SystemTime::now() - CLOCK_LAG;
    let attempt = attempt(path);
    Reading { attempt, since }
}

/// Everything that a configuration is read from, or would be with one file more.
pub fn files_of(attempt: &config::Attempt) -> Vec<PathBuf> {
    let folders = attempt
        .folders
        .iter()
        .map(|folder| match folder.as_os_str() {
            none if none.is_empty() => PathBuf::from("."),
            _ => folder.clone(),
        });
    let filters = attempt
        .outcome
        .iter()
        .flat_map(|loaded| &loaded.config.filters);
    let sources = filters.flat_map(|filter| {
        let canary = filter.canary.as_ref().map(|canary| &canary.component);
        let shadow = filter.shadow.as_ref().map(|shadow| &shadow.component);
        std::iter::once(&filter.component)
            .chain(canary)
            .chain(shadow)
    });
    let components = sources.flat_map(|component| match component {
        ComponentSource::File(path) => {
            let signatures = components::signatures_of(path);
            std::iter::once(path.clone()).chain(signatures).collect()
        }
        ComponentSource::Shipped(_) | ComponentSource::Registry(..) => Vec::new(),
    });
    let files = attempt.files.iter().chain(&attempt.read_files).cloned();
    let lock = attempt.files.first().map(|path| lock::path_of(path));
    files.chain(folders).chain(components).chain(lock).collect()
}

/// The engine that a configuration asks for; its settings hold for the process.
pub fn start_engine(
    config: &Config,
    compiler: Compiler,
) -> Result<Arc<FilterEngine>, crate::filter::StartError> {
    FilterEngine::start(EngineOptions {
        cache_dir: cache_dir(config),
        max_instances: EngineOptions::instances_for(config.workers.get()),
        compiler,
    })
}

/// Components, with the cache that a configuration asks for, for the process too.
pub fn start_components(config: &Config) -> Components {
    Components::new(cache_dir(config).as_deref())
}

/// Where a process that starts by this configuration keeps components.
pub fn cache_dir(config: &Config) -> Option<PathBuf> {
    config.cache_dir.clone().or_else(default_cache_dir)
}

/// Everything that is wrong with a file that is refused before anything runs.
pub fn refuse(path: &Path, mistakes: Mistakes, draft: Option<Draft>) -> Mistakes {
    // Without an engine no filter can be asked, and what is known is told.
    let engine =
        draft.and_then(|draft| Some((start_engine(&draft.config, Compiler::Here).ok()?, draft)));
    let Some((engine, draft)) = engine else {
        return mistakes;
    };
    Loader::to_look(path, engine, &draft.config).refuse(mistakes, &draft, None, &Past::default())
}

impl Loader {
    /// One that builds what is not to be served.
    pub fn to_look(path: &Path, engine: Arc<FilterEngine>, config: &Config) -> Self {
        Self {
            path: path.to_owned(),
            engine,
            components: start_components(config),
            cache_dir: cache_dir(config),
            stats: Stats::new(1),
            workers: 1,
            inherited: Inherited::default(),
            state: None,
            strict: true,
        }
    }

    /// As [`Loader::build`], whatever came of reading the file.
    pub fn build_attempt(
        &self,
        attempt: config::Attempt,
        before: Option<&Snapshot>,
        past: &Past,
        sockets: Sockets,
    ) -> Result<Candidate, Mistakes> {
        match (attempt.outcome, attempt.draft) {
            (Ok(loaded), _) => self.build(loaded, before, past, sockets),
            (Err(mistakes), Some(draft)) => Err(self.refuse(mistakes, &draft, before, past)),
            (Err(mistakes), None) => Err(mistakes),
        }
    }

    /// Every mistake of a file that is refused, those included that its filters
    /// find. Blocking.
    fn refuse(
        &self,
        mistakes: Mistakes,
        draft: &Draft,
        before: Option<&Snapshot>,
        past: &Past,
    ) -> Mistakes {
        let more = match self.lock(&draft.config) {
            Ok(lock) => {
                let builder = self.builder(past, Sockets::Leave, lock.as_ref());
                builder.check(draft, before)
            }
            Err(mistake) => vec![mistake],
        };
        mistakes.with(more, &draft.config.files)
    }

    /// What the filters of this configuration may want, where that was written down.
    fn lock(&self, config: &Config) -> Result<Option<Lock>, Mistake> {
        lock::read(&self.path).map_err(|found| {
            let wanted = "what `lockgate filter lock` wrote, or no such file";
            Mistake::at(&config.places, "/filters", found, wanted)
        })
    }

    fn builder<'a>(
        &'a self,
        past: &'a Past,
        sockets: Sockets,
        lock: Option<&'a Lock>,
    ) -> Builder<'a> {
        Builder {
            engine: &self.engine,
            components: &self.components,
            stats: &self.stats,
            shipped: crate::shipped::SHIPPED,
            workers: self.workers,
            sockets,
            inherited: &self.inherited,
            state: self.state.as_deref(),
            past,
            lock,
            strict: self.strict,
        }
    }

    /// Everything that can fail, up to but without publishing. Blocking.
    pub fn build(
        &self,
        loaded: config::Loaded,
        before: Option<&Snapshot>,
        past: &Past,
        sockets: Sockets,
    ) -> Result<Candidate, Mistakes> {
        let lock = self.lock(&loaded.config).map_err(Mistakes::from)?;
        let mut candidate = self.build_by(lock.as_ref(), loaded, before, past, sockets)?;
        // Others may stand in for the versions in the file.
        let lock = lock.as_ref();
        let mut mistakes = lock.map_or_else(Vec::new, |lock| lock.check(&candidate.snapshot));
        // A filter that may not be loaded is not run either.
        if mistakes.is_empty() {
            mistakes = self.check(&mut candidate, before, past);
        }
        if let Some(before) = before {
            candidate.snapshot.go_on_comparing(before);
        }
        let files = &candidate.snapshot.config.files;
        match Mistakes::of(config::in_order(mistakes, files)) {
            Some(mistakes) => Err(mistakes),
            None => Ok(candidate),
        }
    }

    /// Runs the checks of filters. One that fails is as one that cannot be built.
    fn check(
        &self,
        candidate: &mut Candidate,
        before: Option<&Snapshot>,
        past: &Past,
    ) -> Vec<Mistake> {
        let builder = self.builder(past, Sockets::Leave, None);
        let mut refused = Vec::new();
        for Failed { filter, mistakes } in checks::run(&candidate.snapshot, before) {
            match builder.instead(&filter, &candidate.snapshot, before) {
                Some(instead) => {
                    candidate.snapshot.put_instead(&instead, &mistakes);
                    candidate.warnings.extend(mistakes);
                }
                None => refused.extend(mistakes),
            }
        }
        refused
    }

    /// The last good version of a filter of this snapshot, built once more where it
    /// is not in memory. Blocking.
    pub fn good(
        &self,
        filter: &str,
        snapshot: &Snapshot,
        past: &Past,
    ) -> Option<(Arc<LoadedFilter>, Origin)> {
        let builder = self.builder(past, Sockets::Leave, None);
        builder.good_for(filter, snapshot)
    }

    /// Keeps the cache within its bound, with everything that this snapshot or a last
    /// good version needs. Gives the work, which blocks.
    pub fn sweep(
        &self,
        snapshot: &Snapshot,
        records: &Records,
    ) -> Option<impl FnOnce() + Send + use<>> {
        let folder = self.cache_dir.clone()?;
        let good = records.filters.values();
        let good = good.filter_map(|record| {
            let digest = &record.good.as_ref()?.digest;
            Digest::read(&format!("sha256:{digest}"))
        });
        let serving = snapshot.filters.iter().chain(&snapshot.canaries);
        let compiled = good.chain(serving.map(|version| *version.module().component()));
        let mut needed = snapshot.kept.clone();
        needed.extend(compiled.filter_map(|digest| self.engine.kept(&digest)));
        let most = snapshot.config.max_cache_bytes;
        Some(move || {
            let removed = cache::sweep(&folder, most, &needed);
            if removed > 0 {
                tracing::info!(
                    folder = %folder.display(),
                    bytes = removed,
                    "removed from the cache what was not used for longest"
                );
            }
        })
    }

    /// The same, whatever the filters want, and without their checks.
    pub fn build_unlocked(
        &self,
        loaded: config::Loaded,
        before: Option<&Snapshot>,
        past: &Past,
        sockets: Sockets,
    ) -> Result<Candidate, Mistakes> {
        self.build_by(None, loaded, before, past, sockets)
    }

    fn build_by(
        &self,
        lock: Option<&Lock>,
        loaded: config::Loaded,
        before: Option<&Snapshot>,
        past: &Past,
        sockets: Sockets,
    ) -> Result<Candidate, Mistakes> {
        let unusable = log_target::check(&loaded.config);
        let mut built = self
            .builder(past, sockets, lock)
            .build(Arc::new(loaded.config), before);
        if let Some(mistake) = unusable {
            let mut mistakes = built.err().unwrap_or_default();
            mistakes.push(mistake);
            built = Err(mistakes);
        }
        let built =
            built.map_err(|mistakes| Mistakes::of(mistakes).expect("a refusal has a reason"))?;
        let mut warnings = loaded.warnings;
        warnings.extend(built.warnings);
        let known = |cluster| {
            before.is_some_and(|before| {
                before
                    .clusters
                    .iter()
                    .any(|known| Arc::ptr_eq(known, cluster))
            })
        };
        let resolvers = built
            .snapshot
            .clusters
            .iter()
            .filter(|cluster| !known(cluster))
            .filter_map(|cluster| Resolver::new(cluster, &built.snapshot.config.dns))
            .collect();
        Ok(Candidate {
            snapshot: built.snapshot,
            warnings,
            resolvers,
        })
    }
}

/// A folder for this configuration alone, in that of the service manager or of the
/// user.
pub fn default_state_dir(config: &Path) -> Option<PathBuf> {
    let folder = |name| std::env::var_os(name).map(PathBuf::from);
    let absolute = |path: &PathBuf| path.is_absolute();
    let state = folder("STATE_DIRECTORY").filter(absolute);
    let state = state.or_else(|| {
        let user = folder("XDG_STATE_HOME").filter(absolute);
        let home = || folder("HOME").filter(absolute);
        let user = user.or_else(|| home().map(|home| home.join(".local/state")));
        user.map(|user| user.join("lockgate"))
    })?;
    let config = std::path::absolute(config).ok()?;
    let digest = Digest::of(config.as_os_str().as_encoded_bytes()).hex();
    let stem = config.file_stem().unwrap_or_default().to_string_lossy();
    Some(state.join(format!("{stem}-{}", &digest[..12])))
}

/// `$XDG_CACHE_HOME/lockgate` or `~/.cache/lockgate`.
pub fn default_cache_dir() -> Option<PathBuf> {
    let folder = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    folder("XDG_CACHE_HOME")
        .or_else(|| folder("HOME").map(|home| home.join(".cache")))
        .map(|cache| cache.join("lockgate"))
}
