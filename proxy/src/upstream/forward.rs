//! One request to an origin: pick, lease or connect, send, and the answer's
//! head.

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::{Method, Request, Response, Version};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::answer::{Answer, AnswerBody};
use super::body::RequestBody;
use super::classify::classify;
use super::connect::{Tried, connect};
use super::connection::Connection;
use super::pool::{Active, Lease, Pick};
use super::request::{Progress, UpstreamRequest, from_sent, to_hyper};
use super::worker_cluster::WorkerCluster;
use crate::config::ClusterTimeouts;
use crate::error::{ErrorKind, ProxyError};
use crate::http::h1::check_answer;

/// How long one request may take. Connecting has the cluster's own timeout.
#[derive(Debug, Clone)]
pub struct ForwardTimeouts {
    /// From the request's last byte to the answer's head.
    pub answer: Duration,
    /// Without a byte of the answer's body, or without the origin taking a byte
    /// of the request's.
    pub idle: Duration,
    /// From the call to the answer's head, all in all.
    pub try_timeout: Option<Duration>,
}

impl From<&ClusterTimeouts> for ForwardTimeouts {
    fn from(timeouts: &ClusterTimeouts) -> Self {
        Self {
            answer: timeouts.answer,
            idle: timeouts.idle,
            try_timeout: None,
        }
    }
}

/// Sends one request and waits for the head of its answer, which may come
/// before the request's body has ended. A request that met a dead connection is
/// sent once more on a fresh one, when nothing of it had been sent or when it
/// is repeatable and no byte of an answer came. Where a fresh one dies in the same
/// way, it is sent to other endpoints, to three at most in all.
///
/// Dropping the future breaks the request off and closes its connection.
pub async fn forward(
    cluster: &Rc<WorkerCluster>,
    request: UpstreamRequest,
    timeouts: &ForwardTimeouts,
    progress: &Progress,
) -> Result<Answer, ProxyError> {
    let active = Active::begin(&cluster.pool);
    let start = Instant::now();
    let asked = Asked {
        method: request.method.clone(),
        repeatable: request.repeatable && matches!(request.body, RequestBody::Empty),
        progress,
        timeouts,
        try_deadline: timeouts.try_timeout.map(|timeout| start + timeout),
    };
    let request = to_hyper(request.method, request.path, request.headers, request.body);
    let answered = match reuse(cluster, request, &asked, start).await {
        Ok(answered) => answered,
        Err(error) => return Err(active.failed(error)),
    };
    let (parts, incoming) = answered.response.into_parts();
    // What hyper takes for an answer may still break a rule.
    if let Err(why) = check_answer(&parts, &asked.method) {
        return Err(active.failed(ProxyError::because(ErrorKind::BadAnswer, why)));
    }
    let now = Instant::now();
    cluster.stats().durations.observe(now - start);
    Ok(Answer {
        status: parts.status,
        headers: parts.headers,
        endpoint: answered.lease.endpoint().clone(),
        reused: answered.lease.reused,
        connect_time: answered.connect_time,
        answer_time: now - start,
        body: body(
            incoming,
            answered.lease,
            parts.version,
            timeouts.idle,
            active,
        ),
    })
}

/// What stays the same however often the request is sent.
struct Asked<'a> {
    method: Method,
    repeatable: bool,
    progress: &'a Progress,
    timeouts: &'a ForwardTimeouts,
    try_deadline: Option<Instant>,
}

struct Answered {
    response: Response<Incoming>,
    lease: Lease,
    connect_time: Option<Duration>,
}

/// Tries an idle connection first, if there is one. The other ways are boxed:
/// they are rare, and every exchange would carry room for them.
async fn reuse(
    cluster: &WorkerCluster,
    request: Request<RequestBody>,
    asked: &Asked<'_>,
    now: Instant,
) -> Result<Answered, ProxyError> {
    let pick = cluster
        .pick(now)
        .ok_or_else(|| ProxyError::new(ErrorKind::NoEndpoint))?;
    let Some(connection) = pick.endpoint.checkout(&cluster.pool, now) else {
        return Box::pin(fresh(cluster, pick, request, asked)).await;
    };
    let endpoint = Rc::clone(&pick.endpoint);
    asked.progress.tried(&endpoint.shared);
    let lease = Lease::new(connection, pick, Rc::clone(&cluster.pool), true);
    match send(lease, request, asked, now).await {
        Ok((response, lease)) => Ok(Answered {
            response,
            lease,
            connect_time: None,
        }),
        Err(Failed::Dead(request)) => {
            cluster.stats().retries.add(1);
            Box::pin(fresh(cluster, Pick::new(endpoint), *request, asked)).await
        }
        Err(Failed::Final(error)) => Err(error),
    }
}

async fn fresh(
    cluster: &WorkerCluster,
    mut pick: Pick,
    mut request: Request<RequestBody>,
    asked: &Asked<'_>,
) -> Result<Answered, ProxyError> {
    let mut tried = Tried::default();
    loop {
        let start = Instant::now();
        let deadline = asked.try_deadline;
        let lease = connect(cluster, pick, &mut tried, deadline, asked.progress).await?;
        let endpoint = Rc::clone(lease.worker_endpoint());
        let connected = Instant::now();
        request = match send(lease, request, asked, connected).await {
            Ok((response, lease)) => {
                return Ok(Answered {
                    response,
                    lease,
                    connect_time: Some(connected - start),
                });
            }
            Err(Failed::Dead(request)) => *request,
            Err(Failed::Final(error)) => return Err(error),
        };
        pick = tried.next(cluster, endpoint).ok_or_else(|| {
            ProxyError::because(ErrorKind::UpstreamReset, "a new connection closed at once")
        })?;
        cluster.stats().retries.add(1);
    }
}

enum Failed {
    /// The connection was dead before the origin took notice of this request.
    Dead(Box<Request<RequestBody>>),
    Final(ProxyError),
}

async fn send(
    mut lease: Lease,
    request: Request<RequestBody>,
    asked: &Asked<'_>,
    now: Instant,
) -> Result<(Response<Incoming>, Lease), Failed> {
    let keep_sent = asked.repeatable;
    let mut waiting = Waiting::new(asked, now, request.body());
    let mut sent = pin!(lease.connection().send(request, keep_sent));
    let received = poll_fn(|cx| {
        let connection = lease.connection();
        connection.poll(cx);
        while let Some(head) = connection.take_interim() {
            asked.progress.interim.borrow_mut().push(head);
        }
        let mut quiet = Context::from_waker(Waker::noop());
        match sent.as_mut().poll(&mut quiet) {
            Poll::Ready(received) => Poll::Ready(Ok(received)),
            Poll::Pending => waiting.poll(cx, connection).map(Err),
        }
    })
    .await;
    let mut error = match received {
        Ok(Ok(response)) => return Ok((response, lease)),
        Ok(Err(error)) => error,
        Err(kind) => return Err(Failed::Final(kind.into())),
    };
    let wire = lease.connection().wire.borrow();
    let request = match error.take_message() {
        None if keep_sent && wire.read == 0 => from_sent(&wire.sent),
        message => message,
    };
    Err(match request {
        Some(request) => Failed::Dead(Box::new(request)),
        None => Failed::Final(classify(error.into_error(), &wire)),
    })
}

/// The deadlines while there is no answer.
struct Waiting<'a> {
    asked: &'a Asked<'a>,
    answer_deadline: Option<Instant>,
    /// While the origin takes nothing: bytes it took before, and until when.
    stall: Option<(u64, Instant)>,
}

impl<'a> Waiting<'a> {
    fn new(asked: &'a Asked<'a>, now: Instant, body: &RequestBody) -> Self {
        let answer_deadline = match body {
            RequestBody::Empty => Some(now + asked.timeouts.answer),
            RequestBody::Stream(_) => None,
        };
        Self {
            asked,
            answer_deadline,
            stall: None,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>, connection: &mut Connection) -> Poll<ErrorKind> {
        let own = self.own_deadline(connection);
        let whole = self
            .asked
            .try_deadline
            .map(|at| (at, ErrorKind::AnswerTimeout));
        let first = own.into_iter().chain(whole).min_by_key(|(at, _)| *at);
        match first {
            Some((at, kind)) => connection.alarm.poll_until(cx, at).map(|()| kind),
            None => Poll::Pending,
        }
    }

    /// The answer's time runs once the body is sent. Before that only an origin
    /// that does not take what there is can be late.
    fn own_deadline(&mut self, connection: &Connection) -> Option<(Instant, ErrorKind)> {
        let timeouts = self.asked.timeouts;
        let Some(body) = connection.unsent_body() else {
            let deadline = self
                .answer_deadline
                .get_or_insert_with(|| Instant::now() + timeouts.answer);
            return Some((*deadline, ErrorKind::AnswerTimeout));
        };
        if !body.is_waiting() {
            self.stall = None;
            return None;
        }
        let written = connection.wire.borrow().written;
        let deadline = match self.stall {
            Some((before, deadline)) if before == written => deadline,
            Some(_) | None => Instant::now() + timeouts.idle,
        };
        self.stall = Some((written, deadline));
        Some((deadline, ErrorKind::UpstreamStalled))
    }
}

fn body(
    incoming: Incoming,
    mut lease: Lease,
    version: Version,
    idle_timeout: Duration,
    active: Active,
) -> AnswerBody {
    let connection = lease.connection();
    // hyper would speak HTTP/1.0 on this connection from now on, and silently
    // leave out bodies of unknown length.
    connection.is_last = version != Version::HTTP_11;
    match connection.unsent_body() {
        None => AnswerBody::driven(incoming, lease, idle_timeout, active),
        Some(unsent) => {
            unsent.answered();
            AnswerBody::apart(incoming, lease, idle_timeout, active)
        }
    }
}
