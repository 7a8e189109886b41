//! One request to an origin: pick, lease or connect, send, and the answer's
//! head.

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use h2::RecvStream;
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderValue, SET_COOKIE};
use http::response::Parts;
use http::{Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::answer::{Answer, AnswerBody};
use super::body::RequestBody;
use super::classify::{classify, refuses_certificate};
use super::connect::{Tried, Way, connect};
use super::connection::Connection;
use super::http2::{self, Channel, StreamLease};
use super::opaque::Opaque;
use super::pool::{Active, Lease, Pick, WorkerEndpoint};
use super::request::{Progress, UpstreamRequest, from_sent, to_hyper};
use super::worker_cluster::WorkerCluster;
use crate::balance::outlier;
use crate::balance::peak_ewma::Outcome;
use crate::config::{ClusterProtocol, ClusterTimeouts};
use crate::error::{ErrorKind, ProxyError};
use crate::http::Upgrade;
use crate::http::framing::is_bodiless;
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
        upgrade: request.upgrade.as_ref(),
        progress,
        timeouts,
        try_deadline: timeouts.try_timeout.map(|timeout| start + timeout),
    };
    let mut headers = request.headers;
    let new_cookie = cluster.note_key(&headers, progress);
    if request.upgrade.is_some() {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    }
    let request = to_hyper(request.method, request.path, headers, request.body);
    let answered = match reuse(cluster, request, &asked, start).await {
        Ok(answered) => answered,
        Err(error) => return Err(active.failed(error)),
    };
    let Answered {
        mut parts,
        received,
        connect_time,
    } = answered;
    let now = Instant::now();
    let pick = match &received {
        Received::Http1(_, lease) => lease.pick(),
        Received::Http2(_, lease) => lease.pick(),
    };
    // What hyper takes for an answer may still break a rule.
    if let Err(why) = check_answer(&parts, &asked.method, asked.upgrade) {
        pick.answered(now, Outcome::Failed);
        cluster.count(&pick.endpoint, outlier::Answer::Gateway);
        return Err(active.failed(ProxyError::because(ErrorKind::BadAnswer, why)));
    }
    cluster.heard(pick, now, &parts);
    // A client is not to be bound to an endpoint that fails.
    if let Some(cookie) = new_cookie
        && !parts.status.is_server_error()
    {
        parts.headers.append(SET_COOKIE, cookie);
    }
    cluster.stats().durations.observe(now - start);
    let (endpoint, reused) = match &received {
        Received::Http1(_, lease) => (lease.endpoint().clone(), lease.reused),
        Received::Http2(_, lease) => (lease.endpoint().clone(), lease.reused),
    };
    let body = match received {
        _ if parts.status == StatusCode::SWITCHING_PROTOCOLS => {
            AnswerBody::switched(switch(received, active).await?, timeouts.idle)
        }
        Received::Http1(incoming, lease) => {
            body(incoming, lease, parts.version, timeouts.idle, active)
        }
        Received::Http2(stream, lease) => {
            let length = length_of(&parts, &asked.method, &stream);
            AnswerBody::multiplexed(stream, lease, length, timeouts.idle, active)
        }
    };
    Ok(Answer {
        status: parts.status,
        version: parts.version,
        headers: parts.headers,
        endpoint,
        reused,
        connect_time,
        answer_time: now - start,
        body,
    })
}

/// What remains of a connection or a stream of which the rest is no HTTP.
async fn switch(received: Received, active: Active) -> Result<Opaque, ProxyError> {
    match received {
        Received::Http1(_, lease) => Opaque::of_connection(lease, active).await,
        Received::Http2(stream, lease) => Opaque::of_stream(stream, lease, active),
    }
}

/// The body's length, where the head tells it. That `Content-Length` is one number was
/// checked.
fn length_of(parts: &Parts, method: &Method, stream: &RecvStream) -> Option<u64> {
    if stream.is_end_stream() || is_bodiless(method, parts.status) {
        return Some(0);
    }
    let length = parts.headers.get(CONTENT_LENGTH)?;
    let length = length.to_str().ok()?.parse().ok()?;
    // The stream goes on: with trailers, then.
    (length > 0).then_some(length)
}

/// What stays the same however often the request is sent.
pub(super) struct Asked<'a> {
    pub method: Method,
    pub repeatable: bool,
    pub upgrade: Option<&'a Upgrade>,
    pub progress: &'a Progress,
    pub timeouts: &'a ForwardTimeouts,
    pub try_deadline: Option<Instant>,
}

struct Answered {
    parts: Parts,
    received: Received,
    connect_time: Option<Duration>,
}

/// Where the body of an answer comes from.
#[allow(
    clippy::large_enum_variant,
    reason = "nearly all are of HTTP/1, and a box is an allocation"
)]
enum Received {
    Http1(Incoming, Lease),
    Http2(RecvStream, StreamLease),
}

/// Tries a connection that is there first. The other ways are boxed: they are rare,
/// and every exchange would carry room for them.
async fn reuse(
    cluster: &WorkerCluster,
    request: Request<RequestBody>,
    asked: &Asked<'_>,
    now: Instant,
) -> Result<Answered, ProxyError> {
    let pick = cluster
        .pick(now, asked.progress)
        .ok_or_else(|| ProxyError::new(ErrorKind::NoEndpoint))?;
    let endpoint = Rc::clone(&pick.endpoint);
    let Some(way) = way_that_is_there(cluster, &endpoint, asked, now) else {
        return Box::pin(fresh(cluster, pick, request, asked)).await;
    };
    asked.progress.tried(&endpoint.shared);
    let pool = &cluster.pool;
    let sent = match way {
        There::Http1(connection) => {
            let lease = Lease::new(connection, pick, Rc::clone(pool), true);
            send(lease, request, asked, now).await.map(http1)
        }
        There::Http2(channel) => {
            pool.stats().connections_reused.add(1);
            let lease = StreamLease::new(channel, pick, true);
            let sending = Box::pin(http2::send(lease, request, asked, now));
            sending.await.map(http2)
        }
    };
    match sent {
        Ok((parts, received)) => Ok(Answered {
            parts,
            received,
            connect_time: None,
        }),
        Err(Failed::Dead(request, _)) => {
            cluster.stats().retries.add(1);
            let pick = cluster.again(endpoint, Instant::now());
            Box::pin(fresh(cluster, pick, *request, asked)).await
        }
        Err(Failed::Final(error)) => {
            cluster.blame(&endpoint, now, &error);
            Err(error)
        }
    }
}

/// A connection that can take a request at once.
enum There {
    Http1(Box<Connection>),
    Http2(Rc<Channel>),
}

fn way_that_is_there(
    cluster: &WorkerCluster,
    endpoint: &WorkerEndpoint,
    asked: &Asked<'_>,
    now: Instant,
) -> Option<There> {
    match cluster.cluster().config.protocol {
        ClusterProtocol::Http1 => {
            let client = cluster.told(asked.progress.client);
            let connection = endpoint.checkout(&cluster.pool, client, now);
            connection.map(There::Http1)
        }
        ClusterProtocol::Http2 => endpoint.channels.with_room(now).map(There::Http2),
        ClusterProtocol::Auto => {
            let channel = match asked.upgrade {
                Some(_) => None,
                None => endpoint.channels.with_room(now).map(There::Http2),
            };
            channel.or_else(|| {
                endpoint
                    .checkout(&cluster.pool, None, now)
                    .map(There::Http1)
            })
        }
    }
}

fn http1((response, lease): (Response<Incoming>, Lease)) -> (Parts, Received) {
    let (parts, incoming) = response.into_parts();
    (parts, Received::Http1(incoming, lease))
}

fn http2((response, lease): (Response<RecvStream>, StreamLease)) -> (Parts, Received) {
    let (parts, stream) = response.into_parts();
    (parts, Received::Http2(stream, lease))
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
        let way = connect(cluster, pick, &mut tried, asked).await?;
        let endpoint = Rc::clone(way.worker_endpoint());
        let connected = Instant::now();
        let sent = match way {
            Way::Lease(lease) => send(lease, request, asked, connected).await.map(http1),
            Way::Stream(lease) => {
                let sent = http2::send(lease, request, asked, connected).await;
                sent.map(http2)
            }
        };
        let why;
        (request, why) = match sent {
            Ok((parts, received)) => {
                return Ok(Answered {
                    parts,
                    received,
                    connect_time: Some(connected - start),
                });
            }
            Err(Failed::Dead(request, why)) => (*request, why),
            Err(Failed::Final(error)) => {
                cluster.blame(&endpoint, start, &error);
                return Err(error);
            }
        };
        cluster.blame(&endpoint, start, &why);
        // With TLS 1.3 it is now that an endpoint says what it thinks of a certificate.
        // What else it does not like may be one request's.
        if refuses_certificate(&why) {
            let pause = cluster.cluster().config.refused_pause;
            endpoint.shared.refused(Instant::now(), pause);
        }
        pick = tried.next(cluster, asked.progress, endpoint).ok_or(why)?;
        cluster.stats().retries.add(1);
    }
}

pub(super) enum Failed {
    /// The connection was dead before the origin took notice of this request.
    Dead(Box<Request<RequestBody>>, ProxyError),
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
    if waiting.answer_deadline.is_none() {
        lease.pick().rest();
    }
    let mut sent = pin!(
        lease
            .connection()
            .send(request, keep_sent, asked.upgrade.is_some())
    );
    let received = poll_fn(|cx| {
        let connection = lease.connection();
        connection.poll(cx);
        while let Some(head) = connection.take_interim() {
            asked.progress.interim.borrow_mut().push(head);
        }
        let mut quiet = Context::from_waker(Waker::noop());
        match sent.as_mut().poll(&mut quiet) {
            Poll::Ready(received) => Poll::Ready(Ok(received)),
            Poll::Pending => {
                let late = waiting.poll(cx, connection);
                if waiting.answer_deadline.is_some() {
                    lease.pick().wait();
                }
                late.map(Err)
            }
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
        Some(request) => Failed::Dead(Box::new(request), classify(error.into_error(), &wire)),
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
