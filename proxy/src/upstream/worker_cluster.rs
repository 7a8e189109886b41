//! A cluster on one worker: whom it picks, and its pools.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use http::HeaderMap;
use http::response::Parts;
use tokio::time::Instant;

use super::admission::Admission;
use super::choice::{Asked, Choice, has_all_requests};
use super::classify::{failure_of, is_of_endpoint, is_refusal, outcome};
use super::connection;
use super::destinations::Destinations;
use super::hash_key::{self, NewCookie};
use super::hedging::Hedges;
use super::hurry::FAIR;
use super::names::Names;
use super::pool::{Pick, Pool, Sweep, WorkerEndpoint};
use super::request::Progress;
use super::targets::{Resolved, look_up};
use super::warm::Warming;
use crate::balance::outlier::Answer;
use crate::cluster::{Cluster, Held, Kind};
use crate::config::Name;
use crate::error::{ErrorKind, ProxyError};
use crate::stats::ClusterStats;

/// How often a worker may lose an endpoint's last place to another one for one request.
const RACES: usize = 8;

/// Why an endpoint that was picked is not asked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum WhyNot {
    /// It has as many as it may.
    Full,
    /// It is not time.
    Silent,
}

/// One cluster as one worker uses it. Carried over from snapshot to snapshot as
/// long as its [`Cluster`] is the same. Dropping it closes idle connections, but for those
/// of endpoints that the next one has as well.
pub struct WorkerCluster {
    pub(super) pool: Rc<Pool>,
    choice: RefCell<Choice>,
    /// Where the client says which endpoint it is.
    destinations: Option<Destinations>,
    /// Where it says so by a name.
    pub(super) names: Option<Names<Resolved>>,
    pub(super) hedges: Rc<Hedges>,
    /// Where connections are made ahead.
    warming: Option<Warming>,
}

impl WorkerCluster {
    /// As the worker knows it `before`, by the same name. Where it has changed since, the
    /// endpoints that stay keep their connections.
    pub fn carry(cluster: &Arc<Cluster>, before: Option<&Rc<Self>>, worker: usize) -> Rc<Self> {
        match before {
            Some(before) if Arc::ptr_eq(before.cluster(), cluster) => Rc::clone(before),
            Some(before) => {
                let next = Self::new(cluster, worker, Some(before));
                let mut choice = before.choice.borrow_mut();
                choice.leave_to(&next.choice.borrow(), &before.pool);
                next
            }
            None => Self::new(cluster, worker, None),
        }
    }

    fn new(cluster: &Arc<Cluster>, worker: usize, before: Option<&Self>) -> Rc<Self> {
        let cluster = Arc::clone(cluster);
        let follows = cluster.config.follows_clients();
        let goes_to_targets = cluster.config.goes_to_targets();
        Rc::new(Self {
            choice: RefCell::new(Choice::new(
                Arc::clone(&cluster),
                before.map(|before| before.choice.borrow()).as_deref(),
            )),
            destinations: (follows || goes_to_targets).then(Destinations::default),
            names: goes_to_targets.then(|| Names::new(look_up)),
            hedges: before
                .map(|before| Rc::clone(&before.hedges))
                .unwrap_or_default(),
            warming: (cluster.config.pool.warm > 0).then(Warming::default),
            pool: Rc::new(Pool {
                admission: Admission::new(&cluster, worker),
                builder: connection::builder(cluster.config.max_head_bytes),
                cluster,
                worker,
            }),
        })
    }

    pub fn cluster(&self) -> &Arc<Cluster> {
        &self.pool.cluster
    }

    pub fn name(&self) -> &Name {
        self.cluster().name()
    }

    pub fn stats(&self) -> &ClusterStats {
        self.pool.stats()
    }

    /// To be called now and then: closes idle connections, and those that the origin has
    /// closed.
    pub fn sweep(&self, now: Instant, what: Sweep) {
        let mut choice = self.choice.borrow_mut();
        choice.follow(&self.pool);
        let look_after = |endpoint: &Rc<WorkerEndpoint>| {
            let what = match endpoint.shared.vitals.is_drained() {
                true => Sweep::Idle,
                false => what,
            };
            endpoint.sweep(&self.pool, now, what);
            if endpoint.gives_one_up(&self.pool) {
                endpoint.close_an_idle(&self.pool);
            }
            endpoint.tell(&self.pool, now);
        };
        match what {
            Sweep::Idle => choice.known().for_each(look_after),
            Sweep::Old => choice.some_known().for_each(look_after),
        }
        if let Some(destinations) = &self.destinations {
            destinations.sweep(&self.pool, now, what);
        }
        drop(choice);
        if self.pool.gives_one_up() {
            self.close_an_idle();
        }
        if self.cluster().bounds.is_some() && self.stats().active.get() == 0 {
            self.pool.admission.rest();
        }
    }

    /// To be called now and then where nothing is to be given up: makes connections ahead.
    pub fn fill(&self, now: Instant) {
        if let Some(warming) = &self.warming {
            let mut choice = self.choice.borrow_mut();
            choice.follow(&self.pool);
            warming.fill(&mut choice, &self.pool, now);
        }
    }

    /// There was no answer within the time of the whole exchange, or within what a client
    /// gives it, asked at `began`. Who only waited for its turn has asked nobody.
    pub fn late(&self, progress: &Progress, kind: ErrorKind, began: Instant) {
        let cluster = self.cluster();
        self.stats().errors(kind as usize).add(1);
        let is_own = kind != ErrorKind::DeadlineExceeded;
        let began = progress.tried_since().unwrap_or(began);
        if !is_own && began.elapsed() < FAIR || progress.hurry.spares(kind) {
            return;
        }
        let Some(endpoint) = progress.endpoint() else {
            return;
        };
        self.pool.got_nothing(&endpoint, kind);
        self.pool.note(&endpoint, Answer::None);
        // What clients say is no reason to ask nobody any more.
        let bounds = cluster.bounds.as_ref();
        if is_own && bounds.is_some_and(|bounds| bounds.has_breaker()) {
            let stats = self.stats();
            let (all, failed) = match progress.is_probe.get() {
                true => (&stats.probes, &stats.probes_failed),
                false => (&stats.judged, &stats.judged_failed),
            };
            all.add(1);
            failed.add(1);
        }
    }

    /// Makes room for another connection. `false` where none is idle.
    pub(super) fn close_an_idle(&self) -> bool {
        let choice = self.choice.borrow();
        let mut known = choice.known();
        known.any(|endpoint| endpoint.close_an_idle(&self.pool))
            || (self.destinations.as_ref())
                .is_some_and(|destinations| destinations.close_an_idle(&self.pool))
    }

    /// An endpoint for it, or why there is none.
    pub(super) fn pick(&self, now: Instant, progress: &Progress) -> Result<Pick, ErrorKind> {
        self.pick_any(now, progress, false)
    }

    /// The same for a request that was tried at all of them.
    pub(super) fn pick_again(&self, now: Instant, progress: &Progress) -> Result<Pick, ErrorKind> {
        self.pick_any(now, progress, true)
    }

    fn pick_any(
        &self,
        now: Instant,
        progress: &Progress,
        is_retry: bool,
    ) -> Result<Pick, ErrorKind> {
        if let Some(destinations) = &self.destinations {
            let wanted = &progress.destinations;
            let picked = destinations.pick(wanted, &[], &self.pool, now);
            let pick = |picked| Pick::new(picked, None);
            return picked.map(pick).ok_or(ErrorKind::NoEndpoint);
        }
        let mut choice = self.choice.borrow_mut();
        choice.follow(&self.pool);
        let asked = Asked {
            is_retry,
            ..self.asked(now, progress, &[])
        };
        let picked = choice.pick(&asked).ok_or(ErrorKind::NoEndpoint)?;
        // Then it was looked for one that has not, among all or a thousand of them.
        if has_all_requests(&picked.shared, &asked) {
            return Err(ErrorKind::EndpointLimit);
        }
        let why_not = match self.at(Rc::clone(&picked), &asked) {
            Ok(pick) => return Ok(pick),
            Err(why_not) => why_not,
        };
        if why_not == WhyNot::Full || !picked.shared.is_left_alone(now) {
            // Another worker was faster.
            let pick = self.pick_with_room(&mut choice, &asked);
            if let Some(pick) = pick {
                return Ok(pick);
            }
        }
        if why_not == WhyNot::Full {
            return Err(ErrorKind::EndpointLimit);
        }
        // Who is late may be so for others only; where there is a breaker, that is what refuses.
        let bounds = self.cluster().bounds.as_ref();
        let is_asked = match bounds.is_some_and(|bounds| bounds.has_breaker()) {
            true => Some(picked),
            false => choice.pick_late(&asked),
        };
        let endpoint = is_asked.ok_or(ErrorKind::EndpointSilent)?;
        self.all_the_same(endpoint, &asked)
            .ok_or(ErrorKind::EndpointLimit)
    }

    /// An endpoint that may have another request. Each time that one has none any more when it
    /// is asked, another worker was faster; that has an end.
    fn pick_with_room(&self, choice: &mut Choice, asked: &Asked<'_>) -> Option<Pick> {
        for _ in 0..RACES {
            let picked = choice.pick_other(asked)?;
            if let Ok(pick) = self.at(picked, asked) {
                return Some(pick);
            }
        }
        None
    }

    fn at(&self, endpoint: Rc<WorkerEndpoint>, asked: &Asked<'_>) -> Result<Pick, WhyNot> {
        if !endpoint.shared.is_silent() || endpoint.has_way(asked.now) {
            return self.all_the_same(endpoint, asked).ok_or(WhyNot::Full);
        }
        if endpoint.shared.is_left_alone(asked.now) {
            return Err(WhyNot::Silent);
        }
        let pick = self.all_the_same(endpoint, asked).ok_or(WhyNot::Full)?;
        let pause = self.cluster().config.silent_pause;
        match pick.endpoint.shared.may_ask(asked.now, pause) {
            true => Ok(pick),
            false => Err(WhyNot::Silent),
        }
    }

    /// Though it may be silent.
    fn all_the_same(&self, endpoint: Rc<WorkerEndpoint>, asked: &Asked<'_>) -> Option<Pick> {
        let most = self.cluster().config.bounds.per_endpoint.retries;
        let Some(most) = most.filter(|_| asked.is_retry) else {
            return self.again(endpoint, asked.now);
        };
        let held = Held::one_of(most, endpoint.shared.vitals.at_once(), Kind::Retry)?;
        let pick = self.again(endpoint, asked.now)?;
        Some(pick.counted_as_retry(held))
    }

    /// Whether an endpoint may have so many retries.
    pub(super) fn limits_retries_of_endpoints(&self) -> bool {
        self.cluster().config.bounds.per_endpoint.retries.is_some()
    }

    /// An endpoint that was picked already. `None` where it has as many requests as it may.
    pub(super) fn again(&self, endpoint: Rc<WorkerEndpoint>, now: Instant) -> Option<Pick> {
        let config = &self.cluster().config;
        let watched = config.balance.watches().then_some(now);
        Pick::one_of(config.bounds.per_endpoint.requests, endpoint, watched)
    }

    /// A request that was sent there since then has failed so.
    pub(super) fn blame(
        &self,
        endpoint: &WorkerEndpoint,
        since: Instant,
        error: &ProxyError,
        progress: &Progress,
    ) {
        if !is_of_endpoint(error.kind) || progress.hurry.spares(error.kind) {
            return;
        }
        if self.cluster().config.balance.watches() {
            endpoint.failed(since);
        }
        let answer = failure_of(error.kind);
        if answer == Answer::None {
            self.pool.got_nothing(&endpoint.shared, error.kind);
        }
        if !is_refusal(error) {
            self.pool.count(endpoint, answer);
        }
    }

    /// The head of an answer is there, and says how the endpoint did, or does not yet.
    pub(super) fn heard(&self, pick: &Pick, now: Instant, head: &Parts, said: Option<Answer>) {
        if pick.is_watched() {
            pick.answered(now, outcome(head));
        }
        match said {
            Some(said) => self.pool.count(&pick.endpoint, said),
            None => self.pool.answered(&pick.endpoint.shared),
        }
    }

    /// One that was not tried yet, also one that refused lately or is silent where there is no
    /// better one.
    pub(super) fn pick_other(
        &self,
        now: Instant,
        progress: &Progress,
        tried: &[Rc<WorkerEndpoint>],
    ) -> Option<Pick> {
        if let Some(destinations) = &self.destinations {
            let wanted = &progress.destinations;
            let picked = destinations.pick(wanted, tried, &self.pool, now)?;
            return Some(Pick::new(picked, None));
        }
        let mut choice = self.choice.borrow_mut();
        choice.follow(&self.pool);
        let asked = Asked {
            is_retry: true,
            ..self.asked(now, progress, tried)
        };
        if let Some(pick) = self.pick_with_room(&mut choice, &asked) {
            return Some(pick);
        }
        // Rather than to fail a request that was let in. There are few while nobody is there.
        let asked = Asked {
            also_silent: true,
            ..asked
        };
        let picked = choice.pick_other(&asked)?;
        self.all_the_same(picked, &asked)
    }

    /// Whether there is one that was not tried yet, full or not.
    pub(super) fn has_other(
        &self,
        now: Instant,
        progress: &Progress,
        tried: &[Rc<WorkerEndpoint>],
    ) -> bool {
        let asked = Asked {
            limits: None,
            ..self.asked(now, progress, tried)
        };
        self.choice.borrow_mut().pick_other(&asked).is_some()
    }

    fn asked<'a>(
        &'a self,
        now: Instant,
        progress: &'a Progress,
        tried: &'a [Rc<WorkerEndpoint>],
    ) -> Asked<'a> {
        // This request is counted already.
        let active = self.stats().active.get().saturating_sub(1);
        Asked {
            policy: &self.cluster().config.balance,
            now,
            key: progress.key.get(),
            active: u64::try_from(active).unwrap_or(0),
            labels: &progress.labels,
            slow_start: &self.cluster().config.spread.slow_start,
            limits: Some(&self.cluster().config.bounds.per_endpoint)
                .filter(|limits| limits.is_any()),
            is_retry: false,
            also_silent: false,
            tried,
        }
    }

    /// Notes by which key the request is picked for, where the cluster hashes.
    pub(super) fn note_key(&self, fields: &HeaderMap, progress: &Progress) -> Option<NewCookie> {
        let hashing = self.cluster().config.balance.hashing()?;
        hash_key::note(hashing, fields, progress)
    }
}

/// What is leased still is closed when it comes back.
impl Drop for WorkerCluster {
    fn drop(&mut self) {
        self.pool.admission.retire();
        let now = Instant::now();
        for endpoint in self.choice.get_mut().known() {
            endpoint.retire(&self.pool);
            endpoint.tell(&self.pool, now);
        }
        if let Some(destinations) = &self.destinations {
            destinations.retire(&self.pool);
        }
    }
}

impl fmt::Debug for WorkerCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerCluster")
            .field("name", self.name())
            .field("worker", &self.pool.worker)
            .finish_non_exhaustive()
    }
}
