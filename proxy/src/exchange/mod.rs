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
mod calls;
mod forward;
mod local;
mod midway;
mod mirror;
mod record;
mod rehearsal;
mod reply;
mod respond;
mod send;
mod stages;
mod tell;
mod upload;

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Instant;

pub use access_log::{AccessLog, AccessLogSink, AccessLogThread};
pub use calls::serve as serve_calls;
pub use local::Local;
pub use rehearsal::{Decided, Rehearsed, rehearse};

use crate::client::Client;
use crate::deadline::Alarm;
use crate::error::{ErrorKind, ProxyError};
use crate::filter::{Lendable, Participants, View};
use crate::http::forwarded::Peer;
use crate::http::h1::ParsedRequest;
use crate::snapshot::{WorkerListener, WorkerSnapshot};
use crate::stats::{Gauge, ListenerStats};
use answer::Facts;
use begin::Asked;
use forward::Towards;
use midway::Course;
use send::Sent;

/// What an exchange runs by.
pub struct Scene<'a> {
    pub local: &'a Rc<Local>,
    pub snapshot: &'a Rc<WorkerSnapshot>,
    pub listener: &'a WorkerListener,
    pub socket_peer: SocketAddr,
    pub peer: &'a Peer,
    /// When the request's first byte was there.
    pub started: Instant,
    /// Whether the connection may go on afterwards, as far as the request's
    /// head and the proxy's own limits tell.
    pub keep_alive: bool,
}

/// What becomes of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    KeepAlive,
    Close,
    /// Close in a way that cannot be taken for the end of the answer.
    Reset,
    /// Close, but let the client read the answer first: it may still be sending.
    Linger,
}

/// Serves one request. Dropping it abandons the exchange: the origin's
/// connection is discarded, and nothing is recorded.
pub async fn handle(scene: &Scene<'_>, request: ParsedRequest, client: &mut Client) -> After {
    let (asked, view) = begin::begin(scene, request);
    let over = pin!(run(scene, &asked, view, client)).await;
    tell::tell(scene, &asked, &over.course.view, &over.sent, &over.facts);
    over.sent.after
}

/// An exchange that is over.
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

async fn run(scene: &Scene<'_>, asked: &Asked, view: Lendable, client: &mut Client) -> Over {
    let _at_work = AtWork::of(scene);
    let chain = &scene.listener.chain;
    let mut facts = Facts::default();
    let mut course = Course {
        view,
        taken: Participants::default(),
    };
    let Client {
        reader,
        writer,
        alarm,
    } = client;
    writer.stall = scene.listener.shared.config.timeouts.body;
    let mut upload = begin::upload(scene, asked, reader);

    let towards = Towards { writer, alarm };
    let flow = pin!(ask::ask(scene, asked, &mut course, &mut upload, towards)).await;
    facts.decided = flow.as_ref().ok().map(Decided::by);
    let towards = Towards { writer, alarm };
    let outcome = match flow {
        Ok(flow) => {
            pin!(forward::answer(
                scene,
                &mut course,
                flow,
                asked,
                &mut upload,
                towards,
                &mut facts,
            ))
            .await
        }
        Err(error) => forward::failed(error, &mut facts),
    };
    course.view.request_bytes = upload.bytes();
    let body = pin!(respond::respond(
        scene,
        asked,
        &mut course,
        outcome,
        &mut upload,
        alarm,
        &mut facts
    ))
    .await;
    let towards = Towards { writer, alarm };
    let sent = pin!(send::send(
        scene,
        asked,
        &mut course,
        body,
        &mut upload,
        towards,
        &mut facts
    ))
    .await;

    course.view.request_bytes = upload.bytes();
    // With what filters had in it: they may need those instances now.
    drop(upload);
    course.view.response_bytes = sent.body_bytes;
    // Before the record, which shows what filters leave here too.
    chain.on_done(&mut course.view, &mut course.taken);
    Over {
        course,
        sent,
        facts,
    }
}

/// Answers a head that could not be understood.
pub async fn refuse(scene: &Scene<'_>, error: ProxyError, client: &mut Client) {
    let refused = send::refuse(scene, &error, &mut client.writer).await;
    tell::tell_refused(scene, &refused, &error);
}

impl Scene<'_> {
    fn stats(&self) -> &ListenerStats {
        self.listener.shared.stats.of(self.local.worker)
    }

    /// Runs `work` until `deadline`, or until a drain cuts off what is left.
    async fn until<T>(
        &self,
        deadline: tokio::time::Instant,
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
            let late = || Err(ErrorKind::TotalTimeout.into());
            alarm.poll_until(context, deadline).map(|()| late())
        })
        .await
    }

    /// When the whole exchange must be over.
    fn deadline(&self, view: &View) -> tokio::time::Instant {
        let timeouts = &self.listener.shared.config.timeouts;
        let asked_for = view.decisions.total_timeout;
        let total = asked_for.map_or(timeouts.total, |total| total.min(timeouts.longest));
        (self.started + total).into()
    }
}
