//! What the exchanges of one worker share.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::{AccessLog, calls};
use crate::drain::Drain;
use crate::http::date::DateCache;
use crate::listener::Socket;
use crate::overload::{Level, Load};
use crate::snapshot::{Published, WorkerSnapshot};
use crate::stats::{Ending, ListenerStats};
use crate::upstream::Sweep;

/// For connections whose listener was removed: those that wait to be accepted, and
/// requests that are on their way, are served as if it were still there.
const LAST_REQUESTS: Duration = Duration::from_secs(5);

/// One per worker; only its thread touches it.
pub struct Local {
    pub worker: usize,
    pub drain: Rc<Drain>,
    pub log: AccessLog,
    /// Of all workers.
    pub load: Arc<Load>,
    /// Where the admin address is bound.
    pub admin: Option<SocketAddr>,
    delay: Cell<Delay>,
    /// The `Date` of answers.
    pub date: RefCell<DateCache>,
    /// Copies under way, over all clusters.
    pub copies: Cell<usize>,
    current: RefCell<Current>,
}

/// How late this worker's timer was.
#[derive(Clone, Copy, Default)]
struct Delay {
    milliseconds: u64,
    /// What is given up for it.
    level: Level,
    /// Connections were told to close.
    has_closed: bool,
}

struct Current {
    cache: crate::snapshot::Cache,
    snapshot: Rc<WorkerSnapshot>,
    /// Those with listeners that the next one has not, until then.
    former: Vec<(Rc<WorkerSnapshot>, Instant)>,
}

impl Local {
    pub fn new(
        worker: usize,
        published: &Published,
        log: AccessLog,
        load: Arc<Load>,
        admin: Option<SocketAddr>,
    ) -> Rc<Self> {
        let mut cache = published.cache();
        let shared = cache.load().clone();
        let snapshot = WorkerSnapshot::new(shared, None, worker);
        serve_calls(&snapshot);
        Rc::new(Self {
            worker,
            drain: Rc::default(),
            log,
            load,
            admin,
            delay: Cell::default(),
            date: RefCell::new(DateCache::new(SystemTime::now())),
            copies: Cell::new(0),
            current: RefCell::new(Current {
                cache,
                snapshot,
                former: Vec::new(),
            }),
        })
    }

    /// The current snapshot, as an exchange begins.
    pub fn snapshot(&self) -> Rc<WorkerSnapshot> {
        let current = &mut *self.current.borrow_mut();
        let shared = current.cache.load();
        if !Arc::ptr_eq(shared, &current.snapshot.shared) {
            let next = WorkerSnapshot::new(shared.clone(), Some(&current.snapshot), self.worker);
            serve_calls(&next);
            let before = std::mem::replace(&mut current.snapshot, next);
            if before.has_listeners_beside(&current.snapshot) {
                let until = Instant::now() + LAST_REQUESTS;
                current.former.push((before, until));
            }
        }
        current.snapshot.clone()
    }

    /// The snapshot that a connection of this socket is served by: the current one,
    /// and for a while after its listener was removed the last one that had it.
    pub fn snapshot_for(&self, socket: &Arc<Socket>) -> Rc<WorkerSnapshot> {
        let current = self.snapshot();
        if current.listener(socket).is_some() {
            return current;
        }
        let former = &self.current.borrow().former;
        let mut former = former.iter().rev().map(|(snapshot, _)| snapshot);
        former
            .find(|snapshot| snapshot.listener(socket).is_some())
            .cloned()
            .unwrap_or(current)
    }

    /// Whether connections of this socket go on once `held`, a snapshot that had it, has
    /// served them.
    pub fn goes_on(&self, held: &Rc<WorkerSnapshot>, socket: Option<&Arc<Socket>>) -> bool {
        let current = self.snapshot();
        Rc::ptr_eq(&current, held) || socket.is_none_or(|socket| current.listener(socket).is_some())
    }

    /// Counts a connection that the proxy itself ends.
    pub fn count_end(&self, socket: &Arc<Socket>, ending: Ending) {
        self.count(socket, |stats| stats.connections_ended.count(ending));
    }

    /// Counts something of a listener, where that is still there.
    pub fn count(&self, socket: &Arc<Socket>, what: impl FnOnce(&ListenerStats)) {
        let snapshot = self.snapshot_for(socket);
        if let Some(listener) = snapshot.listener(socket) {
            what(listener.shared.stats.of(self.worker));
        }
    }

    /// Whether connections end that could carry more requests.
    pub fn closes(&self) -> bool {
        self.load.level() >= Level::Close
    }

    /// Whether new requests are refused.
    pub fn sheds(&self) -> bool {
        self.level() >= Level::Shed
    }

    /// Whether new connections are refused.
    pub fn refuses(&self) -> bool {
        self.level() >= Level::Refuse
    }

    fn level(&self) -> Level {
        self.load.level().max(self.delay.get().level)
    }

    /// What is due from time to time.
    pub fn tick(&self) {
        let now = Instant::now();
        let gone: Vec<_> = {
            let former = &mut self.current.borrow_mut().former;
            former.extract_if(.., |(_, until)| *until <= now).collect()
        };
        // With it ends whatever nobody else holds, and that may be a lot.
        drop(gone);
        let what = match self.closes() {
            true => Sweep::Idle,
            false => Sweep::Old,
        };
        let makes_ahead = what == Sweep::Old && !self.drain.is_draining();
        for cluster in self.snapshot().clusters() {
            cluster.sweep(now, what);
            if makes_ahead {
                cluster.fill(now);
            }
        }
        self.log.flush();
    }

    /// So much later than it should have had it, a task got its turn. Twice late in a row
    /// is late: anything may stop a thread once.
    pub fn note_delay(&self, late: Duration) {
        let before = self.delay.get();
        let milliseconds = u64::try_from(late.as_millis()).unwrap_or(u64::MAX);
        let lasting = milliseconds.min(before.milliseconds);
        let marks = self.snapshot().shared.config.overload.delay;
        let level = before.level.next(lasting, &marks);
        let has_closed = self.closes();
        self.delay.set(Delay {
            milliseconds,
            level,
            has_closed,
        });
        let stats = self.load.delays.of(self.worker);
        stats.milliseconds.set(milliseconds as i64);
        stats.level.set(level as i64);
        if has_closed && !before.has_closed {
            self.drain.wake();
        }
    }
}

/// Has the calls made that filters ask for. Ends by itself with the last exchange
/// of the snapshot.
fn serve_calls(snapshot: &Rc<WorkerSnapshot>) {
    if let Some(asked) = snapshot.take_calls() {
        let snapshot = Rc::downgrade(snapshot);
        let find = move |name: &str| snapshot.upgrade()?.cluster(name).cloned();
        tokio::task::spawn_local(calls::serve(find, asked));
    }
}
