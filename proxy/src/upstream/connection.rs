//! One HTTP/1 connection to an origin, driven by whoever holds it.
//!
//! hyper expects its connection to be a task of its own, and wakes it from the
//! inside when a request is sent or a chunk of a body taken. Here the task that
//! waits for the answer polls the connection itself right after doing either,
//! so those wakes say nothing new; each would cost a turn of the scheduler. So
//! hyper gets a waker that only sets a flag, and the socket and the request's
//! body wake the task through [`WireState`] and [`BodyWatch`].

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, Wake, Waker, ready};

use bytes::BytesMut;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1;
use tokio::time::Instant;

use super::body::{BodyWatch, RequestBody};
use super::socket::Socket;
use super::wire::{Wire, WireState};
use crate::deadline::Alarm;
use crate::http::ResponseHead;
use crate::proxy_protocol::Ends;

/// Large enough for a fast body, small enough to have many.
const MAX_READ_BUFFER: usize = 64 * 1024;

/// The way hyper is used for one cluster.
pub(super) fn builder(max_head_bytes: usize) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .writev(true)
        .max_header_size(max_head_bytes)
        .max_buf_size(MAX_READ_BUFFER.max(max_head_bytes));
    builder
}

pub(super) struct Connection {
    sender: http1::SendRequest<RequestBody>,
    /// Gone as soon as it has ended: a request that it did not take comes back
    /// when it is dropped, not before.
    driver: Option<Driver>,
    pub wire: Rc<RefCell<WireState>>,
    /// It has ended in HTTP, and goes on in another protocol.
    switched: Option<Box<Driver>>,
    request_body: Option<BodyWatch>,
    inner_waker: Waker,
    inner_wakes: Arc<Flag>,
    /// The current message is the last one.
    pub is_last: bool,
    pub alarm: Alarm,
    pub expires: Instant,
    pub idle_since: Instant,
    /// Requests that were sent on it.
    pub requests: u32,
    /// Whose it is, where the origin was told.
    pub client: Option<Ends>,
}

type Driver = http1::Connection<Wire, RequestBody>;

/// Set when hyper wakes its connection.
#[derive(Debug, Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.store(true, Relaxed);
    }
}

/// What hyper gives for a request.
pub(super) type Sent = Result<Response<Incoming>, TrySendError<Request<RequestBody>>>;

impl Connection {
    pub async fn open(
        builder: &http1::Builder,
        max_head_bytes: usize,
        socket: Socket,
        expires: Instant,
    ) -> hyper::Result<Box<Self>> {
        let wire = Rc::new(RefCell::new(WireState::new(max_head_bytes)));
        let (sender, driver) = builder
            .handshake(Wire::new(socket, Rc::clone(&wire)))
            .await?;
        let inner_wakes = Arc::new(Flag::default());
        Ok(Box::new(Self {
            sender,
            driver: Some(driver),
            switched: None,
            wire,
            request_body: None,
            inner_waker: Waker::from(Arc::clone(&inner_wakes)),
            inner_wakes,
            is_last: false,
            alarm: Alarm::default(),
            idle_since: expires,
            expires,
            requests: 0,
            client: None,
        }))
    }

    /// Hands the request to hyper; nothing is sent before the next poll.
    pub fn send(
        &mut self,
        request: Request<RequestBody>,
        keep_sent: bool,
        may_switch: bool,
    ) -> impl Future<Output = Sent> + use<> {
        self.request_body = match request.body() {
            RequestBody::Empty => None,
            RequestBody::Stream(receiver) => Some(receiver.watch()),
        };
        self.requests = self.requests.saturating_add(1);
        let body = self.request_body.clone();
        self.wire.borrow_mut().begin(body, keep_sent, may_switch);
        self.sender.try_send_request(request)
    }

    /// Lets hyper do what it can. The task of `cx` is woken when there is more
    /// to do.
    pub fn poll(&mut self, cx: &mut Context<'_>) {
        self.wake_by(cx.waker());
        self.inner_wakes.0.store(false, Relaxed);
        let (driven, waker) = self.driven();
        let ended = driven.poll(&mut Context::from_waker(waker));
        if ended.is_pending() && self.inner_wakes.0.load(Relaxed) {
            // It stopped to let others run.
            cx.waker().wake_by_ref();
        }
    }

    /// The same for a connection whose answer is read by another task, where
    /// hyper's own wakes do matter. Ready when the connection has ended.
    pub fn poll_apart(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.wake_by(cx.waker());
        self.driven().0.poll(cx)
    }

    pub fn is_closed(&self) -> bool {
        self.driver.is_none()
    }

    /// What hyper is polled with, and the waker that it gets.
    fn driven(&mut self) -> (Driven<'_>, &Waker) {
        let driven = Driven {
            driver: &mut self.driver,
            switched: &mut self.switched,
            wire: &self.wire,
        };
        (driven, &self.inner_waker)
    }

    fn wake_by(&self, waker: &Waker) {
        let wire = &mut *self.wire.borrow_mut();
        if !wire.waker.will_wake(waker) {
            wire.waker = waker.clone();
        }
        if let Some(body) = &self.request_body {
            body.wake_by(waker);
        }
    }

    /// The body of the current request, unless it has been sent to its end.
    pub fn unsent_body(&self) -> Option<&BodyWatch> {
        self.request_body.as_ref().filter(|body| !body.is_sent())
    }

    pub fn take_interim(&self) -> Option<ResponseHead> {
        self.wire.borrow_mut().answers.take_interim()
    }

    /// Waits for the end of HTTP on it, behind an answer that switches to another
    /// protocol. Gives what remains, with what was read beyond.
    pub async fn switch(mut self) -> Option<(Socket, BytesMut)> {
        poll_fn(|cx| self.poll_apart(cx)).await;
        let parts = self.switched?.into_parts();
        let (socket, held) = parts.io.into_socket();
        let mut read = BytesMut::from(parts.read_buf);
        read.extend_from_slice(&held);
        Some((socket, read))
    }

    /// Whether it is between two messages and may take another. Forgets the
    /// last one.
    pub fn rest(&mut self) -> bool {
        self.request_body = None;
        !self.is_closed()
            && !self.is_last
            && self.sender.is_ready()
            && !self.wire.borrow().write_broken
    }

    /// Looks whether an idle connection is still there, without a task that
    /// would be woken. Forgets whatever task it would have woken.
    pub fn is_alive(&mut self) -> bool {
        self.poll(&mut Context::from_waker(Waker::noop()));
        !self.is_closed()
    }
}

struct Driven<'a> {
    driver: &'a mut Option<Driver>,
    switched: &'a mut Option<Box<Driver>>,
    wire: &'a RefCell<WireState>,
}

impl Driven<'_> {
    fn poll(self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(driving) = self.driver else {
            return Poll::Ready(());
        };
        let end = ready!(Pin::new(driving).poll(cx));
        let driver = self.driver.take();
        match end {
            Ok(()) if self.wire.borrow().answers.has_switched() => {
                *self.switched = driver.map(Box::new)
            }
            Ok(()) => {}
            Err(error) => tracing::debug!(%error, "upstream connection closed"),
        }
        Poll::Ready(())
    }
}
