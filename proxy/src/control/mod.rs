//! The control thread: the only part that changes anything.
//!
//! Takes changes of files, signals and admin requests; gives published
//! snapshots and the stages of a drain. Whatever can fail is built aside, on a
//! blocking thread; what is refused leaves no trace but its reason. It never
//! touches a request.

pub mod admin;
mod generations;
pub mod log;
pub mod reload;
pub mod signals;
pub mod status;
mod watch;

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{mpsc, watch as watch_channel};
use tokio::task::JoinSet;

use crate::cluster::Resolver;
use crate::config::{Mistake, Mistakes};
use crate::snapshot::{Published, Snapshot, Sockets};
use crate::worker::{Drained, Stage};
use admin::{Command, ReloadOutcome};
use reload::{Candidate, Loader};
use signals::{Signal, Signals};
use watch::Watch;

/// How a first lookup of host names may hold up a start or a reload.
const FIRST_LOOKUP: Duration = Duration::from_secs(5);

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
    /// The process's log, if it is ours to set.
    pub log: Option<log::LogHandle>,
    /// What the first snapshot was read from.
    pub sources: Sources,
}

/// What a configuration was read from: what the watch looks after.
#[derive(Clone)]
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
        mut commands: mpsc::Receiver<Command>,
        mut signals: Option<Signals>,
    ) -> Ended {
        let mut watch = self.start_watch();
        loop {
            tokio::select! {
                command = commands.recv() => match command {
                    Some(Command::Reload { reply }) => {
                        let outcome = self.reload("asked for", &mut watch).await;
                        // Who asked may have gone away meanwhile.
                        reply.send(outcome).ok();
                    }
                    Some(Command::Drain) | None => break,
                },
                () = changed(&mut watch) => {
                    self.reload("a file changed", &mut watch).await;
                }
                signal = next_signal(&mut signals) => match signal {
                    Signal::Reload => {
                        self.reload("SIGHUP", &mut watch).await;
                    }
                    Signal::Drain => break,
                },
            }
        }
        self.drain(&mut commands, signals).await
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

    /// Builds aside and publishes, or changes nothing and says why.
    async fn reload(&mut self, why: &'static str, watch: &mut Option<Watch>) -> ReloadOutcome {
        let began = Instant::now();
        let before = self.published.load();
        let outcome = match self.candidate(before.clone()).await {
            Ok((candidate, sources)) => {
                let outcome = self.publish(candidate, &before).await;
                if let Some(watch) = watch {
                    watch.replace(sources.files, sources.since);
                }
                outcome
            }
            Err(Refused { mistakes, sources }) => {
                if let (Some(watch), Some(sources)) = (watch, sources) {
                    watch.also(sources.files, sources.since);
                }
                ReloadOutcome::refused(&before, &mistakes)
            }
        };
        self.status.record(&outcome, why, began.elapsed());
        outcome
    }

    async fn candidate(&mut self, before: Arc<Snapshot>) -> Result<(Candidate, Sources), Refused> {
        if let Some(reason) = self
            .status
            .generations()
            .full(before.config.max_generations.get())
        {
            return Err(Refused::because(&before, reason));
        }
        let loader = self.loader.clone();
        let built = tokio::task::spawn_blocking(move || {
            let reading = reload::read_to_watch(&loader.path);
            let sources = Sources::of(&reading);
            let built = reading
                .attempt
                .outcome
                .and_then(|loaded| loader.build(loaded, Some(&before), Sockets::Bind));
            match built {
                Ok(candidate) => Ok((candidate, sources)),
                Err(mistakes) => Err(Refused {
                    mistakes,
                    sources: Some(sources),
                }),
            }
        });
        built.await.expect("building a snapshot does not panic")
    }

    async fn publish(&mut self, candidate: Candidate, before: &Snapshot) -> ReloadOutcome {
        let Candidate {
            snapshot,
            warnings,
            resolvers,
        } = candidate;
        self.resolving.add(resolvers).await;
        let snapshot = Arc::new(snapshot);
        let mut warnings: Vec<_> = warnings.iter().map(Mistake::to_string).collect();
        warnings.extend(status::only_at_start(&before.config, &snapshot.config));
        if let Some(log) = &self.log
            && let Err(error) = log.apply(&snapshot.config.log)
        {
            warnings.push(error.to_string());
        }
        let outcome = ReloadOutcome::published(&snapshot, before, warnings);
        self.published.publish(snapshot.clone());
        self.status.show(&snapshot);
        outcome
    }

    async fn drain(
        self,
        commands: &mut mpsc::Receiver<Command>,
        mut signals: Option<Signals>,
    ) -> Ended {
        let snapshot = self.published.load();
        let limit = snapshot.config.drain_timeout;
        tracing::info!(?limit, "draining");
        self.status.drain(&snapshot);
        drop(snapshot);
        commands.close();
        self.stage.send_replace(Stage::Draining {
            until: Instant::now() + limit,
        });
        let workers = self.workers;
        let joined = tokio::task::spawn_blocking(move || {
            workers
                .into_iter()
                .map(JoinHandle::join)
                .collect::<Vec<_>>()
        });
        tokio::select! {
            joined = joined => ended(joined.unwrap_or_default()),
            () = second_drain(&mut signals) => {
                tracing::warn!("ending at once: a second signal came");
                Ended::AtOnce
            }
        }
    }
}

fn ended(workers: Vec<std::thread::Result<Drained>>) -> Ended {
    let mut open = 0;
    for worker in workers {
        match worker {
            Ok(Drained::Clean) => {}
            Ok(Drained::CutOff(count)) => open += count,
            Err(_) => tracing::error!("a worker panicked"),
        }
    }
    match open {
        0 => {
            tracing::info!("drained");
            Ended::Drained
        }
        open => {
            tracing::warn!(open, "the drain limit was reached with connections open");
            Ended::CutOff(open)
        }
    }
}

/// Why nothing was published, and which files might mend it.
struct Refused {
    mistakes: Mistakes,
    sources: Option<Sources>,
}

impl Refused {
    fn because(before: &Snapshot, reason: String) -> Self {
        let mistake = Mistake::at(
            &before.config.places,
            "/max_generations",
            reason,
            "fewer live generations",
        );
        Self {
            mistakes: mistake.into(),
            sources: None,
        }
    }
}

async fn changed(watch: &mut Option<Watch>) {
    match watch {
        Some(watch) => drop(watch.changed().await),
        None => std::future::pending().await,
    }
}

async fn next_signal(signals: &mut Option<Signals>) -> Signal {
    match signals {
        Some(signals) => signals.next().await,
        None => std::future::pending().await,
    }
}

/// A reload makes no sense any more; only being asked to stop again does.
async fn second_drain(signals: &mut Option<Signals>) {
    while next_signal(signals).await != Signal::Drain {}
}
