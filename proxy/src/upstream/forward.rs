//! One request to an origin: pick, lease or connect, send, and the answer's
//! head.

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use h2::RecvStream;
use http::header::{CONTENT_LENGTH, SET_COOKIE};
use http::response::Parts;
use http::{Method, Response, StatusCode, Version};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::answer::{Answer, AnswerBody};
use super::body::RequestBody;
use super::classify::{answer_of, answer_of_call, classify, grpc_status, refuses_certificate};
use super::connect::{Way, connect};
use super::connection::Connection;
use super::hedging::{hedged, may_hedge};
use super::http2::{self, Channel, StreamLease};
use super::opaque::Opaque;
use super::pool::{Active, Lease, Pick, WorkerEndpoint};
use super::replay::Spare;
use super::request::{Progress, ToSend, UpstreamRequest, from_sent};
use super::retry::{self, Endpoints, Tries};
use super::terms::Terms;
use super::worker_cluster::WorkerCluster;
use crate::balance::outlier;
use crate::balance::peak_ewma::Outcome;
use crate::config::ClusterProtocol;
use crate::error::{ErrorKind, ProxyError};
use crate::http::Upgrade;
use crate::http::framing::is_bodiless;
use crate::http::grpc;
use crate::http::h1::check_answer;
use crate::http::h2::check_answer_fields;

/// Sends one request and waits for the head of its answer, which may come
/// before the request's body has ended. A request that met a dead connection is
/// sent once more on a fresh one, when nothing of it had been sent. What else is tried
/// again, and how often, is the retry policy's to say.
///
/// Dropping the future breaks the request off and closes its connection.
pub fn forward<'a>(
    cluster: &'a Rc<WorkerCluster>,
    request: UpstreamRequest,
    terms: &'a Terms<'a>,
    progress: &'a Progress,
) -> impl Future<Output = Result<Answer, ProxyError>> + 'a {
    let is_idempotent = request.repeatable;
    // Here, so that the future holds it once, and as small as it gets.
    let (mut request, upgrade) = request.into_hyper();
    async move {
        let active = Active::begin(&cluster.pool, progress).await?;
        let start = Instant::now();
        let is_empty = matches!(request.body(), RequestBody::Empty);
        let mut asked = Asked {
            method: request.method().clone(),
            is_idempotent,
            repeatable: is_idempotent && is_empty,
            upgrade: upgrade.as_deref(),
            progress,
            terms,
            try_deadline: terms.try_deadline(start),
        };
        let new_cookie = cluster.note_key(request.headers(), progress);
        terms.tell(request.headers_mut(), start);
        let spare = Spare::of(&mut request, &asked, cluster.cluster().config.protocol);
        let pick = match cluster.pick(start, progress) {
            Ok(pick) => pick,
            Err(why) => return Err(active.failed(why.into())),
        };
        let answered = if may_hedge(&asked) {
            hedged(cluster, pick, request, &mut asked, spare, start).await
        } else {
            let endpoint = Rc::clone(&pick.endpoint);
            match attempt(cluster, pick, request, &asked, start).await {
                first if retry::may_go_on(&first, &asked) => {
                    let tries = Tries {
                        cluster,
                        asked: &mut asked,
                        spare,
                        last: endpoint,
                        began: start,
                        tried: Endpoints::new(),
                        was_free: false,
                    };
                    Box::pin(tries.go_on(first)).await
                }
                first => first.map_err(|failed| failed.error),
            }
        };
        let Answered {
            mut parts,
            said,
            received,
            connect_time,
            began,
            ended: now,
        } = match answered {
            Ok(answered) => answered,
            Err(error) => return Err(active.failed(error)),
        };
        // A client is not to be bound to an endpoint that fails.
        if let Some(cookie) = new_cookie
            && !parts.status.is_server_error()
        {
            parts.headers.append(SET_COOKIE, cookie);
        }
        match said {
            Some(said) => active.judge(said != outlier::Answer::Well),
            None => active.began_to_end(),
        }
        cluster.stats().durations.observe(now - start);
        let (endpoint, reused) = match &received {
            Received::Http1(_, lease) => (lease.endpoint().clone(), lease.reused),
            Received::Http2(_, lease) => (lease.endpoint().clone(), lease.reused),
        };
        let body = match received {
            _ if parts.status == StatusCode::SWITCHING_PROTOCOLS => {
                // Boxed, so that no other exchange carries room for it.
                let opaque = Box::pin(switch(received, active)).await?;
                AnswerBody::switched(opaque, terms.idle)
            }
            Received::Http1(incoming, lease) => {
                body(incoming, lease, parts.version, terms.idle, active)
            }
            Received::Http2(stream, lease) => {
                let length = length_of(&parts, &asked.method, &stream);
                AnswerBody::multiplexed(stream, lease, length, terms.idle, active)
                    .ending_with_status(said.is_none())
            }
        };
        Ok(Answer {
            status: parts.status,
            version: parts.version,
            headers: parts.headers,
            endpoint,
            reused,
            connect_time,
            answer_time: now - began,
            body: Box::new(body),
        })
    }
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

/// What is asked, however often it is sent.
#[derive(Clone)]
pub(super) struct Asked<'a> {
    pub method: Method,
    pub is_idempotent: bool,
    /// Whether it may be sent twice without a copy of it.
    pub repeatable: bool,
    pub upgrade: Option<&'a Upgrade>,
    pub progress: &'a Progress,
    pub terms: &'a Terms<'a>,
    /// Of the try that is under way.
    pub try_deadline: Option<Instant>,
}

pub(super) struct Answered {
    pub parts: Parts,
    said: Option<outlier::Answer>,
    pub received: Received,
    connect_time: Option<Duration>,
    /// When this try began, and when the head was there.
    began: Instant,
    ended: Instant,
}

/// Where the body of an answer comes from.
#[allow(
    clippy::large_enum_variant,
    reason = "nearly all are of HTTP/1, and a box is an allocation"
)]
pub(super) enum Received {
    Http1(Incoming, Lease),
    Http2(RecvStream, StreamLease),
}

impl Received {
    fn pick(&self) -> &Pick {
        match self {
            Received::Http1(_, lease) => lease.pick(),
            Received::Http2(_, lease) => lease.pick(),
        }
    }
}

/// One try, on a connection that is there if one is. The other ways are boxed: they are
/// rare, and every exchange would carry room for them.
pub(super) async fn attempt(
    cluster: &WorkerCluster,
    pick: Pick,
    request: ToSend,
    asked: &Asked<'_>,
    now: Instant,
) -> Result<Answered, Failed> {
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
        Ok((parts, received)) => judge(cluster, parts, received, None, asked, now),
        // Nobody has seen it, so that this is no other try.
        Err(Failed {
            stage: Stage::Unsent,
            request: Some(request),
            ..
        }) => {
            cluster.stats().retries.add(1);
            match cluster.again(endpoint, Instant::now()) {
                Some(pick) => Box::pin(fresh(cluster, pick, request, asked)).await,
                None => Err(Failed {
                    stage: Stage::Connecting,
                    request: Some(request),
                    ..Failed::last(ErrorKind::EndpointLimit.into())
                }),
            }
        }
        Err(failed) if failed.stage == Stage::Sent && failed.request.is_some() => Err(Failed {
            reused: true,
            ..failed
        }),
        Err(failed) => {
            // Whoever says that it does not look at a request has answered it.
            if failed.stage == Stage::Sent {
                cluster.blame(&endpoint, now, &failed.error, asked.progress);
            }
            Err(failed)
        }
    }
}

/// What hyper takes for an answer may still break a rule.
fn judge(
    cluster: &WorkerCluster,
    mut parts: Parts,
    received: Received,
    connect_time: Option<Duration>,
    asked: &Asked<'_>,
    began: Instant,
) -> Result<Answered, Failed> {
    let (pick, now) = (received.pick(), Instant::now());
    let checked = match received {
        // The gate has seen to it.
        Received::Http1(..) => Ok(()),
        Received::Http2(..) => check_answer_fields(&mut parts.headers),
    };
    let checked = checked.and_then(|()| check_answer(&parts, &asked.method, asked.upgrade));
    if let Err(why) = checked {
        pick.answered(now, Outcome::Failed);
        cluster.pool.count(&pick.endpoint, outlier::Answer::Gateway);
        return Err(Failed::last(ProxyError::because(ErrorKind::BadAnswer, why)));
    }
    let said = said_by_head(&parts, &received, asked);
    cluster.heard(pick, now, &parts, said);
    Ok(Answered {
        said,
        parts,
        received,
        connect_time,
        began,
        ended: now,
    })
}

/// How the endpoint did. `None` for a call of gRPC that says so behind its messages.
fn said_by_head(parts: &Parts, received: &Received, asked: &Asked<'_>) -> Option<outlier::Answer> {
    let said = answer_of(parts);
    if !asked.terms.told.is_grpc || said != outlier::Answer::Well {
        return Some(said);
    }
    match (grpc_status(&parts.headers), received) {
        (Some(status), _) => Some(answer_of_call(status)),
        (None, Received::Http2(stream, _)) if !stream.is_end_stream() => None,
        (None, Received::Http2(..)) => Some(answer_of_call(grpc::UNKNOWN)),
        // Trailers of HTTP/1 are not looked at.
        (None, Received::Http1(..)) => Some(said),
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
            let client = cluster.pool.told(asked.progress.client);
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

pub(super) async fn fresh(
    cluster: &WorkerCluster,
    pick: Pick,
    request: ToSend,
    asked: &Asked<'_>,
) -> Result<Answered, Failed> {
    let start = Instant::now();
    let endpoint = Rc::clone(&pick.endpoint);
    let way = match connect(cluster, pick, asked).await {
        Ok(way) => way,
        Err(error) => {
            return Err(Failed {
                stage: Stage::Connecting,
                request: Some(request),
                ..Failed::last(error)
            });
        }
    };
    let connected = Instant::now();
    let sent = match way {
        Way::Lease(lease) => send(lease, request, asked, connected).await.map(http1),
        Way::Stream(lease) => {
            let sent = http2::send(lease, request, asked, connected).await;
            sent.map(http2)
        }
    };
    let failed = match sent {
        Ok((parts, received)) => {
            return judge(
                cluster,
                parts,
                received,
                Some(connected - start),
                asked,
                start,
            );
        }
        Err(failed) => failed,
    };
    if failed.stage != Stage::Refused {
        cluster.blame(&endpoint, start, &failed.error, asked.progress);
    }
    // With TLS 1.3 it is now that an endpoint says what it thinks of a certificate.
    // What else it does not like may be one request's.
    if refuses_certificate(&failed.error) {
        let pause = cluster.cluster().config.refused_pause;
        endpoint.shared.refused(Instant::now(), pause);
    }
    Err(failed)
}

/// A try without an answer.
pub(super) struct Failed {
    pub error: ProxyError,
    pub stage: Stage,
    /// Where it can be sent again as it is.
    pub request: Option<ToSend>,
    /// It was on a connection that had served before, which may be all that was wrong.
    pub reused: bool,
}

/// How far a try without an answer came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// There was no connection.
    Connecting,
    /// There was one, which was dead before the origin took notice of this request.
    Unsent,
    /// The origin says that it has not looked at it.
    Refused,
    /// It may have looked at it.
    Sent,
}

impl Failed {
    /// It may have been seen, and nothing is left of it.
    pub fn last(error: ProxyError) -> Self {
        Self {
            error,
            stage: Stage::Sent,
            request: None,
            reused: false,
        }
    }
}

async fn send(
    mut lease: Lease,
    request: ToSend,
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
            .send(*request, keep_sent, asked.upgrade.is_some())
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
        Err(kind) => return Err(Failed::last(kind.into())),
    };
    let wire = lease.connection().wire.borrow();
    let unsent = error.take_message();
    let stage = match unsent {
        Some(_) => Stage::Unsent,
        None => Stage::Sent,
    };
    let request = match unsent {
        None if keep_sent && wire.read == 0 => from_sent(&wire.sent),
        unsent => unsent.map(Box::new),
    };
    Err(Failed {
        stage,
        request,
        ..Failed::last(classify(error.into_error(), &wire))
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
            RequestBody::Empty => Some(now + asked.terms.answer),
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
            .map(|at| (at, ErrorKind::TryTimeout));
        let first = own.into_iter().chain(whole).min_by_key(|(at, _)| *at);
        match first {
            Some((at, kind)) => connection.alarm.poll_until(cx, at).map(|()| kind),
            None => Poll::Pending,
        }
    }

    /// The answer's time runs once the body is sent. Before that only an origin
    /// that does not take what there is can be late.
    fn own_deadline(&mut self, connection: &Connection) -> Option<(Instant, ErrorKind)> {
        let terms = self.asked.terms;
        let Some(body) = connection.unsent_body() else {
            let deadline = self
                .answer_deadline
                .get_or_insert_with(|| Instant::now() + terms.answer);
            return Some((*deadline, ErrorKind::AnswerTimeout));
        };
        if !body.is_waiting() {
            self.stall = None;
            return None;
        }
        let written = connection.wire.borrow().written;
        let deadline = match self.stall {
            Some((before, deadline)) if before == written => deadline,
            Some(_) | None => Instant::now() + terms.idle,
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
