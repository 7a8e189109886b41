//! How one worker keeps to what a cluster's bounds allow: who is let in, who waits, and
//! who is refused.
//!
//! Permits come in batches from what all workers share, and are given back here. Those
//! that wait are served by what this worker gives back, and every few milliseconds by what
//! others did: nobody wakes another thread.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout_at};

use super::pool::Pool;
use crate::balance::breaker::Passage;
use crate::balance::codel::{self, Codel, Next, Verdict};
use crate::balance::limit::Kept;
use crate::cluster::clock::since_start;
use crate::cluster::{Bound, Bounds};
use crate::config::Queue;
use crate::error::{ErrorKind, ProxyError};

/// How often it is looked whether other workers gave something back.
const LOOK: Duration = Duration::from_millis(5);

/// Within which other workers give up what is idle: some of their ticks.
const GIVING_UP: Duration = Duration::from_secs(1);

/// Of one cluster on one worker.
#[derive(Default)]
pub(super) struct Admission {
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

/// A request that was let in; dropped, it leaves.
pub(super) struct Entry {
    pool: Rc<Pool>,
    /// Until it was judged.
    passage: Cell<Option<Passage>>,
}

impl Entry {
    /// Lets a request in, or says why not. It may wait.
    pub async fn of(pool: &Rc<Pool>, bounds: &Bounds) -> Result<Self, ProxyError> {
        let passage = bounds.pass();
        if passage == Passage::Refused {
            return Err(ErrorKind::BreakerOpen.into());
        }
        if bounds.most_requests().is_some() && !pool.admission.enter_at_once(bounds) {
            Box::pin(wait(pool, bounds)).await?;
        }
        Ok(Self {
            pool: Rc::clone(pool),
            passage: Cell::new(Some(passage).filter(|_| bounds.has_breaker())),
        })
    }

    /// How the request went, if the breaker is to know. The first word counts.
    pub fn judge(&self, has_failed: bool) {
        let Some(passage) = self.passage.take() else {
            return;
        };
        let stats = self.pool.stats();
        let (all, failed) = match passage {
            Passage::Probe => (&stats.probes, &stats.probes_failed),
            Passage::Free | Passage::Refused => (&stats.judged, &stats.judged_failed),
        };
        all.add(1);
        failed.add(u64::from(has_failed));
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let bounds = self.pool.cluster.bounds.as_ref();
        if let Some(bounds) = bounds.filter(|bounds| bounds.most_requests().is_some()) {
            self.pool.admission.leave(bounds);
        }
    }
}

impl Admission {
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
        self.requests
            .borrow_mut()
            .give_back(&bounds.requests.taken, most);
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
    pub fn rest(&self, bounds: &Bounds) {
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

async fn wait(pool: &Rc<Pool>, bounds: &Bounds) -> Result<(), ProxyError> {
    let Some(rules) = bounds.queue else {
        return Err(ErrorKind::RequestLimit.into());
    };
    let place = Place::last(pool, &rules)?;
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
    pool: &'a Rc<Pool>,
    waiter: Rc<Waiter>,
}

impl<'a> Place<'a> {
    fn last(pool: &'a Rc<Pool>, rules: &Queue) -> Result<Self, ProxyError> {
        let line = &mut *pool.admission.line.borrow_mut();
        if line.waiting.len() >= rules.max as usize {
            return Err(ErrorKind::QueueFull.into());
        }
        let waiter = Rc::new(Waiter {
            since: Instant::now(),
            state: Cell::new(State::Waits),
            told: Notify::new(),
        });
        line.waiting.push_back(Rc::clone(&waiter));
        if !line.is_watched {
            line.is_watched = true;
            tokio::task::spawn_local(watch(Rc::clone(pool)));
        }
        Ok(Self { pool, waiter })
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let admission = &self.pool.admission;
        match self.waiter.state.replace(State::Gone) {
            State::Waits => {
                let waiting = &mut admission.line.borrow_mut().waiting;
                waiting.retain(|other| !Rc::ptr_eq(other, &self.waiter));
            }
            State::Served => {
                if let Some(bounds) = &self.pool.cluster.bounds {
                    admission.leave(bounds);
                }
            }
            State::Refused | State::Gone => {}
        }
    }
}

/// Serves those that wait for as long as there are any.
async fn watch(pool: Rc<Pool>) {
    let Some(bounds) = &pool.cluster.bounds else {
        return;
    };
    loop {
        sleep(LOOK).await;
        pool.admission.serve(bounds);
        let line = &mut *pool.admission.line.borrow_mut();
        if line.waiting.is_empty() {
            line.is_watched = false;
            return;
        }
    }
}

/// Something of which there may be so many: a connection, or a request that waits for one.
/// Dropped, it is over.
pub(super) struct Taken {
    pool: Rc<Pool>,
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
    /// idle on other workers, which give them up.
    pub async fn connection(
        pool: &Rc<Pool>,
        is_alone: bool,
        make_room: impl Fn() -> bool,
    ) -> Result<Self, ProxyError> {
        let try_to = || take(pool, Of::Connections) || make_room() && take(pool, Of::Connections);
        let mut is_there = try_to();
        if let (false, Some(bounds)) = (is_there, &pool.cluster.bounds) {
            let until = Instant::now() + GIVING_UP;
            bounds.connections.want();
            while is_alone && !is_there && Instant::now() < until {
                sleep(LOOK).await;
                is_there = try_to();
            }
        }
        if !is_there {
            return Err(ErrorKind::ConnectionLimit.into());
        }
        pool.stats().connections_open.add(1);
        Ok(Self {
            pool: Rc::clone(pool),
            of: Of::Connections,
        })
    }

    /// A request waits for a connection to be made.
    pub fn pending(pool: &Rc<Pool>) -> Result<Self, ProxyError> {
        match take(pool, Of::Pending) {
            true => Ok(Self {
                pool: Rc::clone(pool),
                of: Of::Pending,
            }),
            false => Err(ErrorKind::PendingLimit.into()),
        }
    }
}

fn take(pool: &Pool, of: Of) -> bool {
    let Some(bounds) = &pool.cluster.bounds else {
        return true;
    };
    let bound = of.bound(bounds);
    let mut kept = of.kept(&pool.admission).borrow_mut();
    bound.most.is_none_or(|most| kept.take(&bound.taken, most))
}

impl Drop for Taken {
    fn drop(&mut self) {
        if self.of == Of::Connections {
            self.pool.stats().connections_open.sub(1);
        }
        let Some(bounds) = &self.pool.cluster.bounds else {
            return;
        };
        let bound = self.of.bound(bounds);
        if let Some(most) = bound.most {
            let mut kept = self.of.kept(&self.pool.admission).borrow_mut();
            kept.give_back(&bound.taken, most);
        }
    }
}
