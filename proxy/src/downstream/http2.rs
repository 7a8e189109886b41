//! The life of one client connection that speaks HTTP/2.
//!
//! Its task reads and writes frames; each stream is an exchange in a task of its
//! own, so that none waits for another.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::server::{self, SendResponse};
use h2::{Reason, RecvStream};
use http::uri::Scheme;
use http::{Method, Request};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::frames::{Counted, Flooded};
use super::patience::Spare;
use crate::boxed::boxed;
use crate::client::EarlyData;
use crate::config::Listener;
use crate::deadline::{Alarm, within};
use crate::drain::Watcher;
use crate::error::{ErrorKind, ProxyError};
use crate::exchange::{
    self, After, Ended, Ends, Http2Sink, Local, Outgoing, Scene, Spoken, Tunnel,
};
use crate::http::forwarded::Peer;
use crate::http::h2::read_request;
use crate::http::{Framing, Role, grpc};
use crate::listener::Socket;
use crate::pings::Pings;
use crate::stats::Ending;
use crate::tls::TlsFacts;
use crate::upstream::Duplex;

/// Of one stream's answer, what is kept for a client that does not take it.
const SEND_BUFFER: usize = 64 * 1024;
/// For what was said last to leave. The connection is over as soon as it has left, so
/// only a client that does not take it is given so long.
const LAST_FRAMES: Duration = Duration::from_secs(30);
/// After it was told to open no more streams, those that were on their way are served.
const LAST_STREAMS: Duration = Duration::from_secs(5);

/// A connection that is known to speak HTTP/2.
pub(super) struct Http2Client<S> {
    pub stream: S,
    pub socket_peer: SocketAddr,
    pub peer: Peer,
    pub tls: Option<Arc<TlsFacts>>,
    pub early: Option<EarlyData>,
    pub socket: Arc<Socket>,
    pub watcher: Watcher,
}

/// What the streams of a connection share.
struct Shared {
    local: Rc<Local>,
    socket_peer: SocketAddr,
    peer: Peer,
    tls: Option<Arc<TlsFacts>>,
    early: Option<EarlyData>,
    socket: Arc<Socket>,
    /// Streams that are under way.
    open: Cell<usize>,
    /// What is allowed of them. The codec counts none that was broken off, but what is
    /// done for it may take a while to end.
    max_open: usize,
    /// Streams that the client broke off.
    resets: Resets,
    /// Whether it sent too many frames that carry nothing.
    flooded: Flooded,
    /// Bytes of bodies that moved, in either direction.
    moved: Rc<Cell<u64>>,
    /// The connection's task, woken when the last stream ends or one is broken off.
    task: RefCell<Waker>,
}

/// Serves one connection to its end. Dropping it closes the connection at once; its
/// streams see that and end.
pub(super) async fn serve<S>(local: Rc<Local>, client: Http2Client<S>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let snapshot = local.snapshot_for(&client.socket);
    let Some(listener) = snapshot.listener(&client.socket) else {
        return;
    };
    let config = &listener.shared.config;
    let mut alarm = Alarm::default();
    let stream = Counted::new(client.stream, config.http2.max_control_frames);
    let flooded = stream.flooded();
    let handshake = builder(config).handshake(stream);
    let mut connection = match within(&mut alarm, config.timeouts.head, pin!(handshake)).await {
        Some(Ok(connection)) => connection,
        Some(Err(error)) => {
            if error.is_library() {
                local.count_end(&client.socket, Ending::Protocol);
            }
            return tracing::debug!(peer = %client.socket_peer, %error, "no HTTP/2 handshake");
        }
        None => {
            return tracing::debug!(peer = %client.socket_peer, "HTTP/2 handshake took too long");
        }
    };
    let mut connection = Connection {
        pings: connection.ping_pong().map(Pings::new),
        frames: connection,
        shared: Rc::new(Shared {
            local,
            socket_peer: client.socket_peer,
            peer: client.peer,
            tls: client.tls,
            early: client.early,
            socket: client.socket,
            open: Cell::new(0),
            max_open: config.http2.max_streams as usize,
            resets: Resets::default(),
            flooded,
            moved: Rc::default(),
            task: RefCell::new(Waker::noop().clone()),
        }),
        watcher: client.watcher,
        alarm,
        requests: 0,
        ends_at: None,
        spare: Spare::default(),
        closing: None,
        is_cut: false,
    };
    drop(snapshot);
    poll_fn(|context| connection.poll(context)).await;
}

fn builder(config: &Listener) -> server::Builder {
    let http2 = &config.http2;
    let mut builder = server::Builder::new();
    builder
        .max_concurrent_streams(http2.max_streams)
        // Those wait to be looked at, and each may be broken off meanwhile: how many may be
        // is for `max_resets` to say.
        .max_pending_accept_reset_streams(http2.max_streams as usize)
        .initial_window_size(http2.stream_window)
        .initial_connection_window_size(http2.connection_window)
        .max_header_list_size(config.limits.max_head_bytes as u32)
        .max_send_buffer_size(SEND_BUFFER);
    if config.upgrades.has_websocket() {
        builder.enable_connect_protocol();
    }
    builder
}

struct Connection<S> {
    frames: server::Connection<Counted<S>, Bytes>,
    pings: Option<Pings>,
    shared: Rc<Shared>,
    watcher: Watcher,
    alarm: Alarm,
    requests: u64,
    /// While no stream is under way: when the connection ends.
    ends_at: Option<Instant>,
    spare: Spare,
    /// The client was told to open no more streams; when those that it opens all the
    /// same are refused.
    closing: Option<Instant>,
    /// It was told why as well.
    is_cut: bool,
}

impl<S> Connection<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    /// Ready once the connection is over.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.shared.task.borrow_mut().clone_from(context.waker());
        loop {
            match self.frames.poll_accept(context) {
                Poll::Ready(Some(Ok((request, respond)))) => {
                    self.requests += 1;
                    self.begin(request, respond);
                    continue;
                }
                Poll::Ready(Some(Err(error))) => {
                    let peer = self.shared.socket_peer;
                    tracing::debug!(%peer, %error, "HTTP/2 connection lost");
                    if error.is_library() {
                        self.shared.count_end(Ending::Protocol);
                    }
                    return Poll::Ready(());
                }
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Pending => {}
            }
            let snapshot = self.shared.local.snapshot();
            let listener = snapshot.listener(&self.shared.socket);
            let config = listener.map(|listener| &listener.shared.config);
            if self.told_to_end(context, config) {
                // What that has to say leaves with the next turn.
                continue;
            }
            let Some(config) = config else {
                return self.poll_end(context, LAST_FRAMES);
            };
            let is_busy = self.shared.open.get() > 0;
            let times = &config.http2.pings;
            if let Some(pings) = &mut self.pings
                && pings.poll_lost(context, &mut self.alarm, times, is_busy)
            {
                let peer = self.shared.socket_peer;
                tracing::debug!(%peer, "no answer to a ping");
                self.shared.count_end(Ending::Ping);
                return Poll::Ready(());
            }
            return match self.closing.is_some() {
                true => self.poll_end(context, LAST_FRAMES),
                false => {
                    let ended = self.poll_end(context, config.timeouts.idle);
                    if ended.is_ready() {
                        self.shared.count_end(Ending::Idle);
                        self.close();
                        continue;
                    }
                    Poll::Pending
                }
            };
        }
    }

    /// Tells the client, once, to open no more streams where that is to be.
    fn told_to_end(&mut self, context: &mut Context<'_>, config: Option<&Listener>) -> bool {
        let is_draining = self.watcher.poll_draining(context);
        let max_resets = config.map(|config| config.http2.max_resets);
        let is_resetting = max_resets.is_some_and(|max| self.shared.resets.lately() > max);
        let abuse = match () {
            () if self.is_cut => None,
            () if is_resetting => Some(Ending::Resets),
            () if self.shared.flooded.is_so() => Some(Ending::ControlFrames),
            () => None,
        };
        if let Some(abuse) = abuse {
            let (peer, reason) = (self.shared.socket_peer, abuse.name());
            tracing::debug!(%peer, reason, "the client sent too much of what is good for nothing");
            self.shared.count_end(abuse);
            self.frames.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
            self.is_cut = true;
            self.closing = Some(Instant::now());
            return true;
        }
        if self.closing.is_some() {
            return false;
        }
        let Some(config) = config else {
            self.close();
            return true;
        };
        let (spare, local) = (&mut self.spare, &self.shared.local);
        let is_spare = self.requests > 0 && spare.is_due(context, local, &mut self.alarm);
        if is_draining || is_spare || self.requests >= config.limits.max_requests {
            if is_spare && !is_draining {
                self.shared.count_end(Ending::Overload);
            }
            self.close();
            return true;
        }
        false
    }

    fn close(&mut self) {
        self.frames.graceful_shutdown();
        self.closing = Some(Instant::now() + LAST_STREAMS);
        self.ends_at = None;
    }

    fn begin(&self, request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
        let is_late = self.closing.is_some_and(|at| Instant::now() > at);
        if is_late || self.shared.open.get() >= self.shared.max_open {
            self.shared.resets.count();
            return respond.send_reset(Reason::REFUSED_STREAM);
        }
        self.shared.begin(request, respond);
    }

    /// Ready when no stream was under way for so long.
    fn poll_end(&mut self, context: &mut Context<'_>, after: Duration) -> Poll<()> {
        if self.shared.open.get() > 0 {
            self.ends_at = None;
            return Poll::Pending;
        }
        let at = *self.ends_at.get_or_insert_with(|| Instant::now() + after);
        self.alarm.poll_until(context, at)
    }
}

impl Shared {
    fn count_end(&self, ending: Ending) {
        self.local.count_end(&self.socket, ending);
    }

    /// Serves one request in a task of its own.
    fn begin(self: &Rc<Self>, request: Request<RecvStream>, respond: SendResponse<Bytes>) {
        self.open.set(self.open.get() + 1);
        let open = Open(self.clone());
        // Boxed, since a task moves what it runs several times from its making to its end.
        tokio::task::spawn_local(boxed(|| async move {
            let shared = &open.0;
            let watcher = Watcher::of_stream(shared.local.drain.clone());
            let tunnel = {
                let mut exchange = pin!(shared.serve(request, respond));
                poll_fn(|context| {
                    watcher.attend(context);
                    exchange.as_mut().poll(context)
                })
                .await
            };
            if let Some((tunnel, client)) = tunnel {
                // In a task of its own, which has no room for an exchange.
                tokio::task::spawn_local(async move {
                    let client = (client, BytesMut::new());
                    tunnel.run(&open.0.local, &watcher, client).await;
                });
            }
        }));
    }

    /// Whether the client's handshake is still under way.
    fn is_early(&self) -> bool {
        self.early.as_ref().is_some_and(EarlyData::is_so)
    }

    /// Gives what goes on in another protocol.
    async fn serve(
        &self,
        request: Request<RecvStream>,
        mut respond: SendResponse<Bytes>,
    ) -> Option<(Tunnel, Duplex)> {
        let snapshot = self.local.snapshot_for(&self.socket);
        let Some(listener) = snapshot.listener(&self.socket) else {
            respond.send_reset(Reason::REFUSED_STREAM);
            return None;
        };
        let scene = Scene {
            local: &self.local,
            snapshot: &snapshot,
            listener,
            socket_peer: self.socket_peer,
            peer: &self.peer,
            tls: self.tls.as_ref(),
            started: std::time::Instant::now(),
            keep_alive: true,
        };
        let config = &listener.shared.config;
        let (parts, mut body) = request.into_parts();
        let spoken = match grpc::is_call(&parts.headers) && parts.method != Method::CONNECT {
            true => Spoken::Grpc,
            false => Spoken::Http2,
        };
        let ends = body.is_end_stream();
        let sink = Http2Sink::new(respond, self.moved.clone());
        let scheme = match self.tls {
            Some(_) => Scheme::HTTPS,
            None => Scheme::HTTP,
        };
        let read = read_request(
            parts,
            ends,
            scheme,
            &config.limits,
            &config.path,
            Role::of(config),
        );
        let chosen = read.map_err(ProxyError::from).and_then(|mut request| {
            request.choose_upgrade(&config.upgrades.protocols)?;
            if self.is_early() && !request.mark_early() {
                return Err(ErrorKind::TooEarly.into());
            }
            Ok(Box::new(request))
        });
        let chosen = match chosen {
            // Boxed, since it is rare and no exchange is to carry room for it.
            Ok(request) if request.framing == Framing::Length(0) && !ends => {
                let ended = Box::pin(exchange::read_end(&mut body, config.timeouts.body));
                ended.await.map(|()| request)
            }
            chosen => chosen,
        };
        match chosen {
            // Since a reload, on a connection that was told that it may.
            Ok(request) if request.asks_upgrade && request.upgrade.is_none() => {
                let error = ErrorKind::NotImplemented.into();
                let outgoing = Outgoing::http2(&sink);
                exchange::refuse(&scene, error, spoken, outgoing).await;
            }
            Ok(request) => {
                let mut alarm = Alarm::default();
                let client = Ends::http2(&mut body, &sink, &mut alarm);
                match exchange::handle(&scene, request, client).await {
                    Ended::Answered(After::KeepAlive) => {}
                    Ended::Answered(_) => self.broken_off(&sink),
                    Ended::Switched(tunnel) => {
                        let client = Duplex::new(body, sink.into_stream()?);
                        return Some((*tunnel, client));
                    }
                }
            }
            Err(error) => {
                let outgoing = Outgoing::http2(&sink);
                exchange::refuse(&scene, error, spoken, outgoing).await;
                self.broken_off(&sink);
            }
        }
        None
    }

    /// Counts what the client broke off, and breaks off what the proxy does.
    fn broken_off(&self, sink: &Http2Sink) {
        let mut context = Context::from_waker(Waker::noop());
        if sink.poll_reset(&mut context).is_pending() {
            return sink.reset();
        }
        self.resets.count();
        self.task.borrow().wake_by_ref();
    }
}

/// Streams that the client broke off, within a window of time.
#[derive(Default)]
struct Resets(Cell<Option<(Instant, u32)>>);

impl Resets {
    const WINDOW: Duration = Duration::from_secs(10);

    fn count(&self) {
        let now = Instant::now();
        let window = match self.0.get() {
            Some((since, count)) if now - since < Self::WINDOW => (since, count + 1),
            Some(_) | None => (now, 1),
        };
        self.0.set(Some(window));
    }

    fn lately(&self) -> u32 {
        self.0.get().map_or(0, |(_, count)| count)
    }
}

/// Counts a stream as under way.
struct Open(Rc<Shared>);

impl Drop for Open {
    fn drop(&mut self) {
        let left = self.0.open.get() - 1;
        self.0.open.set(left);
        if left == 0 {
            self.0.task.borrow().wake_by_ref();
        }
    }
}
