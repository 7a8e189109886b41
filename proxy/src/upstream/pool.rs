//! The connections of one worker to one endpoint: idle ones in a stack, the
//! others leased.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use hyper::client::conn::http1;
use tokio::time::Instant;

use super::admission::{Admission, Entry};
use super::classify::answer_of_call;
use super::connection::Connection;
use super::http2::{Channel, Channels};
use super::hurry::Hurry;
use super::request::Progress;
use crate::balance::outlier::Answer;
use crate::balance::peak_ewma::{self, Outcome, Tally};
use crate::balance::silence::Nothing;
use crate::cluster::clock::since_start;
use crate::cluster::{Cluster, Endpoint, Held};
use crate::config::{ClusterProtocol, PoolLimits};
use crate::error::{ErrorKind, Origin, ProxyError};
use crate::http::grpc;
use crate::proxy_protocol::Ends;
use crate::stats::ClusterStats;

/// An endpoint with what one worker knows about it.
pub(super) struct WorkerEndpoint {
    pub shared: Arc<Endpoint>,
    /// The most recently used on top: the others grow old and are closed.
    #[allow(
        clippy::vec_box,
        reason = "a connection is large, and moves with every lease"
    )]
    idle: RefCell<Vec<Box<Connection>>>,
    /// Those of HTTP/2, which requests share.
    pub channels: Channels,
    /// Whether it chose HTTP/1 in its last TLS handshake, where it was asked.
    pub chose_http1: Cell<bool>,
    /// Connections of this worker, those that are being made among them.
    pub open: Rc<Cell<u32>>,
    /// Whether some are being made ahead, and before when no others are.
    pub is_warming: Cell<bool>,
    pub warms_next: Cell<Option<Instant>>,
    active: Cell<u32>,
    /// How requests went, where the cluster's policy goes by that.
    tally: Cell<Tally>,
    /// Tries that are over, and those that were failures.
    requests: Cell<u64>,
    failures: Cell<u64>,
    /// What of all that was told, by which worker of how many.
    told: Cell<Told>,
    teller: Cell<Option<(usize, usize)>>,
    /// Of the worker's clusters: more than one after a reload that left it where it was, and
    /// none once it is retired.
    holders: Cell<u32>,
    /// The newest cluster has it no longer.
    has_left: Cell<bool>,
}

impl WorkerEndpoint {
    pub fn new(shared: Arc<Endpoint>) -> Rc<Self> {
        Rc::new(Self {
            shared,
            idle: RefCell::default(),
            channels: Channels::default(),
            chose_http1: Cell::new(false),
            open: Rc::default(),
            is_warming: Cell::new(false),
            warms_next: Cell::new(None),
            active: Cell::new(0),
            tally: Cell::default(),
            requests: Cell::new(0),
            failures: Cell::new(0),
            told: Cell::default(),
            teller: Cell::new(None),
            holders: Cell::new(1),
            has_left: Cell::new(false),
        })
    }

    /// The same in the next cluster of the name.
    pub fn hold(self: &Rc<Self>) -> Rc<Self> {
        self.holders.set(self.holders.get() + 1);
        self.has_left.set(false);
        Rc::clone(self)
    }

    /// No longer in any cluster: nothing is kept.
    fn is_retired(&self) -> bool {
        self.holders.get() == 0 || self.has_left.get()
    }

    /// Whether connections there are of HTTP/1, as far as it has said.
    pub fn speaks_http1(&self, pool: &Pool) -> bool {
        match pool.cluster.config.protocol {
            ClusterProtocol::Http1 => true,
            ClusterProtocol::Http2 => false,
            ClusterProtocol::Auto => pool.cluster.tls.is_none() || self.chose_http1.get(),
        }
    }

    /// Whether connections to it may be made ahead.
    pub fn is_to_be_warm(&self, now: Instant) -> bool {
        !self.is_retired() && self.shared.is_well(now)
    }

    /// Whether there are fewer than are to be made ahead.
    pub fn lacks_connections(&self, pool: &Pool, now: Instant) -> bool {
        match self.speaks_http1(pool) {
            true => self.open.get() < pool.limits().warm,
            false => !self.channels.has_lasting(now),
        }
    }

    /// One of HTTP/1 that was made for requests to come.
    pub fn keep(&self, pool: &Pool, mut connection: Box<Connection>) {
        pool.stats().connections_opened.add(1);
        let mut idle = self.idle.borrow_mut();
        let is_unwanted = self.is_retired() || idle.len() >= pool.limits().max_idle;
        if is_unwanted || pool.gives_one_up() || self.gives_one_up(pool) {
            pool.stats().connections_discarded.add(1);
            return;
        }
        connection.idle_since = Instant::now();
        idle.push(connection);
        pool.stats().connections_idle.add(1);
    }

    /// A connection of HTTP/2 that others may use as well.
    pub fn keep_channel(&self, channel: Rc<Channel>) {
        if !self.is_retired() {
            self.channels.add(channel);
        }
    }

    /// Requests under way there, connecting ones included.
    pub fn active(&self) -> u32 {
        self.active.get()
    }

    pub fn tally(&self) -> Tally {
        self.tally.get()
    }

    fn began(&self, now: Instant) {
        self.change(|tally| tally.began(since_start(now)));
    }

    fn ended(&self, since: Instant, now: Instant, outcome: Outcome) {
        let took = now.saturating_duration_since(since);
        let rules = peak_ewma::Rules::default();
        self.change(|tally| tally.ended(since_start(now), took, outcome, &rules));
    }

    /// A request that nobody waits for any more was this endpoint's failure.
    pub fn failed(&self, since: Instant) {
        let now = Instant::now();
        self.began(now);
        self.ended(since, now, Outcome::Failed);
    }

    pub fn count(&self, answer: Answer) {
        self.requests.set(self.requests.get() + 1);
        let is_failure = u64::from(answer != Answer::Well);
        self.failures.set(self.failures.get() + is_failure);
    }

    /// Lets the control thread know.
    pub fn tell(&self, pool: &Pool, now: Instant) {
        let workers = pool.cluster.stats.iter().count();
        self.teller.set(Some((pool.worker, workers)));
        let latency = self
            .tally()
            .latency(since_start(now), &peak_ewma::Rules::default());
        let latency = latency.map_or(0, |latency| latency.as_nanos().max(1));
        let latency = i64::try_from(latency).unwrap_or(i64::MAX);
        if let Some(seen) = self.shared.vitals.seen_by(pool.worker, workers) {
            seen.latency.store(latency, Relaxed);
        }
        self.tell_counts(self.counts());
    }

    fn counts(&self) -> Told {
        let idle = self.idle.borrow().len() + self.channels.idle();
        Told {
            requests: self.requests.get(),
            failures: self.failures.get(),
            active: self.active().into(),
            open: self.open.get().into(),
            idle: idle as i64,
            streams: self.channels.streams() as i64,
        }
    }

    /// What is new, if anything was told before.
    fn tell_counts(&self, now: Told) {
        let Some((worker, workers)) = self.teller.get() else {
            return;
        };
        if self.told.get() == now {
            return;
        }
        if let Some(seen) = self.shared.vitals.seen_by(worker, workers) {
            let before = self.told.replace(now);
            seen.requests.add(now.requests - before.requests);
            seen.failures.add(now.failures - before.failures);
            seen.active.add(now.active - before.active);
            seen.open.add(now.open - before.open);
            seen.idle.add(now.idle - before.idle);
            seen.streams.add(now.streams - before.streams);
        }
    }

    fn change(&self, change: impl FnOnce(&mut Tally)) {
        let mut tally = self.tally.get();
        change(&mut tally);
        self.tally.set(tally);
    }

    /// The idle connection of this client that was used last, if one is still good.
    pub fn checkout(
        &self,
        pool: &Pool,
        client: Option<Ends>,
        now: Instant,
    ) -> Option<Box<Connection>> {
        loop {
            let mut idle = self.idle.borrow_mut();
            let last = idle.iter().rposition(|idle| idle.client == client)?;
            let connection = idle.remove(last);
            drop(idle);
            pool.stats().connections_idle.sub(1);
            if !connection.is_closed() && !pool.is_too_old(&connection, now) {
                return Some(connection);
            }
            pool.stats().connections_expired.add(1);
        }
    }

    fn give_back(&self, pool: &Pool, mut connection: Box<Connection>) -> Result<(), Discarded> {
        let mut idle = self.idle.borrow_mut();
        let is_unwanted = self.is_retired() || idle.len() >= pool.limits().max_idle;
        let is_unwanted = is_unwanted || pool.gives_one_up() || self.gives_one_up(pool);
        if is_unwanted || !connection.rest() {
            return Err(Discarded);
        }
        let now = Instant::now();
        let most = pool.limits().max_requests;
        if now >= connection.expires || most.is_some_and(|most| connection.requests >= most) {
            return Err(Discarded);
        }
        connection.idle_since = now;
        idle.push(connection);
        pool.stats().connections_idle.add(1);
        Ok(())
    }

    /// Whether another worker wants a connection to it, of which there may be so many.
    pub fn gives_one_up(&self, pool: &Pool) -> bool {
        pool.most_connections().is_some() && self.shared.vitals.at_once().is_wanted()
    }

    /// Whether something of it serves a request without another connection.
    pub fn has_way(&self, now: Instant) -> bool {
        !self.idle.borrow().is_empty() || self.channels.with_room(now).is_some()
    }

    /// Whether nothing is kept or under way.
    pub fn is_unused(&self) -> bool {
        self.active() == 0 && self.idle.borrow().is_empty() && self.channels.is_empty()
    }

    /// Closes idle connections, and finds those that the origin has closed.
    pub fn sweep(&self, pool: &Pool, now: Instant, what: Sweep) {
        let mut idle = self.idle.borrow_mut();
        let before = idle.len();
        idle.retain_mut(|connection| {
            what == Sweep::Old && !pool.is_too_old(connection, now) && connection.is_alive()
        });
        let closed = before - idle.len();
        pool.stats().connections_idle.sub(closed as i64);
        let goes = |channel: &Channel| {
            what == Sweep::Idle || pool.is_past(channel.expires, channel.idle_since.get(), now)
        };
        let closed = closed + self.channels.sweep(goes);
        pool.stats().connections_expired.add(closed as u64);
    }

    /// Closes the idle connection that was not used for longest. `false` without any.
    pub fn close_an_idle(&self, pool: &Pool) -> bool {
        let mut idle = self.idle.borrow_mut();
        if idle.is_empty() {
            drop(idle);
            let is_closed = self.channels.close_an_idle();
            pool.stats().connections_expired.add(u64::from(is_closed));
            return is_closed;
        }
        let closed = idle.remove(0);
        drop((idle, closed));
        pool.stats().connections_idle.sub(1);
        pool.stats().connections_expired.add(1);
        true
    }

    /// One cluster has it no longer. The last closes what is idle and keeps nothing from now
    /// on; leases go on to the end of their answers.
    pub fn retire(&self, pool: &Pool) {
        self.holders.set(self.holders.get().saturating_sub(1));
        if self.is_retired() {
            self.close_idle(pool);
        }
    }

    /// The newest cluster has it no longer, whatever older ones do.
    pub fn leave(&self, pool: &Pool) {
        self.set_left();
        self.close_idle(pool);
    }

    /// Nothing is kept of it.
    pub fn set_left(&self) {
        self.has_left.set(true);
    }

    fn close_idle(&self, pool: &Pool) {
        let closed = std::mem::take(&mut *self.idle.borrow_mut()).len();
        pool.stats().connections_idle.sub(closed as i64);
        let closed = closed + self.channels.retire();
        pool.stats().connections_expired.add(closed as u64);
    }
}

/// Nothing is under way there any more that this worker began.
impl Drop for WorkerEndpoint {
    fn drop(&mut self) {
        self.tell_counts(Told {
            requests: self.requests.get(),
            failures: self.failures.get(),
            ..Told::default()
        });
        let Some((worker, workers)) = self.teller.get() else {
            return;
        };
        if let Some(seen) = self.shared.vitals.seen_by(worker, workers) {
            seen.latency.store(0, Relaxed);
        }
    }
}

/// What the control thread knows of an endpoint by one that knows it on a worker.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Told {
    requests: u64,
    failures: u64,
    active: i64,
    open: i64,
    idle: i64,
    streams: i64,
}

/// Which idle connections are closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sweep {
    /// Those that are too old.
    Old,
    /// All: what they take is needed for something else.
    Idle,
}

struct Discarded;

/// The rules of a cluster's pools on one worker, and where it counts.
pub(super) struct Pool {
    pub cluster: Arc<Cluster>,
    pub worker: usize,
    pub admission: Rc<Admission>,
    pub builder: http1::Builder,
}

impl Pool {
    /// The client that a connection belongs to, where the origin is told.
    pub fn told(&self, client: Option<Ends>) -> Option<Ends> {
        self.cluster.config.proxy_protocol?;
        client
    }

    /// An endpoint that fails again and again is told of, once for each row.
    pub fn note(&self, endpoint: &Endpoint, answer: Answer) {
        if answer != Answer::None {
            self.answered(endpoint);
        }
        let rules = &self.cluster.config.outliers.rules;
        if endpoint.vitals.count(answer, rules) {
            self.cluster.bell.notify_one();
        }
    }

    /// Whether another worker wants for a connection, which is to be given up here.
    pub fn gives_one_up(&self) -> bool {
        let bounds = self.cluster.bounds.as_ref();
        bounds.is_some_and(|bounds| bounds.connections.is_wanted())
    }

    /// To one endpoint, where that is limited.
    pub fn most_connections(&self) -> Option<u32> {
        self.cluster.config.bounds.per_endpoint.connections
    }

    /// Those that share what there may be, the thread of jobs among them.
    pub fn workers(&self) -> u32 {
        self.cluster.stats.iter().count() as u32
    }

    pub fn stats(&self) -> &ClusterStats {
        self.cluster.stats.of(self.worker)
    }

    /// How a request ended there.
    pub fn count(&self, endpoint: &WorkerEndpoint, answer: Answer) {
        endpoint.count(answer);
        self.note(&endpoint.shared, answer);
    }

    /// Something is there, and speaks.
    pub fn answered(&self, endpoint: &Endpoint) {
        if endpoint.answered() {
            self.cluster.bell.notify_one();
        }
    }

    /// A connection there was made.
    pub fn connected(&self, endpoint: &Endpoint) {
        if endpoint.connected() {
            self.cluster.bell.notify_one();
        }
    }

    /// A request that was sent there, or a connection, got nothing, for this reason.
    pub fn got_nothing(&self, endpoint: &Endpoint, why: ErrorKind) {
        let nothing = match why {
            ErrorKind::ConnectFailed
            | ErrorKind::ConnectTimeout
            | ErrorKind::UpstreamTlsFailed
            | ErrorKind::TlsTimeout => Nothing::Unconnected,
            ErrorKind::UpstreamReset => Nothing::Broken,
            _ => Nothing::Late,
        };
        if endpoint.got(nothing, self.cluster.config.silent_pause) {
            self.cluster.bell.notify_one();
        }
    }

    /// When a connection that is made now is too old: up to a tenth before the
    /// configured time, so that they do not all go at once.
    pub fn expiry(&self, now: Instant) -> Instant {
        let lifetime = self.limits().max_lifetime;
        let jitter = lifetime.mul_f64(0.1 * fastrand::f64());
        now.checked_add(lifetime.saturating_sub(jitter))
            .unwrap_or(now + FAR)
    }

    pub fn limits(&self) -> &PoolLimits {
        &self.cluster.config.pool
    }

    fn is_too_old(&self, connection: &Connection, now: Instant) -> bool {
        self.is_past(connection.expires, connection.idle_since, now)
    }

    fn is_past(&self, expires: Instant, idle_since: Instant, now: Instant) -> bool {
        now >= expires || now.saturating_duration_since(idle_since) >= self.limits().idle_timeout
    }
}

/// What stands for times that do not fit the clock.
const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

/// The choice of an endpoint for one request, counted from the pick to the
/// answer's last byte.
pub(super) struct Pick {
    pub endpoint: Rc<WorkerEndpoint>,
    /// Whether the endpoint's tally is told.
    is_watched: bool,
    /// Since when the endpoint owes an answer's head, as the tally was told.
    waiting: Cell<Option<Instant>>,
    /// Whether it is one of so many at the endpoint.
    is_counted: Cell<bool>,
    /// The same of those that were tried before.
    as_retry: Cell<Option<Held>>,
}

impl Pick {
    /// What comes of it is told from `watched` on, or not at all.
    pub fn new(endpoint: Rc<WorkerEndpoint>, watched: Option<Instant>) -> Self {
        endpoint.active.set(endpoint.active.get() + 1);
        if let Some(now) = watched {
            endpoint.began(now);
        }
        Self {
            endpoint,
            is_watched: watched.is_some(),
            waiting: Cell::new(watched),
            is_counted: Cell::new(false),
            as_retry: Cell::default(),
        }
    }

    /// Counted among the retries at the endpoint.
    pub fn counted_as_retry(self, held: Held) -> Self {
        self.as_retry.set(Some(held));
        self
    }

    /// The same where there may be so many at the endpoint. `None` where there are.
    pub fn one_of(
        most: Option<u32>,
        endpoint: Rc<WorkerEndpoint>,
        watched: Option<Instant>,
    ) -> Option<Self> {
        let Some(most) = most else {
            return Some(Self::new(endpoint, watched));
        };
        let may_begin = endpoint.shared.vitals.at_once().begin_request(most);
        may_begin.then(|| {
            let pick = Self::new(endpoint, watched);
            pick.is_counted.set(true);
            pick
        })
    }

    /// Another in its place, of which the tally is not told.
    fn hand_over(&self) -> Self {
        let next = Self::new(Rc::clone(&self.endpoint), None);
        next.is_counted.set(self.is_counted.take());
        next.as_retry.set(self.as_retry.take());
        next
    }

    /// The request has been sent.
    pub fn wait(&self) {
        if self.is_watched && self.waiting.get().is_none() {
            let now = Instant::now();
            self.endpoint.began(now);
            self.waiting.set(Some(now));
        }
    }

    /// The request takes as long as the client does: the endpoint owes nothing, and if no
    /// answer comes that says nothing of it.
    pub fn rest(&self) {
        if let Some(since) = self.waiting.take() {
            self.endpoint.ended(since, since, Outcome::GivenUp);
        }
    }

    pub fn is_watched(&self) -> bool {
        self.is_watched
    }

    /// The head of the answer is there.
    pub fn answered(&self, now: Instant, outcome: Outcome) {
        match self.waiting.take() {
            Some(since) => self.endpoint.ended(since, now, outcome),
            None if matches!(outcome, Outcome::Refused { .. }) => self.refused(now),
            None => {}
        }
    }

    /// What the trailers of an answer say, if they are of gRPC.
    pub fn heard_at_end(&self, status: Option<u8>) {
        match status {
            Some(grpc::RESOURCE_EXHAUSTED) => self.refused(Instant::now()),
            Some(status) if self.is_watched && answer_of_call(status) != Answer::Well => {
                self.endpoint.failed(Instant::now());
            }
            Some(_) | None => {}
        }
    }

    /// The rest of its answer says that the endpoint has too much to do.
    fn refused(&self, now: Instant) {
        if self.is_watched {
            self.endpoint
                .change(|tally| tally.refused(since_start(now)));
        }
    }
}

impl Drop for Pick {
    fn drop(&mut self) {
        if let Some(since) = self.waiting.take() {
            self.endpoint.ended(since, Instant::now(), Outcome::GivenUp);
        }
        let active = &self.endpoint.active;
        active.set(active.get() - 1);
        if self.is_counted.get() {
            self.endpoint.shared.vitals.at_once().end_request();
        }
        // No tick sees it any more.
        if self.endpoint.is_retired() {
            self.endpoint.tell_counts(self.endpoint.counts());
        }
    }
}

/// A connection lent for one request and its answer. Dropped before it is
/// finished, the connection is closed and counted as discarded.
pub(super) struct Lease {
    connection: Option<Box<Connection>>,
    pick: Pick,
    pool: Rc<Pool>,
    pub reused: bool,
}

impl Lease {
    pub fn new(connection: Box<Connection>, pick: Pick, pool: Rc<Pool>, reused: bool) -> Self {
        let counter = match reused {
            true => &pool.stats().connections_reused,
            false => &pool.stats().connections_opened,
        };
        counter.add(1);
        Self {
            connection: Some(connection),
            pick,
            pool,
            reused,
        }
    }

    pub fn connection(&mut self) -> &mut Connection {
        self.connection
            .as_mut()
            .expect("a lease has its connection until it is finished")
    }

    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.pick.endpoint.shared
    }

    pub fn pick(&self) -> &Pick {
        &self.pick
    }

    /// The connection goes on in another protocol.
    pub fn into_connection(mut self) -> (Box<Connection>, Pick) {
        let connection = self.connection.take();
        let pick = self.pick.hand_over();
        (
            connection.expect("a lease has its connection until it is finished"),
            pick,
        )
    }

    /// The answer was read to its end: the connection may serve again.
    pub fn finish(mut self) {
        let Some(connection) = self.connection.take() else {
            return;
        };
        if let Err(Discarded) = self.pick.endpoint.give_back(&self.pool, connection) {
            self.pool.stats().connections_discarded.add(1);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.connection.is_some() {
            self.pool.stats().connections_discarded.add(1);
        }
    }
}

/// A request under way, from the call of `forward` to the answer's last byte.
pub(super) struct Active {
    pool: Rc<Pool>,
    /// Where the cluster has bounds.
    entry: Option<Entry>,
    hurry: Hurry,
}

impl Active {
    /// As soon as the cluster's bounds let it in.
    pub async fn begin(pool: &Rc<Pool>, progress: &Progress) -> Result<Self, ProxyError> {
        let entry = match &pool.cluster.bounds {
            None => None,
            Some(bounds) => match Entry::of(&pool.admission, bounds).await {
                Ok(entry) => Some(entry),
                Err(error) => {
                    pool.stats().errors(error.kind as usize).add(1);
                    return Err(error);
                }
            },
        };
        pool.stats().requests.add(1);
        pool.stats().active.add(1);
        progress
            .is_probe
            .set(entry.as_ref().is_some_and(Entry::is_probe));
        let (pool, hurry) = (Rc::clone(pool), progress.hurry);
        Ok(Self { pool, entry, hurry })
    }

    /// Tells the breaker how it went, as far as its answer's head says.
    pub fn judge(&self, has_failed: bool) {
        if let Some(entry) = &self.entry {
            entry.judge(has_failed);
        }
    }

    /// The head of an answer is there, of which only the end says how it went. A probe of the
    /// breaker is not waited for: it may be a stream of days.
    pub fn began_to_end(&self) {
        if let Some(entry) = &self.entry {
            entry.judge_probe();
        }
    }

    /// Whether an endpoint that failed so is spared.
    pub fn spares(&self, kind: ErrorKind) -> bool {
        self.hurry.spares(kind)
    }

    /// How it went, where only the end of the answer says.
    pub fn ended(&self, endpoint: &WorkerEndpoint, answer: Answer) {
        self.judge(answer != Answer::Well);
        self.pool.count(endpoint, answer);
    }

    /// Counts the error, and gives it back.
    pub fn failed(self, error: ProxyError) -> ProxyError {
        self.pool.stats().errors(error.kind as usize).add(1);
        // What was not sent says nothing of the origin.
        let was_sent = !matches!(
            error.kind,
            ErrorKind::NoEndpoint
                | ErrorKind::ConnectionLimit
                | ErrorKind::EndpointLimit
                | ErrorKind::EndpointSilent
                | ErrorKind::PendingLimit
        );
        // Nor does what had no time.
        let had_time = !self.hurry.spares(error.kind);
        if error.kind.origin() == Origin::Upstream && was_sent && had_time {
            self.judge(true);
        }
        error
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.pool.stats().active.sub(1);
    }
}
