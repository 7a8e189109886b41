//! What the exchanges of one worker share.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::time::Instant;

use super::{AccessLog, calls};
use crate::drain::Drain;
use crate::http::date::DateCache;
use crate::snapshot::{Published, WorkerSnapshot};

/// One per worker; only its thread touches it.
pub struct Local {
    pub worker: usize,
    pub drain: Rc<Drain>,
    pub log: AccessLog,
    /// The `Date` of answers.
    pub date: RefCell<DateCache>,
    /// Copies under way, over all clusters.
    pub copies: Cell<usize>,
    current: RefCell<Current>,
}

struct Current {
    cache: crate::snapshot::Cache,
    snapshot: Rc<WorkerSnapshot>,
}

impl Local {
    pub fn new(worker: usize, published: &Published, log: AccessLog) -> Rc<Self> {
        let mut cache = published.cache();
        let shared = cache.load().clone();
        let snapshot = WorkerSnapshot::new(shared, None, worker);
        serve_calls(&snapshot);
        Rc::new(Self {
            worker,
            drain: Rc::default(),
            log,
            date: RefCell::new(DateCache::new(SystemTime::now())),
            copies: Cell::new(0),
            current: RefCell::new(Current { cache, snapshot }),
        })
    }

    /// The current snapshot, as an exchange begins.
    pub fn snapshot(&self) -> Rc<WorkerSnapshot> {
        let current = &mut *self.current.borrow_mut();
        let shared = current.cache.load();
        if !Arc::ptr_eq(shared, &current.snapshot.shared) {
            let next = WorkerSnapshot::new(shared.clone(), Some(&current.snapshot), self.worker);
            serve_calls(&next);
            current.snapshot = next;
        }
        current.snapshot.clone()
    }

    /// What is due from time to time.
    pub fn tick(&self, now: Instant) {
        for cluster in self.snapshot().clusters() {
            cluster.sweep(now);
        }
        self.log.flush();
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
