//! A worker: one thread, one runtime, its own sockets, pools and instances.
//!
//! Takes published snapshots and the drain's stages; gives exchanges. It never
//! writes to what it reads, and takes no lock that another thread holds.

use std::cell::Cell;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};
use tokio::task::{JoinSet, LocalSet};

use crate::downstream;
use crate::exchange::{AccessLog, Local};
use crate::listener::{AcceptLoop, Room, Socket};
use crate::overload::Load;
use crate::snapshot::Published;
use crate::stats::{Gauge, ListenerStats, PerWorker};

/// How often a worker writes its log out and looks after its pools.
const TICK: Duration = Duration::from_millis(100);

/// For exchanges that are cut off to be told of, in their answers and in the log.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// What all workers are told about stopping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Running,
    /// Finish what is under way, until then. Connections without a request wait so long
    /// for one.
    Draining {
        until: Instant,
        patience: Duration,
    },
}

/// How the drain of a worker ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    Clean,
    /// So many connections were cut off at the limit.
    CutOff(usize),
}

/// What a worker needs from the rest.
pub struct WorkerSetup {
    pub index: usize,
    pub published: Arc<Published>,
    pub stage: watch::Receiver<Stage>,
    pub log: AccessLog,
    pub load: Arc<Load>,
    /// Where the admin address is bound.
    pub admin: Option<SocketAddr>,
}

/// Starts the thread.
pub fn spawn(setup: WorkerSetup) -> io::Result<JoinHandle<Drained>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()?;
    std::thread::Builder::new()
        .name(format!("worker-{}", setup.index))
        .spawn(move || {
            let _guard = LetGo(setup.published.clone());
            let tasks = LocalSet::new();
            let drained = tasks.block_on(&runtime, run(setup));
            drop(tasks);
            // Nobody waits for names that are still being looked up.
            runtime.shutdown_background();
            drained
        })
}

/// Where a worker panics, its sockets close with it, and the kernel gives connections to
/// the others; copies that are kept for an upgrade would take them, and nobody accepts.
struct LetGo(Arc<Published>);

impl Drop for LetGo {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.load().sockets().for_each(|socket| socket.forget());
        }
    }
}

async fn run(setup: WorkerSetup) -> Drained {
    let mut generations = setup.published.watch();
    let mut stage = setup.stage;
    let local = Local::new(
        setup.index,
        &setup.published,
        setup.log,
        setup.load,
        setup.admin,
    );
    let mut listeners = Listeners::default();
    listeners.follow(&local);
    tokio::task::spawn_local(measure_delay(local.clone()));
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => local.tick(),
            changed = generations.changed() => {
                if changed.is_err() {
                    return Drained::Clean;
                }
                listeners.follow(&local);
            }
            changed = stage.changed() => {
                let stage = *stage.borrow_and_update();
                match stage {
                    Stage::Draining { until, patience } => {
                        return drain(&local, listeners, until, patience).await;
                    }
                    Stage::Running if changed.is_err() => return Drained::Clean,
                    Stage::Running => {}
                }
            }
        }
    }
}

/// In a task of its own, which waits its turn behind the connections' as each of them
/// does. Ends with the worker.
async fn measure_delay(local: Rc<Local>) {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let due = tick.tick().await;
        local.note_delay(due.elapsed());
    }
}

/// Stops accepting, then waits for the connections to end.
async fn drain(
    local: &Rc<Local>,
    listeners: Listeners,
    until: Instant,
    patience: Duration,
) -> Drained {
    listeners.close().await;
    local.drain.begin(patience);
    let mut tick = tokio::time::interval(Duration::from_millis(10));
    while local.drain.connections() > 0 && Instant::now() < until {
        tick.tick().await;
        local.tick();
    }
    let open = local.drain.connections();
    if open > 0 {
        local.drain.cut_off();
        let until = Instant::now() + LAST_WORDS;
        while local.drain.connections() > 0 && Instant::now() < until {
            tick.tick().await;
        }
    }
    local.tick();
    match open {
        0 => Drained::Clean,
        open => Drained::CutOff(open),
    }
}

/// The accept loops of a worker, by socket.
#[derive(Default)]
struct Listeners {
    loops: JoinSet<()>,
    open: HashMap<*const Socket, (Arc<Socket>, Vec<Rc<Notify>>)>,
}

impl Listeners {
    /// Opens what the current snapshot adds, closes what it no longer has.
    fn follow(&mut self, local: &Rc<Local>) {
        let snapshot = local.snapshot();
        snapshot.warm();
        let gone: Vec<_> = self
            .open
            .iter()
            .filter(|(_, (socket, _))| snapshot.listener(socket).is_none())
            .map(|(key, _)| *key)
            .collect();
        for key in gone {
            if let Some((_, stops)) = self.open.remove(&key) {
                stops.iter().for_each(|stop| stop.notify_one());
            }
        }
        for listener in &snapshot.listeners {
            if let Some(socket) = &listener.shared.socket {
                self.open(local, socket.clone());
            }
        }
        local.drain.wake();
        while self.loops.try_join_next().is_some() {}
    }

    fn open(&mut self, local: &Rc<Local>, socket: Arc<Socket>) {
        let key = Arc::as_ptr(&socket);
        if self.open.contains_key(&key) {
            return;
        }
        let mut stops = Vec::new();
        for accept in AcceptLoop::all(&socket, local.worker, &local.load) {
            match accept {
                Ok(accept) => {
                    let stop = Rc::new(Notify::new());
                    stops.push(stop.clone());
                    let accepting = accept_on(local.clone(), accept, socket.clone(), stop);
                    self.loops.spawn_local(accepting);
                }
                Err(error) => {
                    tracing::error!(%error, address = %socket.address, "cannot serve a listener");
                }
            }
        }
        self.open.insert(key, (socket, stops));
    }

    async fn close(mut self) {
        for stop in self.open.values().flat_map(|(_, stops)| stops) {
            stop.notify_one();
        }
        while self.loops.join_next().await.is_some() {}
    }
}

async fn accept_on(local: Rc<Local>, accept: AcceptLoop, socket: Arc<Socket>, stop: Rc<Notify>) {
    let current_stats = || {
        let snapshot = local.snapshot();
        let listener = snapshot.listener(&socket);
        listener.map(|listener| listener.shared.stats.clone())
    };
    let Some(stats) = current_stats() else {
        return;
    };
    let worker = local.worker;
    let room = Cell::new(Room::default());
    let current_room = || {
        let snapshot = local.snapshot();
        if let Some(listener) = snapshot.listener(&socket) {
            let config = &listener.shared.config;
            room.set(Room {
                of_listener: config.limits.max_connections,
                of_process: snapshot.shared.config.max_connections,
                // A connection of TCP is what a request is of HTTP.
                is_overloaded: match config.is_opaque() {
                    true => local.sheds(),
                    false => local.refuses(),
                },
            });
        }
        room.get()
    };
    let take = |stream, peer, permit| {
        // A reload may have given the listener another name.
        let active = Active::new(current_stats().unwrap_or_else(|| stats.clone()), worker);
        let accepted = downstream::Accepted {
            stream,
            peer,
            socket: socket.clone(),
        };
        let local = local.clone();
        tokio::task::spawn_local(async move {
            // Called in here: the task would hold a future twice that it is given.
            downstream::serve(local, accepted).await;
            drop((active, permit));
        });
    };
    accept
        .run(stats.of(worker), current_room, stop.notified(), take)
        .await;
}

/// Counts an open connection.
struct Active {
    stats: Arc<PerWorker<ListenerStats>>,
    worker: usize,
}

impl Active {
    fn new(stats: Arc<PerWorker<ListenerStats>>, worker: usize) -> Self {
        Self::gauge(&stats, worker).add(1);
        Self { stats, worker }
    }

    fn gauge(stats: &PerWorker<ListenerStats>, worker: usize) -> &Gauge {
        &stats.of(worker).connections_active
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        Self::gauge(&self.stats, self.worker).sub(1);
    }
}
