//! Starting and stopping: the only file that sees every part.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

use anyhow::Context;
use tokio::sync::{mpsc, oneshot, watch};

use crate::config::{Admin, Config, ListenAddress, Mistake, Mistakes};
use crate::console::Exit;
use crate::control::admin::{self, AdminState, Command, ReloadOutcome};
use crate::control::log::{LogHandle, LogThread};
use crate::control::reload::{self, Candidate, Loader};
use crate::control::signals::Signals;
use crate::control::status::Status;
use crate::control::successor::{Predecessor, Program};
use crate::control::versions::Versions;
use crate::control::{self, Control, Ended, Resolving, Sources, log_target, service};
use crate::exchange::{AccessLog, AccessLogSink, AccessLogThread};
use crate::filter::Compiler;
use crate::health::Health;
use crate::jobs::Jobs;
use crate::listener::Inherited;
use crate::overload::{self, Load};
use crate::snapshot::{Published, Sockets};
use crate::state::Folder;
use crate::stats::Stats;
use crate::worker::{self, Stage, WorkerSetup};

/// Reloads and drains that may be waiting.
const COMMANDS: usize = 16;

/// How to start.
pub struct Options {
    config: PathBuf,
    signals: bool,
    log: bool,
    compiler: Compiler,
    strict: bool,
    /// Where no `state_dir` is configured.
    state_dir: Option<PathBuf>,
    inherited: Inherited,
    /// How the process was started, so that another can take its place.
    program: Option<Program>,
    predecessor: Option<Predecessor>,
}

impl Options {
    pub fn new(config: &Path) -> Self {
        Self {
            config: config.to_owned(),
            signals: false,
            log: false,
            compiler: Compiler::Here,
            strict: false,
            state_dir: None,
            inherited: Inherited::default(),
            program: None,
            predecessor: None,
        }
    }

    /// Refuse a start by a filter that cannot be built, though an earlier version
    /// of it was good.
    pub fn strict(mut self, strict: bool) -> Self {
        self.strict = strict;
        self
    }

    /// Let another process take this one's place, which is started as this one was.
    pub fn replaceable(mut self) -> Self {
        self.program = Program::of_this_process();
        self
    }

    /// Obey SIGHUP, SIGUSR2, SIGTERM and SIGINT, log as the configuration says, take the sockets
    /// that were passed, and compile in processes of this program, which has to be
    /// `lockgate`.
    pub fn as_process(mut self) -> anyhow::Result<Self> {
        let inherited = Inherited::from_environment();
        self.inherited = inherited.context("cannot take the sockets that were passed")?;
        self.predecessor = Predecessor::among(&self.inherited);
        self.signals = true;
        self.log = true;
        self.state_dir = reload::default_state_dir(&self.config);
        self.compiler = Compiler::this_program().context("cannot tell which program this is")?;
        Ok(self)
    }
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("{0}")]
    Config(Mistakes),
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

impl StartError {
    /// A line for each thing that is wrong.
    fn told(&self) -> Vec<String> {
        match self {
            Self::Config(mistakes) => mistakes.iter().map(ToString::to_string).collect(),
            Self::Other(error) => vec![format!("{error:#}")],
        }
    }
}

impl From<Mistake> for StartError {
    fn from(mistake: Mistake) -> Self {
        Self::Config(mistake.into())
    }
}

impl From<Ended> for Exit {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Drained | Ended::CutOff(_) => Exit::Good,
            Ended::AtOnce => Exit::Failed,
        }
    }
}

/// A running Lockgate. Dropping it leaves it running; see [`App::stop`].
pub struct App {
    control: JoinHandle<Ended>,
    commands: mpsc::Sender<Command>,
    published: Arc<Published>,
    status: Arc<Status>,
    access_log: Option<AccessLogThread>,
    /// Held as long as anybody may have something to say.
    _log: Option<LogThread>,
}

impl App {
    /// Starts everything and returns once it serves.
    pub fn start(mut options: Options) -> Result<Self, StartError> {
        let is_process = options.signals;
        let predecessor = Arc::new(Mutex::new(options.predecessor.take()));
        let started = Self::bring_up(options, &predecessor);
        let untold = predecessor.lock().ok().and_then(|mut one| one.take());
        match (&started, untold) {
            (Err(error), Some(predecessor)) => predecessor.refuse(error.told()),
            _ if is_process && started.is_ok() => service::serves(),
            _ => {}
        }
        started
    }

    fn bring_up(
        options: Options,
        predecessor: &Arc<Mutex<Option<Predecessor>>>,
    ) -> Result<Self, StartError> {
        let reading = reload::read_to_watch(&options.config);
        let sources = Sources::of(&reading);
        let draft = reading.attempt.draft;
        let refuse = |mistakes| reload::refuse(&options.config, mistakes, draft);
        let loaded = reading.attempt.outcome;
        let loaded = loaded.map_err(|mistakes| StartError::Config(refuse(mistakes)))?;
        let (process_log, log) = match options.log {
            true => Some(control::log::init(&loaded.config.log).map_err(anyhow::Error::new)?),
            false => None,
        }
        .unzip();
        let workers = loaded.config.workers.get();
        let stats = Stats::new(workers);
        if let Some(log) = &log {
            stats.process.count_lost(log.lost());
        }
        let engine =
            reload::start_engine(&loaded.config, options.compiler).map_err(anyhow::Error::new)?;
        let state_dir = loaded.config.state_dir.clone().or(options.state_dir);
        let state = state_dir.map(|path| Arc::new(Folder::new(path)));
        let versions = Versions::new(state.clone());
        let loader = Arc::new(Loader {
            path: options.config,
            engine,
            components: reload::start_components(&loaded.config),
            cache_dir: reload::cache_dir(&loaded.config),
            stats: stats.clone(),
            workers,
            inherited: options.inherited,
            state,
            strict: options.strict,
        });
        let candidate = loader
            .build(loaded, None, &versions.past(), Sockets::Bind)
            .map_err(StartError::Config)?;
        let config = &candidate.snapshot.config;
        let (sink, access_log) = AccessLogSink::open(&config.access_log.to, &stats)
            .map_err(|error| log_target::unopened(config, &error))?
            .unzip();
        let (commands, inbox) = mpsc::channel(COMMANDS);
        let (started, outcome) = std::sync::mpsc::channel();
        let control = std::thread::Builder::new()
            .name("control".to_owned())
            .spawn({
                let start = Start {
                    signals: options.signals,
                    process_log,
                    loader,
                    sources,
                    candidate,
                    sink,
                    stats,
                    versions,
                    commands: commands.clone(),
                    program: options.program,
                    predecessor: predecessor.clone(),
                };
                move || control_thread(start, inbox, started)
            })
            .map_err(anyhow::Error::new)?;
        let (published, status) = outcome
            .recv()
            .context("the control thread ended while starting")??;
        Ok(Self {
            control,
            commands,
            published,
            status,
            access_log,
            _log: log,
        })
    }

    /// The address that a listener is bound to, if on TCP.
    pub fn address(&self, listener: &str) -> Option<SocketAddr> {
        let snapshot = self.published.load();
        let listener = snapshot
            .listeners
            .iter()
            .find(|known| &*known.config.name == listener)?;
        match listener.socket.as_ref()?.address {
            ListenAddress::Tcp(address) => Some(address),
            ListenAddress::Unix(_) | ListenAddress::Systemd(_) => None,
        }
    }

    /// The address that the admin server is bound to, if on TCP.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.status.admin_address()
    }

    /// Reloads now; `None` if it is already stopping.
    pub fn reload(&self) -> Option<ReloadOutcome> {
        let (reply, outcome) = oneshot::channel();
        self.commands
            .blocking_send(Command::Reload { reply })
            .ok()?;
        outcome.blocking_recv().ok()
    }

    /// Waits until a signal or `stop` ends it.
    pub fn wait(self) -> Ended {
        drop(self.commands);
        let ended = self
            .control
            .join()
            .expect("the control thread does not panic");
        // At once, workers are not waited for, and they hold the access log.
        if ended != Ended::AtOnce
            && let Some(log) = self.access_log
            && !log.finish()
        {
            tracing::warn!("the end of the access log could not be written in time");
        }
        ended
    }

    /// Drains and waits for the end of it.
    pub fn stop(self) -> Ended {
        // It may be stopping already.
        self.commands.blocking_send(Command::Drain).ok();
        self.wait()
    }
}

/// What the control thread starts from.
struct Start {
    signals: bool,
    process_log: Option<LogHandle>,
    loader: Arc<Loader>,
    sources: Sources,
    candidate: Candidate,
    sink: Option<AccessLogSink>,
    stats: Arc<Stats>,
    versions: Versions,
    commands: mpsc::Sender<Command>,
    program: Option<Program>,
    /// Until it is told that this process could serve.
    predecessor: Arc<Mutex<Option<Predecessor>>>,
}

type Started = Result<(Arc<Published>, Arc<Status>), StartError>;

fn control_thread(
    start: Start,
    inbox: mpsc::Receiver<Command>,
    started: std::sync::mpsc::Sender<Started>,
) -> Ended {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            // `start` has no more to do than to wait for this.
            started.send(Err(anyhow::Error::new(error).into())).ok();
            return Ended::AtOnce;
        }
    };
    let tasks = tokio::task::LocalSet::new();
    let ended = tasks.block_on(&runtime, async {
        // Held, so that the loop does not end because nobody can command it.
        let _commands = start.commands.clone();
        match bring_up(start).await {
            Ok((control, signals)) => {
                started
                    .send(Ok((control.published.clone(), control.status.clone())))
                    .ok();
                control.run(inbox, signals).await
            }
            Err(error) => {
                started.send(Err(error)).ok();
                Ended::AtOnce
            }
        }
    });
    drop(tasks);
    // Dropping it would wait for workers that a second signal does not wait for.
    runtime.shutdown_background();
    ended
}

/// Everything but the loop: admin address, first publish, workers.
async fn bring_up(start: Start) -> Result<(Control, Option<Signals>), StartError> {
    let signals = start
        .signals
        .then(Signals::new)
        .transpose()
        .map_err(anyhow::Error::new)?;
    let mut resolving = Resolving::default();
    resolving.add(start.candidate.resolvers).await;
    let jobs = Jobs::start(start.stats.clone()).map_err(anyhow::Error::new)?;
    for warning in &start.candidate.warnings {
        tracing::warn!("{warning}");
    }
    for unready in jobs.prepare(&start.candidate.snapshot).await {
        tracing::warn!("{unready}");
    }
    let snapshot = Arc::new(start.candidate.snapshot);
    for standing in &snapshot.standings {
        let why = standing.why.join("; ");
        match standing.is_degraded() {
            true => tracing::error!(why, "degraded: {standing}"),
            false => tracing::info!(why, "{standing}"),
        }
    }
    let config = snapshot.config.clone();
    let mut versions = start.versions;
    let status = Status::new(start.stats.clone(), &snapshot, versions.known());
    let admin = match &config.admin {
        Some(admin) => {
            let state = status.admin_state(start.commands);
            let server = bind_admin(admin, &config, state, &start.loader)?;
            status.set_admin_address(server.address());
            Some(server)
        }
        None => None,
    };
    let predecessor = start.predecessor.lock().ok().and_then(|mut one| one.take());
    let told = match predecessor {
        Some(predecessor) => {
            let ready = predecessor.ready().await;
            Some(ready.context("the process before this one does not hand over")?)
        }
        None => None,
    };
    // Nothing that others see has changed until here.
    control::serve_shared(&snapshot, &start.stats);
    versions.published(&snapshot, Instant::now());
    for rest in start.loader.inherited.close_rest() {
        tracing::warn!("a socket that was passed to this process is no listener's: {rest}");
    }
    let published = Arc::new(Published::new(snapshot.clone()));
    jobs.publish().await;
    let mut health = Health::default();
    health.follow(&snapshot.clusters);
    let (stage, stages) = watch::channel(Stage::Running);
    let load = Arc::new(Load::new(start.stats.delays.clone()));
    watch_load(&load, &start.stats, &published);
    let mut workers = Vec::new();
    for index in 0..start.loader.workers {
        let log = match &start.sink {
            Some(sink) => AccessLog::new(
                sink.clone(),
                (config.access_log.format, config.access_log.filters),
                start.stats.access_log_dropped.clone(),
                index,
            ),
            None => AccessLog::off(),
        };
        let worker = worker::spawn(WorkerSetup {
            index,
            published: published.clone(),
            stage: stages.clone(),
            log,
            load: load.clone(),
            admin: status.admin_address(),
        });
        workers.push(worker.map_err(anyhow::Error::new)?);
    }
    for listener in &snapshot.listeners {
        if let Some(socket) = &listener.socket {
            tracing::info!(listener = %listener.config.name, address = %socket.address, "listening");
        }
    }
    // What may fail has been done: names are not taken from a process that goes on.
    let admin = admin.map(admin::Server::start).transpose();
    let admin = admin.map_err(anyhow::Error::new)?;
    snapshot.sockets().for_each(|socket| socket.own_name());
    if let Some(told) = told {
        told.serves().await;
    }
    let control = Control {
        loader: start.loader,
        published,
        stage,
        workers,
        status,
        resolving,
        health,
        jobs,
        versions,
        log: start.process_log,
        sources: start.sources,
        program: start.program,
        admin,
    };
    Ok((control, signals))
}

fn watch_load(load: &Arc<Load>, stats: &Arc<Stats>, published: &Arc<Published>) {
    let (load, stats, published) = (load.clone(), stats.clone(), published.clone());
    tokio::task::spawn_local(async move {
        let rules = || published.load().config.overload.clone();
        overload::watch(&load, &stats, rules).await;
    });
}

fn bind_admin(
    admin: &Admin,
    config: &Config,
    state: AdminState,
    loader: &Loader,
) -> Result<admin::Server, Mistake> {
    admin::Server::bind(&admin.address, state, &loader.inherited).map_err(|error| {
        Mistake::at(
            &config.places,
            "/admin/address",
            error.to_string(),
            "an address that can be listened on",
        )
    })
}
