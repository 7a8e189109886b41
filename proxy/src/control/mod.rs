//! The control thread: the only part that changes anything.
//!
//! Takes changes of files, signals and admin requests; gives published
//! snapshots and the stages of a drain. Whatever can fail is built aside, on a
//! blocking thread; what is refused leaves no trace but its reason. It never
//! touches a request.

pub mod admin;
mod checks;
mod endpoints;
mod generations;
mod inbox;
pub mod log;
pub mod log_target;
pub mod reload;
pub mod service;
pub mod signals;
pub mod status;
mod stop;
pub mod successor;
mod ticks;
pub mod upgrade;
pub mod versions;
mod watch;

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{mpsc, watch as watch_channel};
use tokio::task::{JoinError, JoinSet};

use crate::cluster::Resolver;
use crate::config::{Mistake, Mistakes, Name, Places};
use crate::health::Health;
use crate::jobs::{Jobs, Unready};
use crate::memory;
use crate::secrets::Secret;
use crate::snapshot::{Past, Published, Reason, Snapshot, Sockets, Standing, shared_limits};
use crate::state::{Decision, Verdict};
use crate::stats::Stats;
use crate::worker::{Drained, Stage};
use admin::{Command, Decide, ReloadOutcome};
use inbox::{Asked, Inbox};
use reload::{Candidate, Loader};
use signals::Signals;
use stop::Stop;
use successor::Program;
use versions::{Event, Versions};
use watch::Watch;

/// How a first lookup of host names may hold up a start or a reload.
const FIRST_LOOKUP: Duration = Duration::from_secs(5);

/// How often it is looked whether there is room for one more generation: the
/// last exchange of one tells nobody.
const ROOM_LOOK: Duration = Duration::from_secs(1);

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Everything under way was finished.
    Drained,
    /// So many connections were still open at the limit.
    CutOff(usize),
    /// A second signal came.
    AtOnce,
}

/// What the control loop works with.
pub struct Control {
    pub loader: Arc<Loader>,
    pub published: Arc<Published>,
    pub stage: watch_channel::Sender<Stage>,
    pub workers: Vec<JoinHandle<Drained>>,
    pub status: Arc<status::Status>,
    pub resolving: Resolving,
    pub health: Health,
    pub jobs: Jobs,
    pub versions: Versions,
    /// The process's log, if it is ours to set.
    pub log: Option<log::LogHandle>,
    /// What the first snapshot was read from.
    pub sources: Sources,
    /// How this process was started, if it is one that can be replaced.
    pub program: Option<Program>,
    pub admin: Option<admin::Serving>,
}

/// What a configuration was read from: what the watch looks after.
#[derive(Debug, Clone)]
pub struct Sources {
    files: Vec<PathBuf>,
    /// As in [`reload::Reading`].
    since: SystemTime,
}

impl Sources {
    pub fn of(reading: &reload::Reading) -> Self {
        Self {
            files: reload::files_of(&reading.attempt),
            since: reading.since,
        }
    }
}

/// Host names being resolved again and again, until their cluster is gone.
#[derive(Default)]
pub struct Resolving(JoinSet<()>);

impl Resolving {
    /// Asks every new cluster's names once, then goes on in the background.
    pub async fn add(&mut self, resolvers: Vec<Resolver>) {
        while self.0.try_join_next().is_some() {}
        let mut first = JoinSet::new();
        for mut resolver in resolvers {
            first.spawn_local(async move {
                for failure in resolver.refresh().await {
                    let source: &dyn std::error::Error = &failure.source;
                    tracing::warn!(error = source, "{failure}");
                }
                resolver
            });
        }
        let until = tokio::time::Instant::now() + FIRST_LOOKUP;
        while let Ok(Some(done)) = tokio::time::timeout_at(until, first.join_next()).await {
            if let Ok(resolver) = done {
                self.0.spawn_local(resolver.run());
            }
        }
        // A name server that is slower than that is asked in the background.
        if !first.is_empty() {
            tracing::warn!("host names are still being resolved");
            self.0.spawn_local(async move {
                let mut late = JoinSet::new();
                while let Some(Ok(resolver)) = first.join_next().await {
                    late.spawn_local(resolver.run());
                }
                late.join_all().await;
            });
        }
    }
}

impl Control {
    /// Runs until a signal or a command ends it.
    pub async fn run(
        mut self,
        commands: mpsc::Receiver<Command>,
        signals: Option<Signals>,
    ) -> Ended {
        let mut inbox = Inbox::new(commands, signals, self.start_watch());
        // Ends with this.
        let mut ticking = JoinSet::new();
        ticking.spawn_local(ticks::run(self.published.clone()));
        self.sweep_cache();
        let why = loop {
            let published = self.published.load();
            let room = room(&self.published, &self.status);
            let asked = tokio::select! {
                asked = inbox.next(room) => asked,
                event = self.versions.event(&published) => {
                    self.act(event).await;
                    continue;
                }
            };
            drop(published);
            let (why, replies) = match asked {
                Asked::Upgrade { reply } => match self.upgrade(&mut inbox, reply).await {
                    Some(false) => continue,
                    Some(true) => break Stop::HandedOver,
                    None => break Stop::Asked,
                },
                Asked::Decide(decide) => {
                    self.decide(decide).await;
                    continue;
                }
                Asked::Reload { why, replies } => (why, replies),
                Asked::Look(files) => match self.look(&files, &mut inbox).await {
                    Some(Looked::ForReload) => ("a file changed", Vec::new()),
                    Some(Looked::AtSecrets) => continue,
                    None => break Stop::Asked,
                },
                Asked::Drain => break Stop::Asked,
            };
            let Some(outcome) = self.reload(why, &mut inbox).await else {
                tracing::info!(why, "a reload was given up to drain");
                break Stop::Asked;
            };
            for reply in replies {
                // Who asked may have gone away meanwhile.
                reply.send(outcome.clone()).ok();
            }
        };
        self.stop(why, inbox).await
    }

    fn start_watch(&self) -> Option<Watch> {
        let Sources { files, since } = self.sources.clone();
        match Watch::start(files, since) {
            Ok(watch) => Some(watch),
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "files are not watched; SIGHUP and `lockgate reload` still work"
                );
                None
            }
        }
    }

    /// Secrets and files of endpoints change without a reload: everybody sees what is new at
    /// once, and no generation ends. Any other file is one that a configuration is made of. `None`
    /// if a drain was asked for before.
    async fn look(&self, files: &[PathBuf], inbox: &mut Inbox) -> Option<Looked> {
        let published = self.published.load();
        let secrets = published.secrets.clone();
        let is_secret = |file: &PathBuf| {
            let mut files = secrets.iter().filter_map(|secret| secret.file());
            files.any(|known| known == file)
        };
        for cluster in &published.clusters {
            if files.iter().any(|file| cluster.config.has_file(file)) {
                cluster.files_changed.notify_one();
            }
        }
        let is_of_endpoints = |file: &PathBuf| {
            let mut clusters = published.clusters.iter();
            clusters.any(|cluster| cluster.config.has_file(file))
        };
        let is_looked_at = |file: &PathBuf| is_secret(file) || is_of_endpoints(file);
        let looked = match !inbox.is_to_mend() && files.iter().all(is_looked_at) {
            true => Looked::AtSecrets,
            false => Looked::ForReload,
        };
        let reading = tokio::task::spawn_blocking(move || read_again(&secrets));
        tokio::select! {
            biased;
            () = inbox.drain() => None,
            read = reading => {
                if let Err(error) = read {
                    tracing::error!(%error, "secrets could not be read again");
                }
                Some(looked)
            }
        }
    }

    /// Builds aside and publishes, or changes nothing and says why. `None` if
    /// a drain was asked for before: what was built is dropped then.
    async fn reload(&mut self, why: &'static str, inbox: &mut Inbox) -> Option<ReloadOutcome> {
        let began = Instant::now();
        service::reloads();
        let (before, prepared) = loop {
            let before = self.published.load();
            let past = self.versions.past();
            let prepare = prepare(
                &self.loader,
                &self.status,
                &mut self.resolving,
                &self.jobs,
                &before,
                past,
            );
            tokio::select! {
                biased;
                () = inbox.drain() => return None,
                prepared = prepare => break (before, prepared),
                // What was built so far knows nothing of that, so it is built again.
                event = self.versions.event(&before) => self.act(event).await,
            }
        };
        inbox.owe(matches!(prepared, Err(Refused::Full(_))));
        if prepared.is_err() {
            self.versions.refused(&before);
        }
        let outcome = match prepared {
            Ok((candidate, sources)) => {
                inbox.watch_only(sources);
                let outcome = self.publish(candidate, &before);
                self.jobs.publish().await;
                outcome
            }
            Err(Refused::Bad(mistakes, sources)) => {
                inbox.watch_also(sources);
                ReloadOutcome::refused(&before, &mistakes)
            }
            Err(Refused::Full(mistake) | Refused::Failed(mistake)) => {
                ReloadOutcome::refused(&before, &mistake.into())
            }
        };
        self.status.record(&outcome, why, began.elapsed());
        self.sweep_cache();
        memory::give_back();
        service::serves();
        Some(outcome)
    }

    /// Away from this thread, which waits for no disk.
    fn sweep_cache(&self) {
        let records = self.versions.past().records;
        if let Some(sweep) = self.loader.sweep(&self.published.load(), &records) {
            tokio::task::spawn_blocking(sweep);
        }
    }

    fn publish(&mut self, prepared: Prepared, before: &Snapshot) -> ReloadOutcome {
        let Prepared {
            snapshot,
            mut warnings,
        } = prepared;
        warnings.extend(self.status.only_from_next_start(&snapshot.config));
        if let Some(log) = &self.log
            && let Err(error) = log.apply(&snapshot.config.log)
        {
            warnings.push(error.to_string());
        }
        warnings.extend(snapshot.standings.iter().map(ToString::to_string));
        let outcome = ReloadOutcome::published(&snapshot, before, warnings);
        self.serve(snapshot);
        outcome
    }

    /// Exchanges that begin from now on run by this.
    fn serve(&mut self, snapshot: Arc<Snapshot>) {
        serve_shared(&snapshot, &self.loader.stats);
        for socket in self.published.load().sockets() {
            if !snapshot.sockets().any(|kept| Arc::ptr_eq(kept, socket)) {
                socket.let_go();
            }
        }
        self.published.publish(snapshot.clone());
        self.health.follow(&snapshot.clusters);
        self.versions.published(&snapshot, Instant::now());
        self.status.show(&snapshot);
    }

    /// Serves at once, and lets jobs follow.
    async fn go_on_with(&mut self, next: Snapshot) {
        let next = Arc::new(next);
        self.serve(next.clone());
        self.jobs.follow(&next).await;
    }

    /// Does what a filter's versions call for. No file is read.
    async fn act(&mut self, event: Event) {
        match event {
            Event::Fallen { filter, why } => self.fall_back(&filter, &why).await,
            Event::Decided { filter, decision } => self.end_trial(&filter, &decision).await,
        }
    }

    /// Decides about a canary because somebody asked for it.
    async fn decide(&mut self, decide: Decide) {
        let before = self.published.load();
        let Decide {
            filter,
            verdict,
            canary,
            reply,
        } = decide;
        let seen = canary.as_deref();
        let event = self.versions.decide(&filter, verdict, seen, &before);
        let outcome = match event {
            Ok(event) => {
                self.act(event).await;
                ReloadOutcome::published(&self.published.load(), &before, Vec::new())
            }
            Err(error) => ReloadOutcome {
                ok: false,
                generation: before.generation,
                mistakes: vec![error.to_string()],
                ..ReloadOutcome::default()
            },
        };
        // Who asked may have gone away meanwhile.
        reply.send(outcome).ok();
    }

    /// Ends the trial of a canary, with it in the filter's place or without it.
    async fn end_trial(&mut self, filter: &Name, decision: &Decision) {
        let mut next = self.published.load().next();
        let tried = next.without_canary(filter);
        let canary = tried.as_ref().map(|(canary, _)| canary.clone());
        let reason = match decision.verdict {
            Verdict::Promoted => Reason::Promoted,
            Verdict::Aborted => Reason::Aborted,
        };
        if let (Reason::Promoted, Some((canary, origin))) = (reason, tried) {
            next.replace(&canary, origin);
        }
        let standing = Standing {
            filter: filter.clone(),
            reason,
            why: vec![decision.why.clone()],
        };
        tracing::warn!(
            why = decision.why,
            canary = canary.map(|canary| canary.module().digest().to_owned()),
            "{standing}"
        );
        next.note(standing);
        self.go_on_with(next).await;
    }

    /// Puts the last good version of a filter in the place of one that failed.
    async fn fall_back(&mut self, filter: &Name, why: &str) {
        let current = self.published.load();
        let (loader, past) = (self.loader.clone(), self.versions.past());
        let (name, known) = (filter.clone(), current.clone());
        let good = tokio::task::spawn_blocking(move || loader.good(&name, &known, &past));
        let Ok(Some((good, origin))) = good.await else {
            tracing::error!(
                %filter,
                why,
                "a new version fails, and there is no good one to go back to; `on_error` applies"
            );
            return;
        };
        let standing = Standing {
            filter: filter.clone(),
            reason: Reason::FellBack,
            why: vec![why.to_owned()],
        };
        tracing::error!(
            why,
            from = current.filter(filter).map(|bad| bad.module().digest()),
            to = good.module().digest(),
            "{standing}"
        );
        let mut next = current.next();
        next.replace(&good, origin);
        next.without_canary(filter);
        next.note(standing);
        self.go_on_with(next).await;
    }
}

/// What filters share and what they measure outlives a reload; its limits and its form
/// begin with it.
pub fn serve_shared(snapshot: &Snapshot, stats: &Stats) {
    // The last one of a name is the one that is told of.
    let versions = snapshot.canaries.iter().chain(&snapshot.filters);
    for filter in versions {
        stats.tell_guest(filter.name(), filter.metrics());
        if let Some(store) = filter.shared() {
            let limits = shared_limits(filter.block());
            let format = filter.module().format();
            stats
                .shared
                .serve(filter.name(), format, store, limits, Instant::now());
        }
    }
}

/// Everything that takes its time. Dropping the future leaves the building
/// thread to itself, and what it makes is dropped when it comes to its end.
async fn prepare(
    loader: &Arc<Loader>,
    status: &status::Status,
    resolving: &mut Resolving,
    jobs: &Jobs,
    before: &Arc<Snapshot>,
    past: Past,
) -> Result<(Prepared, Sources), Refused> {
    if let Some(reason) = full(status, before) {
        return Err(Refused::full(&before.config.places, reason));
    }
    let (loader, known) = (loader.clone(), before.clone());
    let built = tokio::task::spawn_blocking(move || build(&loader, &known, &past));
    let (candidate, sources) = match built.await {
        Ok(built) => built?,
        Err(error) => return Err(Refused::failed(&before.config.places, &error)),
    };
    resolving.add(candidate.resolvers).await;
    let unready = jobs.prepare(&candidate.snapshot).await;
    let warnings = candidate.warnings.iter().map(Mistake::to_string);
    let warnings = warnings.chain(unready.iter().map(Unready::to_string));
    let prepared = Prepared {
        warnings: warnings.collect(),
        snapshot: Arc::new(candidate.snapshot),
    };
    Ok((prepared, sources))
}

/// Ends when there may be one more generation.
async fn room(published: &Published, status: &status::Status) {
    while full(status, &published.load()).is_some() {
        tokio::time::sleep(ROOM_LOOK).await;
    }
}

/// Why there may be no further generation now.
fn full(status: &status::Status, current: &Snapshot) -> Option<String> {
    status
        .generations()
        .full(current.config.max_generations.get())
}

/// Reads, checks and builds. Blocking.
fn build(loader: &Loader, before: &Snapshot, past: &Past) -> Result<(Candidate, Sources), Refused> {
    let reading = reload::read_to_watch(&loader.path);
    let sources = Sources::of(&reading);
    // What changed before that was read is no news to the watch, whatever comes of
    // this reload.
    read_again(&before.secrets);
    match loader.build_attempt(reading.attempt, Some(before), past, Sockets::Bind) {
        Ok(candidate) => Ok((candidate, sources)),
        Err(mistakes) => Err(Refused::Bad(mistakes, sources)),
    }
}

/// Blocking.
fn read_again(secrets: &[Arc<Secret>]) {
    secrets.iter().for_each(|secret| secret.read_again());
}

/// What came of looking at files that changed.
enum Looked {
    /// They were secrets, or files of endpoints, and nothing else.
    AtSecrets,
    /// A configuration is made of them.
    ForReload,
}

/// What only has to be published.
struct Prepared {
    snapshot: Arc<Snapshot>,
    warnings: Vec<String>,
}

/// Why nothing was published.
#[derive(Debug)]
enum Refused {
    /// With what was read, where it may be mended.
    Bad(Mistakes, Sources),
    /// There is no room for one more generation yet.
    Full(Mistake),
    /// The building thread panicked.
    Failed(Mistake),
}

impl Refused {
    fn full(places: &Places, reason: String) -> Self {
        let mistake = Mistake::at(places, "/max_generations", reason, "fewer live generations");
        Self::Full(mistake.with_hint(Some("it is loaded as soon as there is room".into())))
    }

    fn failed(places: &Places, error: &JoinError) -> Self {
        let found = format!("a configuration that cannot be built: {error}");
        let mistake = Mistake::at(places, "", found, "one that can");
        Self::Failed(mistake.with_hint(Some("a fault of Lockgate's own; please report it".into())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_while_building_is_a_refusal() {
        let building = tokio::task::spawn_blocking(|| panic!("out of luck"));
        let built: Result<(), JoinError> = building.await;
        let error = built.unwrap_err();
        let Refused::Failed(mistake) = Refused::failed(&Places::default(), &error) else {
            panic!("another refusal");
        };
        let told = mistake.to_string();
        assert!(told.contains("out of luck"), "{told}");
        assert!(told.contains("please report"), "{told}");
    }
}
