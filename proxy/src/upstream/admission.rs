//! How one worker keeps to what a cluster's bounds allow: who is let in, who waits, and
//! who is refused.
//!
//! Permits come in batches from what all workers share, and are given back here. Those
//! that wait are served by what this worker gives back, and every few milliseconds by what
//! others did: nobody wakes another thread.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout_at};

use crate::balance::breaker::Passage;
use crate::balance::codel::{self, Codel, Next, Verdict};
use crate::balance::limit::Kept;
use crate::cluster::clock::since_start;
use crate::cluster::{Bound, Bounds, Cluster};
use crate::config::Queue;
use crate::error::{ErrorKind, ProxyError};
use crate::stats::{ClusterStats, PerWorker};

/// How often it is looked whether other workers gave something back.
pub(super) const LOOK: Duration = Duration::from_millis(5);

/// Within which other workers give up what is idle: some of their ticks.
pub(super) const GIVING_UP: Duration = Duration::from_secs(1);

/// Of one cluster on one worker. What was taken holds this and not the cluster, which may be
/// replaced while connections stay.
pub(super) struct Admission {
    bounds: Option<Arc<Bounds>>,
    stats: Arc<PerWorker<ClusterStats>>,
    worker: usize,
    /// Its cluster was replaced, or is gone: nothing is kept for later.
    is_retired: Cell<bool>,
    requests: RefCell<Kept>,
    connections: RefCell<Kept>,
    pending: RefCell<Kept>,
    line: RefCell<Line>,
}

/// Requests that wait, in the order in which they came.
#[derive(Default)]
struct Line {
    waiting: VecDeque<Rc<Waiter>>,
    codel: Codel,
    /// Whether somebody looks from time to time.
    is_watched: bool,
}

struct Waiter {
    since: Instant,
    state: Cell<State>,
    told: Notify,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Waits,
    /// It has a permit.
    Served,
    Refused,
    /// It left, with its permit if it had one.
    Gone,
}

/// A request that was let in, or waits for it; dropped, it leaves.
pub(super) struct Entry {
    admission: Rc<Admission>,
    /// Until it was judged.
    passage: Cell<Option<Passage>>,
    /// It has a permit, where it needs one.
    is_in: bool,
}

impl Entry {
    /// Lets a request in, or says why not. It may wait.
    pub async fn of(admission: &Rc<Admission>, bounds: &Bounds) -> Result<Self, ProxyError> {
        let passage = bounds.pass();
        if passage == Passage::Refused {
            return Err(ErrorKind::BreakerOpen.into());
        }
        let mut entry = Self {
            admission: Rc::clone(admission),
            passage: Cell::new(Some(passage).filter(|_| bounds.has_breaker())),
            is_in: true,
        };
        if bounds.most_requests().is_some() && !admission.enter_at_once(bounds) {
            // It may leave before.
            entry.is_in = false;
            Box::pin(wait(admission, bounds)).await?;
            entry.is_in = true;
        }
        Ok(entry)
    }

    pub fn is_probe(&self) -> bool {
        matches!(self.passage.get(), Some(Passage::Probe(_)))
    }

    /// What was asked is there, and answers, if the breaker waits for that.
    pub fn judge_probe(&self) {
        if self.is_probe() {
            self.judge(false);
        }
    }

    /// How the request went, if the breaker is to know. The first word counts.
    pub fn judge(&self, has_failed: bool) {
        let Some(passage) = self.passage.take() else {
            return;
        };
        let stats = self.admission.stats();
        let (all, failed) = match passage {
            Passage::Probe(_) => (&stats.probes, &stats.probes_failed),
            Passage::Free | Passage::Refused => (&stats.judged, &stats.judged_failed),
        };
        all.add(1);
        failed.add(u64::from(has_failed));
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let Some(bounds) = self.admission.bounds.as_deref() else {
            return;
        };
        if let Some(unjudged) = self.passage.take() {
            bounds.give_back(unjudged);
        }
        if self.is_in && bounds.most_requests().is_some() {
            self.admission.leave(bounds);
        }
    }
}

impl Admission {
    pub fn new(cluster: &Cluster, worker: usize) -> Rc<Self> {
        Rc::new(Self {
            bounds: cluster.bounds.clone(),
            stats: cluster.stats.clone(),
            worker,
            is_retired: Cell::new(false),
            requests: RefCell::default(),
            connections: RefCell::default(),
            pending: RefCell::default(),
            line: RefCell::default(),
        })
    }

    fn stats(&self) -> &ClusterStats {
        self.stats.of(self.worker)
    }

    /// Its cluster is used no longer. What is under way is given back to all workers.
    pub fn retire(&self) {
        self.is_retired.set(true);
        self.rest();
    }

    fn enter_at_once(&self, bounds: &Bounds) -> bool {
        self.line.borrow().waiting.is_empty() && self.take(bounds)
    }

    fn take(&self, bounds: &Bounds) -> bool {
        let most = bounds.most_requests().unwrap_or(u64::MAX);
        self.requests
            .borrow_mut()
            .take(&bounds.requests.taken, most)
    }

    fn give_back(&self, bounds: &Bounds) {
        let most = bounds.most_requests().unwrap_or(u64::MAX);
        let mut kept = self.requests.borrow_mut();
        kept.give_back(&bounds.requests.taken, most);
        if self.is_retired.get() {
            kept.leave_all(&bounds.requests.taken);
        }
    }

    fn leave(&self, bounds: &Bounds) {
        self.give_back(bounds);
        self.serve(bounds);
    }

    /// Lets in who is next, for as long as there are permits.
    fn serve(&self, bounds: &Bounds) {
        let line = &mut *self.line.borrow_mut();
        let rules = codel::Rules::default();
        while let Some(oldest) = line.waiting.front().map(|waiter| waiter.since) {
            if !self.take(bounds) {
                return;
            }
            let now = Instant::now();
            let next = match line.codel.next() {
                Next::Oldest => line.waiting.pop_front(),
                Next::Newest => line.waiting.pop_back(),
            };
            let Some(next) = next else { return };
            let (waited, oldest) = (now - next.since, now - oldest);
            let state = match line.codel.judge(since_start(now), waited, oldest, &rules) {
                Verdict::Serve => State::Served,
                Verdict::Refuse => {
                    self.give_back(bounds);
                    State::Refused
                }
            };
            next.state.set(state);
            next.told.notify_one();
        }
        line.codel.is_empty();
    }

    /// Gives back what an idle worker has no use for.
    pub fn rest(&self) {
        let Some(bounds) = &self.bounds else {
            return;
        };
        let all = [
            (&self.requests, &bounds.requests),
            (&self.connections, &bounds.connections),
            (&self.pending, &bounds.pending),
        ];
        for (kept, bound) in all {
            kept.borrow_mut().leave_all(&bound.taken);
        }
    }
}

async fn wait(admission: &Rc<Admission>, bounds: &Bounds) -> Result<(), ProxyError> {
    let Some(rules) = bounds.queue else {
        return Err(ErrorKind::RequestLimit.into());
    };
    let place = Place::last(admission, &rules)?;
    let until = place.waiter.since + rules.timeout;
    match timeout_at(until, place.waiter.told.notified()).await {
        Ok(()) if place.waiter.state.get() == State::Served => {
            place.waiter.state.set(State::Gone);
            Ok(())
        }
        Ok(()) | Err(_) => Err(ErrorKind::QueueTimeout.into()),
    }
}

/// A place in the line; dropped, it is left.
struct Place<'a> {
    admission: &'a Admission,
    waiter: Rc<Waiter>,
}

impl<'a> Place<'a> {
    fn last(admission: &'a Rc<Admission>, rules: &Queue) -> Result<Self, ProxyError> {
        let line = &mut *admission.line.borrow_mut();
        if line.waiting.len() >= rules.max as usize {
            return Err(ErrorKind::QueueFull.into());
        }
        let waiter = Rc::new(Waiter {
            since: Instant::now(),
            state: Cell::new(State::Waits),
            told: Notify::new(),
        });
        line.waiting.push_back(Rc::clone(&waiter));
        admission.stats().queued.add(1);
        if !line.is_watched {
            line.is_watched = true;
            tokio::task::spawn_local(watch(Rc::clone(admission)));
        }
        Ok(Self { admission, waiter })
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let admission = self.admission;
        admission.stats().queued.sub(1);
        match self.waiter.state.replace(State::Gone) {
            State::Waits => {
                let waiting = &mut admission.line.borrow_mut().waiting;
                waiting.retain(|other| !Rc::ptr_eq(other, &self.waiter));
            }
            State::Served => {
                if let Some(bounds) = &admission.bounds {
                    admission.leave(bounds);
                }
            }
            State::Refused | State::Gone => {}
        }
    }
}

/// Serves those that wait for as long as there are any.
async fn watch(admission: Rc<Admission>) {
    let Some(bounds) = &admission.bounds else {
        return;
    };
    loop {
        sleep(LOOK).await;
        admission.serve(bounds);
        let line = &mut *admission.line.borrow_mut();
        if line.waiting.is_empty() {
            line.is_watched = false;
            return;
        }
    }
}

/// Something of which there may be so many: a connection, or a request that waits for one.
/// Dropped, it is over.
pub(super) struct Taken {
    admission: Rc<Admission>,
    of: Of,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Connections,
    Pending,
}

impl Of {
    fn bound(self, bounds: &Bounds) -> &Bound {
        match self {
            Of::Connections => &bounds.connections,
            Of::Pending => &bounds.pending,
        }
    }

    fn kept(self, admission: &Admission) -> &RefCell<Kept> {
        match self {
            Of::Connections => &admission.connections,
            Of::Pending => &admission.pending,
        }
    }
}

impl Taken {
    /// One connection more, which `make_room` may help to. Where requests have connections
    /// for themselves, no more are let in than there may be: if none is left, others are
    /// idle on other workers, which give them up. That is waited for, `most` so long.
    pub async fn connection(
        admission: &Rc<Admission>,
        is_alone: bool,
        most: Duration,
        make_room: impl Fn() -> bool,
    ) -> Result<Self, ProxyError> {
        let has_one = || take(admission, Of::Connections);
        let mut is_there = has_one();
        if let (false, Some(bounds)) = (is_there, &admission.bounds) {
            // One of HTTP/2 that makes room is gone a moment later.
            let has_made_room = make_room();
            is_there = has_one();
            let until = Instant::now() + most.min(GIVING_UP);
            while !is_there && (is_alone || has_made_room) && Instant::now() < until {
                bounds.connections.want();
                sleep(LOOK).await;
                is_there = has_one() || make_room() && has_one();
            }
            if !is_there {
                bounds.connections.want();
            }
        }
        if !is_there {
            return Err(ErrorKind::ConnectionLimit.into());
        }
        Ok(Self::open(admission))
    }

    /// One that nobody waits for, if there is room: no more than this worker's share.
    pub fn ahead(admission: &Rc<Admission>) -> Option<Self> {
        let connections = admission.bounds.as_ref().map(|bounds| &bounds.connections);
        if let Some(most) = connections.and_then(|connections| connections.most) {
            let share = most.div_ceil(admission.stats.iter().count() as u64);
            let open = admission.stats().connections_open.get();
            if u64::try_from(open).is_ok_and(|open| open >= share) {
                return None;
            }
        }
        take(admission, Of::Connections).then(|| Self::open(admission))
    }

    fn open(admission: &Rc<Admission>) -> Self {
        admission.stats().connections_open.add(1);
        Self {
            admission: Rc::clone(admission),
            of: Of::Connections,
        }
    }

    /// A request waits for a connection to be made.
    pub fn pending(admission: &Rc<Admission>) -> Result<Self, ProxyError> {
        match take(admission, Of::Pending) {
            true => {
                admission.stats().connecting.add(1);
                Ok(Self {
                    admission: Rc::clone(admission),
                    of: Of::Pending,
                })
            }
            false => Err(ErrorKind::PendingLimit.into()),
        }
    }
}

fn take(admission: &Admission, of: Of) -> bool {
    let Some(bounds) = &admission.bounds else {
        return true;
    };
    let bound = of.bound(bounds);
    let mut kept = of.kept(admission).borrow_mut();
    bound.most.is_none_or(|most| kept.take(&bound.taken, most))
}

impl Drop for Taken {
    fn drop(&mut self) {
        let Self { admission, of } = self;
        match of {
            Of::Connections => admission.stats().connections_open.sub(1),
            Of::Pending => admission.stats().connecting.sub(1),
        }
        let Some(bounds) = &admission.bounds else {
            return;
        };
        let bound = of.bound(bounds);
        let Some(most) = bound.most else {
            return;
        };
        let mut kept = of.kept(admission).borrow_mut();
        kept.give_back(&bound.taken, most);
        if admission.is_retired.get() || bound.take_want() {
            kept.leave_all(&bound.taken);
        }
    }
}

/// What nobody uses any more is others' again.
impl Drop for Admission {
    fn drop(&mut self) {
        self.rest();
    }
}
