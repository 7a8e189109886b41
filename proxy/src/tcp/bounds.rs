//! What ends a connection that its peers would not end.

use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use crate::config::{Name, Protocol};
use crate::deadline::Alarm;
use crate::drain::Watcher;
use crate::error::{ErrorKind, ProxyError};
use crate::exchange::Local;
use crate::listener::Socket;
use crate::snapshot::{WorkerListener, WorkerSnapshot};

/// The bounds of one connection. They follow the listener through reloads.
pub struct Bounds {
    local: Rc<Local>,
    socket: Arc<Socket>,
    /// The generation that the rest is of.
    generation: u64,
    cluster: Option<Name>,
    began: Instant,
    idle: Duration,
    max_lifetime: Option<Duration>,
    /// Since its listener is gone, or leads elsewhere.
    ends: Option<Instant>,
    /// When a byte came last.
    active: Instant,
    alarm: Alarm,
}

impl Bounds {
    pub fn new(
        local: &Rc<Local>,
        snapshot: &WorkerSnapshot,
        listener: &WorkerListener,
        socket: Arc<Socket>,
    ) -> Self {
        let config = &listener.shared.config;
        let now = Instant::now();
        Self {
            local: local.clone(),
            socket,
            generation: snapshot.shared.generation,
            cluster: config.cluster.clone(),
            began: now,
            idle: config.tcp.idle,
            max_lifetime: config.tcp.max_lifetime,
            ends: None,
            active: now,
            alarm: Alarm::default(),
        }
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
        let listener = snapshot.listener(&self.socket);
        let config = listener.map(|listener| &listener.shared.config);
        match config.filter(|config| config.speaks(Protocol::Tcp)) {
            Some(config) if config.cluster == self.cluster => {
                self.idle = config.tcp.idle;
                self.max_lifetime = config.tcp.max_lifetime;
                self.ends = None;
            }
            Some(_) | None => {
                let limit = snapshot.shared.config.drain_timeout;
                self.ends.get_or_insert_with(|| Instant::now() + limit);
            }
        }
    }
}
