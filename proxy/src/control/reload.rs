//! From the files on disk to a snapshot that could be published. `check`, a
//! start and a reload take this same road.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::watch::changed_since;
use super::{lock, log_target};
use crate::cluster::Resolver;
use crate::components::{self, Components};
use crate::config::{self, ComponentSource, Config, Draft, Mistake, Mistakes};
use crate::filter::{Compiler, EngineOptions, FilterEngine};
use crate::snapshot::{Builder, Snapshot, Sockets};
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
    pub stats: Arc<Stats>,
    pub workers: usize,
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
    let components = filters.flat_map(|filter| match &filter.component {
        ComponentSource::File(path) => vec![path.clone(), components::signature_of(path)],
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
        compiler,
        ..EngineOptions::default()
    })
}

/// Components, with the cache that a configuration asks for, for the process too.
pub fn start_components(config: &Config) -> Components {
    Components::new(cache_dir(config).as_deref())
}

fn cache_dir(config: &Config) -> Option<PathBuf> {
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
    let loader = Loader {
        path: path.to_owned(),
        engine,
        components: start_components(&draft.config),
        stats: Stats::new(1),
        workers: 1,
    };
    loader.refuse(mistakes, &draft, None)
}

impl Loader {
    /// As [`Loader::build`], whatever came of reading the file.
    pub fn build_attempt(
        &self,
        attempt: config::Attempt,
        before: Option<&Snapshot>,
        sockets: Sockets,
    ) -> Result<Candidate, Mistakes> {
        match (attempt.outcome, attempt.draft) {
            (Ok(loaded), _) => self.build(loaded, before, sockets),
            (Err(mistakes), Some(draft)) => Err(self.refuse(mistakes, &draft, before)),
            (Err(mistakes), None) => Err(mistakes),
        }
    }

    /// Every mistake of a file that is refused, those included that its filters
    /// find. Blocking.
    fn refuse(&self, mistakes: Mistakes, draft: &Draft, before: Option<&Snapshot>) -> Mistakes {
        let more = self.builder(Sockets::Leave).check(draft, before);
        mistakes.with(more, &draft.config.files)
    }

    fn builder(&self, sockets: Sockets) -> Builder<'_> {
        Builder {
            engine: &self.engine,
            components: &self.components,
            stats: &self.stats,
            shipped: crate::shipped::SHIPPED,
            workers: self.workers,
            sockets,
        }
    }

    /// Everything that can fail, up to but without publishing. Blocking.
    pub fn build(
        &self,
        loaded: config::Loaded,
        before: Option<&Snapshot>,
        sockets: Sockets,
    ) -> Result<Candidate, Mistakes> {
        let candidate = self.build_unlocked(loaded, before, sockets)?;
        let snapshot = &candidate.snapshot;
        let mistakes = match lock::read(&self.path) {
            Ok(lock) => lock.map_or_else(Vec::new, |lock| lock.check(snapshot)),
            Err(found) => {
                let wanted = "what `lockgate filter lock` wrote, or no such file";
                vec![Mistake::at(
                    &snapshot.config.places,
                    "/filters",
                    found,
                    wanted,
                )]
            }
        };
        match Mistakes::of(mistakes) {
            Some(mistakes) => Err(mistakes),
            None => Ok(candidate),
        }
    }

    /// The same, whatever the filters want.
    pub fn build_unlocked(
        &self,
        loaded: config::Loaded,
        before: Option<&Snapshot>,
        sockets: Sockets,
    ) -> Result<Candidate, Mistakes> {
        let unusable = log_target::check(&loaded.config);
        let mut built = self.builder(sockets).build(Arc::new(loaded.config), before);
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
            .filter_map(Resolver::new)
            .collect();
        Ok(Candidate {
            snapshot: built.snapshot,
            warnings,
            resolvers,
        })
    }
}

/// `$XDG_CACHE_HOME/lockgate` or `~/.cache/lockgate`.
fn default_cache_dir() -> Option<PathBuf> {
    let folder = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    folder("XDG_CACHE_HOME")
        .or_else(|| folder("HOME").map(|home| home.join(".cache")))
        .map(|cache| cache.join("lockgate"))
}
