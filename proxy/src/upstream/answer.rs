//! An origin's answer and its body.

use std::cell::RefCell;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use http::{HeaderMap, StatusCode, Version};
use http_body::Body;
use hyper::body::Incoming;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::classify::{answer_of_call, classify, grpc_status};
use super::http2::{self, StreamLease};
use super::opaque::Opaque;
use super::pool::{Active, Lease};
use super::wire::WireState;
use crate::balance::outlier;
use crate::cluster::Endpoint;
use crate::deadline::Alarm;
use crate::error::{ErrorKind, ProxyError};
use crate::http::grpc;
use crate::http::h2::check_answer_fields;

/// The head of an answer, with the body still to come.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub version: Version,
    /// As they came, hop-by-hop fields and framing included.
    pub headers: HeaderMap,
    /// Boxed, since it is handed on from one to the other.
    pub body: Box<AnswerBody>,
    pub endpoint: Arc<Endpoint>,
    /// Whether it came on a connection that had served before.
    pub reused: bool,
    /// What the new connection took to be made.
    pub connect_time: Option<Duration>,
    /// From the call of `forward` to the answer's head.
    pub answer_time: Duration,
}

/// A part of a body.
#[derive(Debug)]
pub enum Frame {
    Data(Bytes),
    /// Always the last.
    Trailers(HeaderMap),
}

/// The body of an answer. Read to its end it gives its connection back; dropped
/// before, it closes it.
pub struct AnswerBody {
    state: State,
    length: Option<u64>,
    idle_timeout: Duration,
    /// For the part that is waited for; none while none is.
    deadline: Option<Instant>,
    /// Counts the request as under way.
    active: Option<Active>,
}

enum State {
    Driven {
        incoming: Incoming,
        lease: Lease,
    },
    Apart {
        incoming: Incoming,
        driver: Apart,
        alarm: Alarm,
    },
    Multiplexed {
        stream: RecvStream,
        lease: StreamLease,
        /// How it went is known at its end only.
        owes_status: bool,
    },
    /// No body, but a connection that goes on in another protocol.
    Switched(Box<Opaque>),
    Ended,
}

impl AnswerBody {
    /// Reads the body by driving the lease's connection. What has no body is
    /// over at once.
    pub(super) fn driven(
        incoming: Incoming,
        lease: Lease,
        idle_timeout: Duration,
        active: Active,
    ) -> Self {
        let mut body = Self {
            length: incoming.size_hint().exact(),
            state: State::Driven { incoming, lease },
            idle_timeout,
            deadline: None,
            active: Some(active),
        };
        body.finish_at_end();
        body
    }

    /// For an answer that came before the request's end: the connection gets a
    /// task, so that the one is received and the other sent whatever the caller
    /// waits for. Such a connection is not used again.
    pub(super) fn apart(
        incoming: Incoming,
        lease: Lease,
        idle_timeout: Duration,
        active: Active,
    ) -> Self {
        Self {
            length: incoming.size_hint().exact(),
            state: State::Apart {
                incoming,
                driver: Apart::spawn(lease),
                alarm: Alarm::default(),
            },
            idle_timeout,
            deadline: None,
            active: Some(active),
        }
    }

    /// Reads one stream of a connection that others share.
    pub(super) fn multiplexed(
        stream: RecvStream,
        lease: StreamLease,
        length: Option<u64>,
        idle_timeout: Duration,
        active: Active,
    ) -> Self {
        let mut body = Self {
            length,
            state: State::Multiplexed {
                stream,
                lease,
                owes_status: false,
            },
            idle_timeout,
            deadline: None,
            active: Some(active),
        };
        body.finish_at_end();
        body
    }

    /// The same of a call of gRPC, if how it went is to be told behind its messages.
    pub(super) fn ending_with_status(mut self, is_so: bool) -> Self {
        if let State::Multiplexed { owes_status, .. } = &mut self.state {
            *owes_status = is_so;
        }
        self
    }

    /// Of an answer behind which another protocol begins.
    pub fn switched(rest: Opaque, idle_timeout: Duration) -> Self {
        Self {
            length: Some(0),
            state: State::Switched(Box::new(rest)),
            idle_timeout,
            deadline: None,
            active: None,
        }
    }

    /// The connection that goes on in another protocol, if it does.
    pub fn take_switched(&mut self) -> Option<Box<Opaque>> {
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Switched(rest) => Some(rest),
            other => {
                self.state = other;
                None
            }
        }
    }

    /// The number of bytes, where it is known before they have come. Zero for
    /// answers without a body, such as those to `HEAD`, whatever their
    /// `Content-Length`.
    pub fn content_length(&self) -> Option<u64> {
        self.length
    }

    /// The next part, or `None` at the end. After an error or the end there is
    /// nothing more. Dropping the future loses nothing.
    pub async fn next_frame(&mut self) -> Option<Result<Frame, ProxyError>> {
        poll_fn(|cx| self.poll_frame(cx)).await
    }

    /// The same for callers that poll.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, ProxyError>>> {
        let polled = match &mut self.state {
            State::Driven { incoming, lease } => poll_driven(incoming, lease, cx),
            State::Apart { incoming, .. } => Pin::new(incoming).poll_frame(cx),
            State::Multiplexed { stream, lease, .. } => {
                let mut polled = http2::poll_stream(stream, cx).map_err(http2::classify);
                if let Poll::Ready(Some(Ok(Frame::Trailers(fields)))) = &mut polled {
                    if let Err(why) = check_answer_fields(fields) {
                        let error = ProxyError::because(ErrorKind::BadAnswer, why);
                        return self.give(Poll::Ready(Some(Err(error))), cx);
                    }
                    let status = grpc_status(fields);
                    lease.pick().heard_at_end(status);
                    self.ended(status.unwrap_or(grpc::UNKNOWN));
                }
                return self.give(polled, cx);
            }
            State::Switched(_) | State::Ended => return Poll::Ready(None),
        };
        let polled = polled.map(|part| {
            part.map(|part| match part {
                Ok(frame) => Ok(to_frame(frame)),
                Err(error) => Err(self.classify(error)),
            })
        });
        self.give(polled, cx)
    }

    fn give(
        &mut self,
        polled: Poll<Option<Result<Frame, ProxyError>>>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame, ProxyError>>> {
        match polled {
            Poll::Ready(Some(Ok(frame))) => {
                self.deadline = None;
                self.finish_at_end();
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(self.fail(error)))),
            Poll::Ready(None) => {
                self.finish();
                Poll::Ready(None)
            }
            Poll::Pending => self.poll_stalled(cx),
        }
    }

    /// A call of gRPC has ended so.
    fn ended(&mut self, status: u8) {
        self.went(answer_of_call(status));
    }

    /// To be known once, of an answer of which the head did not say.
    fn went(&mut self, answer: outlier::Answer) {
        if let State::Multiplexed {
            lease, owes_status, ..
        } = &mut self.state
            && std::mem::take(owes_status)
            && let Some(active) = &self.active
        {
            active.ended(&lease.pick().endpoint, answer);
        }
    }

    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, ProxyError>>> {
        let idle_timeout = self.idle_timeout;
        let deadline = *self
            .deadline
            .get_or_insert_with(|| Instant::now() + idle_timeout);
        let alarm = match &mut self.state {
            State::Driven { lease, .. } => &mut lease.connection().alarm,
            State::Apart { alarm, .. } => alarm,
            State::Multiplexed { lease, .. } => &mut lease.alarm,
            State::Switched(_) | State::Ended => return Poll::Ready(None),
        };
        if alarm.poll_until(cx, deadline).is_pending() {
            return Poll::Pending;
        }
        let error = ErrorKind::UpstreamStalled.into();
        Poll::Ready(Some(Err(self.fail(error))))
    }

    fn finish_at_end(&mut self) {
        let is_at_end = match &self.state {
            State::Driven { incoming, .. } | State::Apart { incoming, .. } => {
                incoming.is_end_stream()
            }
            State::Multiplexed { stream, .. } => stream.is_end_stream(),
            State::Switched(_) | State::Ended => false,
        };
        if is_at_end {
            self.finish();
        }
    }

    fn finish(&mut self) {
        // Without a status.
        self.ended(grpc::UNKNOWN);
        self.active = None;
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Driven { lease, .. } => lease.finish(),
            State::Apart { .. } | State::Multiplexed { .. } | State::Switched(_) | State::Ended => {
            }
        }
    }

    fn classify(&mut self, error: hyper::Error) -> ProxyError {
        match &mut self.state {
            State::Driven { lease, .. } => classify(error, &lease.connection().wire.borrow()),
            State::Apart { driver, .. } => classify(error, &driver.wire.borrow()),
            State::Multiplexed { .. } | State::Switched(_) | State::Ended => {
                ProxyError::with(ErrorKind::UpstreamReset, error)
            }
        }
    }

    fn fail(&mut self, error: ProxyError) -> ProxyError {
        let active = self.active.as_ref();
        if !active.is_some_and(|active| active.spares(error.kind)) {
            self.went(outlier::Answer::None);
        }
        self.state = State::Ended;
        match self.active.take() {
            Some(active) => active.failed(error),
            None => error,
        }
    }
}

/// What hyper would wake for is looked at right here, so it wakes nobody.
fn poll_driven(
    incoming: &mut Incoming,
    lease: &mut Lease,
    cx: &mut Context<'_>,
) -> Poll<Option<hyper::Result<http_body::Frame<Bytes>>>> {
    let mut quiet = Context::from_waker(Waker::noop());
    if let ready @ Poll::Ready(_) = Pin::new(&mut *incoming).poll_frame(&mut quiet) {
        return ready;
    }
    lease.connection().poll(cx);
    Pin::new(incoming).poll_frame(&mut quiet)
}

fn to_frame(frame: http_body::Frame<Bytes>) -> Frame {
    match frame.into_data() {
        Ok(data) => Frame::Data(data),
        Err(frame) => Frame::Trailers(frame.into_trailers().unwrap_or_default()),
    }
}

/// The task of a connection whose answer came early. Ends with the body that
/// owns it.
struct Apart {
    task: JoinHandle<()>,
    wire: Rc<RefCell<WireState>>,
}

impl Apart {
    fn spawn(mut lease: Lease) -> Self {
        let wire = Rc::clone(&lease.connection().wire);
        let task = tokio::task::spawn_local(async move {
            poll_fn(|cx| lease.connection().poll_apart(cx)).await;
        });
        Self { task, wire }
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for AnswerBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnswerBody")
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}
