//! The path of one exchange.
//!
//! Takes a checked head and the client's two halves; gives an answer, and says
//! whether the connection may carry another request. It decides by one
//! snapshot, held from its first byte to its last. Values move forward; nothing
//! here is shared between exchanges but counters. `reply` alone turns errors
//! into answers, and `record` alone tells what happened.

mod access_log;
mod answer;
mod ask;
mod begin;
mod bounds;
mod calls;
mod forward;
mod hops;
mod incoming;
mod local;
mod midway;
mod mirror;
mod outgoing;
mod record;
mod rehearsal;
mod relay;
mod reply;
mod respond;
mod send;
mod stages;
mod target;
mod tell;
mod tunnel;
mod upload;

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

pub use access_log::{AccessLog, AccessLogSink, AccessLogThread};
pub use bounds::Bounds;
pub use calls::serve as serve_calls;
pub use incoming::{Incoming, read_end};
pub use local::Local;
pub use outgoing::{Http2Sink, Outgoing};
pub use record::Record;
pub use rehearsal::{Decided, Rehearsed, rehearse};
pub use relay::relay;
pub use tunnel::Tunnel;

use h2::RecvStream;
use http::Version;

use crate::client::Client;
use crate::deadline::Alarm;
use crate::error::{ErrorKind, ProxyError};
use crate::http::ParsedRequest;
use crate::http::forwarded::Peer;
use crate::snapshot::{WorkerListener, WorkerSnapshot};
use crate::stats::{Gauge, ListenerStats};
use crate::tls::TlsFacts;
use answer::Facts;
use begin::Asked;
use forward::Towards;
use hops::Limit;
use midway::Course;
use send::Sent;

/// What an exchange runs by.
pub struct Scene<'a> {
    pub local: &'a Rc<Local>,
    pub snapshot: &'a Rc<WorkerSnapshot>,
    pub listener: &'a WorkerListener,
    pub socket_peer: SocketAddr,
    pub peer: &'a Peer,
    /// Of a connection over TLS.
    pub tls: Option<&'a Arc<TlsFacts>>,
    /// When the request's first byte was there.
    pub started: Instant,
    /// Whether the connection may go on afterwards, as far as the request's
    /// head and the proxy's own limits tell.
    pub keep_alive: bool,
}

/// The client's side of one exchange.
pub struct Ends<'a> {
    pub incoming: Incoming<'a>,
    pub outgoing: Outgoing<'a>,
    pub alarm: &'a mut Alarm,
}

impl<'a> Ends<'a> {
    /// Of the next request of a connection that carries one at a time.
    pub fn http1(client: &'a mut Client) -> Self {
        Self {
            incoming: Incoming::Http1(&mut client.reader),
            outgoing: Outgoing::Http1(&mut client.writer),
            alarm: &mut client.alarm,
        }
    }

    /// Of one stream of a connection that carries many.
    pub fn http2(stream: &'a mut RecvStream, sink: &'a Http2Sink, alarm: &'a mut Alarm) -> Self {
        Self {
            incoming: Incoming::Http2(stream, sink),
            outgoing: Outgoing::http2(sink),
            alarm,
        }
    }
}

/// What becomes of the connection, or of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    KeepAlive,
    Close,
    /// Close in a way that cannot be taken for the end of the answer.
    Reset,
    /// Close, but let the client read the answer first: it may still be sending.
    Linger,
    /// It goes on in another protocol.
    Switch,
}

/// How an exchange ended.
pub enum Ended {
    /// With its answer.
    Answered(After),
    /// It goes on, as bytes in both directions.
    Switched(Box<Tunnel>),
}

/// Serves one request. Dropping it abandons the exchange: the origin's
/// connection is discarded, and nothing is recorded.
pub async fn handle(scene: &Scene<'_>, request: Box<ParsedRequest>, client: Ends<'_>) -> Ended {
    let (asked, view) = begin::begin(scene, request);
    let mut course = Course::of(view);
    let mut facts = Facts::default();
    let mut sent = pin!(run(scene, &asked, &mut course, &mut facts, client)).await;
    if let Some(origin) = sent.tunnel.take()
        && let Some(socket) = &scene.listener.shared.socket
    {
        let over = Over {
            course,
            sent,
            facts,
        };
        let tunnel = Tunnel::begin(scene, socket, asked, over, *origin);
        return Ended::Switched(Box::new(tunnel));
    }
    let stats = scene.stats();
    tell::tell(&scene.local.log, stats, &asked, &course.view, &sent, &facts);
    Ended::Answered(sent.after)
}

/// An exchange that is over, but for the connection that goes on.
struct Over {
    course: Course,
    sent: Sent,
    facts: Facts,
}

/// Counts an exchange among those of its generation.
struct AtWork<'a>(&'a Gauge);

impl<'a> AtWork<'a> {
    fn of(scene: &Scene<'a>) -> Self {
        let exchanges = scene.snapshot.shared.exchanges.of(scene.local.worker);
        exchanges.add(1);
        Self(exchanges)
    }
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        self.0.sub(1);
    }
}

/// From the head of a request to the end of its answer. What is left of both is the caller's,
/// since to give it back would be to copy it.
async fn run(
    scene: &Scene<'_>,
    asked: &Asked,
    course: &mut Course,
    facts: &mut Facts,
    client: Ends<'_>,
) -> Sent {
    let _at_work = AtWork::of(scene);
    let Ends {
        incoming,
        mut outgoing,
        alarm,
    } = client;
    outgoing.set_pace(begin::pace(scene));
    let outgoing = &mut outgoing;
    let mut upload = begin::upload(scene, asked, incoming);

    let towards = Towards { outgoing, alarm };
    let flow = match scene.local.sheds() {
        true => Err(ErrorKind::Overloaded.into()),
        false => pin!(ask::ask(scene, asked, course, &mut upload, towards)).await,
    };
    facts.decided = flow.as_ref().ok().map(Decided::by);
    let towards = Towards { outgoing, alarm };
    let outcome = match flow {
        Ok(flow) => {
            pin!(forward::answer(
                scene,
                course,
                flow,
                asked,
                &mut upload,
                towards,
                facts,
            ))
            .await
        }
        Err(error) => forward::failed(error, facts),
    };
    course.view.request_bytes = upload.bytes();
    let body = pin!(respond::respond(
        scene,
        asked,
        course,
        outcome,
        &mut upload,
        alarm,
        facts
    ))
    .await;
    let towards = Towards { outgoing, alarm };
    let sent = pin!(send::send(
        scene,
        asked,
        course,
        body,
        &mut upload,
        towards,
        facts
    ))
    .await;

    course.view.request_bytes = upload.bytes();
    // With what filters had in it: they may need those instances now.
    drop(upload);
    course.view.response_bytes = sent.body_bytes;
    // Before the record, which shows what filters leave here too.
    if sent.tunnel.is_none() {
        let chain = &scene.listener.chain;
        chain.on_done(&mut course.view, &mut course.taken);
    }
    sent
}

/// What is spoken with whom a head came from that could not be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spoken {
    Http1,
    Http2,
    /// A call, as far as its head tells.
    Grpc,
}

impl Spoken {
    fn version(self) -> Version {
        match self {
            Spoken::Http1 => Version::HTTP_11,
            Spoken::Http2 | Spoken::Grpc => Version::HTTP_2,
        }
    }
}

/// Answers a head that could not be understood.
pub async fn refuse(
    scene: &Scene<'_>,
    error: ProxyError,
    spoken: Spoken,
    mut outgoing: Outgoing<'_>,
) {
    let refused = send::refuse(scene, &error, spoken, &mut outgoing).await;
    tell::tell_refused(scene, spoken.version(), &refused, &error);
}

impl Scene<'_> {
    fn stats(&self) -> &ListenerStats {
        self.listener.shared.stats.of(self.local.worker)
    }

    /// Runs `work` until `limit`, or until a drain cuts off what is left.
    async fn until<T>(
        &self,
        limit: Limit,
        alarm: &mut Alarm,
        mut work: Pin<&mut impl Future<Output = T>>,
    ) -> Result<T, ProxyError> {
        poll_fn(|context| {
            if let Poll::Ready(value) = work.as_mut().poll(context) {
                return Poll::Ready(Ok(value));
            }
            if self.local.drain.is_cut_off() {
                return Poll::Ready(Err(ErrorKind::Draining.into()));
            }
            let late = || Err(limit.kind.into());
            alarm.poll_until(context, limit.at).map(|()| late())
        })
        .await
    }
}
