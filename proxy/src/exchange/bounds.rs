//! What ends a connection that its peers would not end.

use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use super::Local;
use crate::config::{Listener, Name, Protocol};
use crate::deadline::Alarm;
use crate::drain::Watcher;
use crate::error::{ErrorKind, ProxyError};
use crate::listener::Socket;
use crate::snapshot::WorkerSnapshot;

/// The bounds of one connection. They follow the listener through reloads.
pub struct Bounds {
    local: Rc<Local>,
    socket: Arc<Socket>,
    of: Of,
    /// The generation that the rest is of.
    generation: u64,
    began: Instant,
    idle: Duration,
    max_lifetime: Option<Duration>,
    /// Since its listener is gone, or leads elsewhere.
    ends: Option<Instant>,
    /// When a byte came last.
    active: Instant,
    alarm: Alarm,
}

/// What the connection is, which tells the keys that bound it.
enum Of {
    /// One of TCP, which leads to this cluster.
    Tcp(Option<Name>),
    /// One that was of HTTP. A filter may have said how long it may be silent.
    Upgrade { idle: Option<Duration> },
}

impl Of {
    /// Silence and life, while its listener is still for such connections.
    fn times(&self, config: &Listener) -> Option<(Duration, Option<Duration>)> {
        match self {
            Of::Tcp(cluster) if config.speaks(Protocol::Tcp) && config.cluster == *cluster => {
                Some((config.tcp.idle, config.tcp.max_lifetime))
            }
            Of::Tcp(_) => None,
            Of::Upgrade { idle } => {
                let idle = idle.map(|idle| idle.min(config.timeouts.longest));
                let idle = idle.unwrap_or(config.upgrades.idle);
                Some((idle, config.upgrades.max_lifetime))
            }
        }
    }
}

impl Bounds {
    pub fn of_tcp(
        local: &Rc<Local>,
        snapshot: &WorkerSnapshot,
        socket: &Arc<Socket>,
        cluster: Option<Name>,
    ) -> Self {
        Self::new(local, snapshot, socket, Of::Tcp(cluster))
    }

    /// `idle` is what a filter said.
    pub fn of_upgrade(
        local: &Rc<Local>,
        snapshot: &WorkerSnapshot,
        socket: &Arc<Socket>,
        idle: Option<Duration>,
    ) -> Self {
        Self::new(local, snapshot, socket, Of::Upgrade { idle })
    }

    fn new(local: &Rc<Local>, snapshot: &WorkerSnapshot, socket: &Arc<Socket>, of: Of) -> Self {
        let now = Instant::now();
        let mut bounds = Self {
            local: local.clone(),
            socket: socket.clone(),
            of,
            generation: snapshot.shared.generation,
            began: now,
            // Those of its listener follow.
            idle: snapshot.shared.config.drain_timeout,
            max_lifetime: None,
            ends: None,
            active: now,
            alarm: Alarm::default(),
        };
        bounds.go_by(snapshot);
        bounds
    }

    /// Runs `work` for as long as the connection may last.
    pub async fn until<T>(
        &mut self,
        watcher: &Watcher,
        mut work: impl Future<Output = T> + Unpin,
    ) -> Result<T, ProxyError> {
        poll_fn(|context| {
            watcher.attend(context);
            match std::pin::Pin::new(&mut work).poll(context) {
                Poll::Ready(done) => Poll::Ready(Ok(done)),
                Poll::Pending => self.poll_over(context).map(|kind| Err(kind.into())),
            }
        })
        .await
    }

    /// A byte came.
    pub fn note_activity(&mut self) {
        self.active = Instant::now();
    }

    /// Ready when the connection is to end, with the reason. Woken as its [`Watcher`] is.
    pub fn poll_over(&mut self, context: &mut Context<'_>) -> Poll<ErrorKind> {
        if self.local.drain.is_cut_off() {
            return Poll::Ready(ErrorKind::Draining);
        }
        self.follow();
        let idle = (self.active + self.idle, ErrorKind::IdleTimeout);
        let lifetime = self.max_lifetime.map(|time| self.began + time);
        let lifetime = lifetime.map(|at| (at, ErrorKind::LifetimeOver));
        let ends = self.ends.map(|at| (at, ErrorKind::Draining));
        let others = lifetime.into_iter().chain(ends);
        let (at, kind) = others.fold(idle, |first, other| {
            std::cmp::min_by_key(first, other, |(at, _)| *at)
        });
        self.alarm.poll_until(context, at).map(|()| kind)
    }

    /// What a reload has changed.
    fn follow(&mut self) {
        let snapshot = self.local.snapshot();
        if snapshot.shared.generation == self.generation {
            return;
        }
        self.generation = snapshot.shared.generation;
        self.go_by(&snapshot);
    }

    fn go_by(&mut self, snapshot: &WorkerSnapshot) {
        let listener = snapshot.listener(&self.socket);
        let times = listener.and_then(|listener| self.of.times(&listener.shared.config));
        match times {
            Some((idle, max_lifetime)) => {
                self.idle = idle;
                self.max_lifetime = max_lifetime;
                self.ends = None;
            }
            None => {
                let limit = snapshot.shared.config.drain_timeout;
                self.ends.get_or_insert_with(|| Instant::now() + limit);
            }
        }
    }
}
