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
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::server::{self, SendResponse};
use h2::{Reason, RecvStream};
use http::uri::Scheme;
use http::{Method, Request};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::frames::{Counted, Seen};
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
use crate::stats::{Ending, ListenerStats};
use crate::tls::TlsFacts;
use crate::upstream::Duplex;

/// Of one stream's answer, what is kept for a client that does not take it.
const SEND_BUFFER: usize = 64 * 1024;
/// For what was said last to leave. The connection is over as soon as it has left, so
/// only a client that does not take it is given so long.
const LAST_FRAMES: Duration = Duration::from_secs(30);
/// After it was told to open no more streams, those that were on their way are served. That
/// it was heard is waited for no longer.
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
    /// What its frames tell.
    seen: Seen,
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
    let seen = stream.seen();
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
            local.count_end(&client.socket, Ending::HeadTimeout);
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
            seen,
            moved: Rc::default(),
            task: RefCell::new(Waker::noop().clone()),
        }),
        watcher: client.watcher,
        alarm,
        requests: 0,
        quiet_since: None,
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
    /// While no stream is under way.
    quiet_since: Option<Instant>,
    spare: Spare,
    /// The client was told to open no more streams.
    closing: Option<Closing>,
    /// Nor is the end of those that are open waited for.
    is_cut: bool,
}

/// Which streams are still served that were on their way.
struct Closing {
    until: Instant,
    /// Of all that the connection has had: no more than may be open at once can be on their
    /// way before a client hears that it is to open none.
    requests: u64,
}

impl<S> Connection<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    /// Ready once the connection is over.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.shared.task.borrow_mut().clone_from(context.waker());
        loop {
            let accepted = self.frames.poll_accept(context);
            self.shared.count_refused();
            match accepted {
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
            let is_busy = self.shared.open.get() > 0;
            if let (Some(config), Some(pings)) = (config, &mut self.pings)
                && pings.poll_lost(context, &mut self.alarm, &config.http2.pings, is_busy)
            {
                let peer = self.shared.socket_peer;
                tracing::debug!(%peer, "no answer to a ping");
                self.shared.count_end(Ending::Ping);
                return Poll::Ready(());
            }
            // Without a listener it was told.
            if let (None, Some(config)) = (&self.closing, config) {
                ready!(self.poll_quiet(context, config.timeouts.idle));
                self.shared.count_end(Ending::Idle);
                self.close();
                continue;
            }
            let (has_left, after) = self.last();
            ready!(self.poll_quiet(context, after));
            if !has_left {
                return Poll::Ready(());
            }
            // Whatever the client has heard: which of its streams were served.
            self.cut(Reason::NO_ERROR);
        }
    }

    /// Tells the client, once, to open no more streams where that is to be.
    fn told_to_end(&mut self, context: &mut Context<'_>, config: Option<&Listener>) -> bool {
        let is_draining = self.watcher.poll_draining(context);
        if let Some(abuse) = self.abuse(context, config) {
            let (peer, reason) = (self.shared.socket_peer, abuse.name());
            tracing::debug!(%peer, reason, "what the client sends is good for nothing");
            self.shared.count_end(abuse);
            self.cut(Reason::ENHANCE_YOUR_CALM);
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
        let has_had_all = self.requests >= config.limits.max_requests;
        match (is_draining, is_spare, has_had_all) {
            (true, _, _) => {}
            (false, true, _) => self.shared.count_end(Ending::Overload),
            (false, false, true) => self.shared.count_end(Ending::MaxRequests),
            (false, false, false) => return false,
        }
        self.close();
        true
    }

    /// What it ends for that its client does, if anything.
    fn abuse(&mut self, context: &mut Context<'_>, config: Option<&Listener>) -> Option<Ending> {
        let config = config.filter(|_| !self.is_cut)?;
        let shared = &self.shared;
        let head_since = shared.seen.waits_for_head_since();
        let is_late = head_since.is_some_and(|since| {
            let until = since + config.timeouts.head;
            self.alarm.poll_until(context, until).is_ready()
        });
        match () {
            () if shared.resets.lately() > config.http2.max_resets => Some(Ending::Resets),
            () if shared.seen.is_flooded() => Some(Ending::ControlFrames),
            () if is_late => Some(Ending::HeadTimeout),
            () => None,
        }
    }

    /// Lets streams end that are open or on their way.
    fn close(&mut self) {
        self.frames.graceful_shutdown();
        self.closing = Some(Closing {
            until: Instant::now() + LAST_STREAMS,
            requests: self.requests + self.shared.max_open as u64,
        });
        self.quiet_since = None;
    }

    /// Ends it now, once that was said.
    fn cut(&mut self, reason: Reason) {
        self.frames.abrupt_shutdown(reason);
        self.is_cut = true;
        self.closing = Some(Closing {
            until: Instant::now(),
            requests: self.requests,
        });
        self.quiet_since = None;
    }

    fn begin(&self, request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
        let is_late = self.closing.as_ref().is_some_and(|closing| {
            self.requests > closing.requests || Instant::now() > closing.until
        });
        if is_late || self.shared.open.get() >= self.shared.max_open {
            self.shared.resets.count();
            return respond.send_reset(Reason::REFUSED_STREAM);
        }
        self.shared.begin(request, respond);
    }

    /// How long one that was told to end is waited for, and whether there is a word left to
    /// be said then.
    fn last(&self) -> (bool, Duration) {
        let is_heard = |closing: &Closing| self.requests <= closing.requests;
        match () {
            // Of what was answered, or said last, some has yet to leave.
            () if self.is_cut || self.frames.has_streams() => (false, LAST_FRAMES),
            () if self.closing.as_ref().is_none_or(is_heard) => (true, LAST_STREAMS),
            // The client goes by nothing that it is told.
            () => (true, Duration::ZERO),
        }
    }

    /// Ready when no stream was under way for so long.
    fn poll_quiet(&mut self, context: &mut Context<'_>, time: Duration) -> Poll<()> {
        if self.shared.open.get() > 0 {
            self.quiet_since = None;
            return Poll::Pending;
        }
        let since = *self.quiet_since.get_or_insert_with(Instant::now);
        self.alarm.poll_until(context, since + time)
    }
}

impl Shared {
    fn count_end(&self, ending: Ending) {
        self.local.count_end(&self.socket, ending);
    }

    fn count_refused(&self) {
        let refused = self.seen.take_refused();
        if refused > 0 {
            let count = |stats: &ListenerStats| stats.streams_refused.add(refused);
            self.local.count(&self.socket, count);
        }
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
