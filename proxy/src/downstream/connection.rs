//! The life of one client connection.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use tokio::net::TcpStream;

use super::admit::{Admitted, admit, give_up};
use super::handshake::establish;
use super::http2::{self, Http2Client};
use super::introduce::{Introduced, introduce};
use super::linger::linger;
use super::patience::{Patience, Spare};
use super::place::{Place, take_place};
use super::terms::Terms;
use crate::boxed::boxed;
use crate::client::{Client, Rewound, Stream};
use crate::config::{self, ListenAddress, Protocol};
use crate::deadline::within;
use crate::drain::Watcher;
use crate::error::{ErrorKind, ProxyError};
use crate::exchange::{self, After, Ended, Ends, Local, Outgoing, Scene, Spoken, Tunnel};
use crate::http::forwarded::Peer;
use crate::http::h1::{HeadScanner, parse_request};
use crate::http::h2::PREFACE;
use crate::http::{ParsedRequest, Role};
use crate::listener::Socket;
use crate::proxy_protocol;
use crate::snapshot::{WorkerListener, WorkerSnapshot};
use crate::stats::Ending;
use crate::tcp::{self, TcpClient};
use crate::tls::TlsFacts;

/// A connection as the listener gives it.
pub struct Accepted {
    pub stream: TcpStream,
    pub peer: SocketAddr,
    pub socket: Arc<Socket>,
}

/// A connection whose client is known, its handshake done.
pub struct Opened {
    pub stream: Stream,
    /// Read of it before.
    pub read: BytesMut,
    pub socket_peer: SocketAddr,
    pub peer: Peer,
    pub tls: Option<Arc<TlsFacts>>,
    pub socket: Arc<Socket>,
    pub place: Place,
    /// It is passed on as it is, which is known once it is admitted.
    pub is_opaque: bool,
}

/// Serves one connection to its end. Dropping it closes the connection at once.
pub async fn serve(local: Rc<Local>, accepted: Accepted) {
    let watcher = Watcher::of_connection(local.drain.clone());
    let Some((
        opened,
        Admitted {
            cluster,
            hash_key,
            parting,
        },
    )) = come_in(&local, &watcher, accepted).await
    else {
        return;
    };
    match opened.is_opaque {
        true => {
            let client = TcpClient {
                stream: opened.stream,
                read: opened.read,
                socket_peer: opened.socket_peer,
                peer: opened.peer,
                socket: opened.socket,
                watcher,
                cluster,
                hash_key,
            };
            let _place = opened.place;
            Box::pin(tcp::serve(local, client)).await;
        }
        false => serve_http(local, opened, watcher).await,
    }
    if let Some(parting) = parting {
        parting.tell();
    }
}

/// Whatever comes before anything that the listener speaks. `None` when the connection
/// is to be closed.
async fn come_in(
    local: &Rc<Local>,
    watcher: &Watcher,
    accepted: Accepted,
) -> Option<(Opened, Admitted)> {
    let terms = Terms::of(local, &accepted.socket)?;
    let mut opened = open(local, accepted).await?;
    let admitted = admit(local, watcher, &mut opened).await?;
    if terms.still_hold(local, &opened.socket) {
        return Some((opened, admitted));
    }
    tracing::debug!(peer = %opened.socket_peer, "closed, for a reload changed who may connect");
    if let Some(listener) = local.snapshot_for(&opened.socket).listener(&opened.socket) {
        give_up(local, listener, &opened, &ErrorKind::Draining.into());
    }
    if let Some(parting) = admitted.parting {
        parting.tell();
    }
    None
}

/// Learns whose connection it is.
async fn open(local: &Rc<Local>, accepted: Accepted) -> Option<Opened> {
    let (socket_peer, socket) = (accepted.peer, accepted.socket.clone());
    let Introduced { peer, read } = introduce(local, &accepted).await?;
    let place = take_place(local, &socket, &peer)?;
    let (stream, tls) = establish(local, accepted, &peer, &read).await?;
    let peer = match local.snapshot().tells_clients {
        true => with_ends(peer, socket_peer, &stream),
        false => peer,
    };
    let wanted = original_destination(local, &socket, &stream);
    let peer = peer.with_original_destination(wanted);
    Some(Opened {
        stream,
        read,
        socket_peer,
        peer,
        tls,
        socket,
        place,
        is_opaque: false,
    })
}

/// Where the client wanted to go before it was redirected here, where that may be asked.
fn original_destination(
    local: &Local,
    socket: &Arc<Socket>,
    stream: &Stream,
) -> Option<SocketAddr> {
    let ListenAddress::Tcp(address) = socket.address else {
        return None;
    };
    let snapshot = local.snapshot_for(socket);
    let listener = &snapshot.listener(socket)?.shared;
    let is_asked = !(listener.chain.is_empty()
        && listener.connection_chain.is_empty()
        && listener.config.server_first_ports.is_empty());
    match is_asked || snapshot.follows_clients {
        true => stream.original_destination(address, socket.rules.transparent),
        false => None,
    }
}

/// Both ends as the client sees them, or as a PROXY header tells of them.
fn with_ends(peer: Peer, socket_peer: SocketAddr, stream: &Stream) -> Peer {
    let told = peer.introduction();
    let told = told.and_then(|told| Some((told.client()?, told.destination()?)));
    let own = || Some((socket_peer, stream.local_address()?));
    match told.or_else(own) {
        Some((source, destination)) => {
            peer.with_ends(proxy_protocol::Ends::new(source, destination))
        }
        None => peer,
    }
}

async fn serve_http(local: Rc<Local>, opened: Opened, watcher: Watcher) {
    let _place = opened.place;
    let mut connection = Connection {
        client: Client::begun(opened.stream, opened.read),
        watcher,
        peer: opened.peer,
        tls: opened.tls,
        socket_peer: opened.socket_peer,
        socket: opened.socket,
        requests: 0,
    };
    poll_fn(|context| {
        connection.watcher.attend(context);
        Poll::Ready(())
    })
    .await;
    loop {
        match connection.next(&local).await {
            Next::After(After::KeepAlive) => {}
            Next::After(After::Reset) => return connection.client.writer.reset(),
            Next::After(After::Close | After::Linger | After::Switch) => {
                return connection.client.close();
            }
            // Boxed, since what is passed by value would be here twice.
            Next::Tunnel(tunnel) => return Box::pin(connection.pass(&local, *tunnel)).await,
            Next::Http2 => return Box::pin(connection.serve_http2(local)).await,
        }
    }
}

/// What became of a request that was waited for.
enum Next {
    After(After),
    /// It is none: the client speaks HTTP/2.
    Http2,
    /// The connection goes on in another protocol.
    Tunnel(Box<Tunnel>),
}

struct Connection {
    client: Client,
    watcher: Watcher,
    socket_peer: SocketAddr,
    peer: Peer,
    tls: Option<Arc<TlsFacts>>,
    socket: Arc<Socket>,
    requests: u64,
}

impl Connection {
    /// Waits for the next request and serves it.
    async fn next(&mut self, local: &Rc<Local>) -> Next {
        if !self.wait(local).await {
            return Next::After(After::Close);
        }
        let snapshot = local.snapshot_for(&self.socket);
        let Some(listener) = snapshot.listener(&self.socket) else {
            return Next::After(After::Close);
        };
        let config = &listener.shared.config;
        if self.requests == 0 && config.speaks(Protocol::Http2) && self.is_http2(config).await {
            return Next::Http2;
        }
        // Boxed, so that an idle connection does not carry room for an exchange.
        let ended = boxed(|| self.serve(local, &snapshot, listener)).await;
        self.client.release();
        match ended {
            Ended::Answered(after) => Next::After(after),
            Ended::Switched(tunnel) => Next::Tunnel(tunnel),
        }
    }

    /// Over TLS that was agreed on (RFC 9113, section 3.3), or where nothing was it may
    /// have been detected.
    async fn is_http2(&mut self, config: &config::Listener) -> bool {
        match &self.tls {
            Some(tls) if tls.alpn.is_some() || !config.detects() => {
                tls.alpn.as_deref() == Some("h2")
            }
            _ => self.begins_http2(config.timeouts.head).await,
        }
    }

    /// Whether the connection begins as HTTP/2 does. No other request begins so, and
    /// of a piece of it the rest is waited for.
    async fn begins_http2(&mut self, timeout: Duration) -> bool {
        let Client { reader, alarm, .. } = &mut self.client;
        while reader.buffer.len() < PREFACE.len() && PREFACE.starts_with(&reader.buffer) {
            let filled = within(alarm, timeout, pin!(reader.fill())).await;
            if !matches!(filled, Some(Ok(count)) if count > 0) {
                return false;
            }
        }
        reader.buffer.starts_with(PREFACE)
    }

    async fn serve_http2(self, local: Rc<Local>) {
        let Some((stream, read)) = self.client.into_stream() else {
            return;
        };
        let client = Http2Client {
            early: stream.early_data(),
            stream: Rewound::new(stream, read),
            socket_peer: self.socket_peer,
            peer: self.peer,
            tls: self.tls,
            socket: self.socket,
            watcher: self.watcher,
        };
        http2::serve(local, client).await;
    }

    /// Passes on what is no HTTP any more.
    async fn pass(self, local: &Local, tunnel: Tunnel) {
        if let Some(client) = self.client.into_stream() {
            tunnel.run(local, &self.watcher, client).await;
        }
    }

    /// Waits for the first byte of a request; false when the connection is to
    /// be closed instead: idle for too long, draining, its listener removed, too much to
    /// carry.
    async fn wait(&mut self, local: &Rc<Local>) -> bool {
        let (mut patience, mut spare) = (Patience::default(), Spare::default());
        loop {
            skip_empty_lines(&mut self.client.reader.buffer);
            if !self.client.reader.buffer.is_empty() {
                return true;
            }
            if !self.wait_for_bytes(local, &mut patience, &mut spare).await {
                return false;
            }
        }
    }

    async fn wait_for_bytes(
        &mut self,
        local: &Rc<Local>,
        patience: &mut Patience,
        spare: &mut Spare,
    ) -> bool {
        let (reader, alarm) = (&mut self.client.reader, &mut self.client.alarm);
        let (watcher, socket, requests) = (&self.watcher, &self.socket, self.requests);
        let mut first = pin!(reader.first());
        poll_fn(|context| {
            if let Poll::Ready(first) = first.as_mut().poll(context) {
                return Poll::Ready(first.is_ok_and(|count| count > 0));
            }
            let is_draining = watcher.poll_draining(context);
            // One that has yet to be of use is left.
            let is_spare = requests > 0 && spare.is_due(context, local, alarm);
            if local.drain.is_cut_off() {
                return Poll::Ready(false);
            }
            let until = patience.until(local, socket, is_draining);
            let is_over = alarm.poll_until(context, until).is_ready();
            match (is_over, is_spare) {
                (true, _) if !patience.is_leaving() => local.count_end(socket, Ending::Idle),
                (false, true) => local.count_end(socket, Ending::Overload),
                (true, _) => {}
                (false, false) => return Poll::Pending,
            }
            Poll::Ready(false)
        })
        .await
    }

    async fn serve(
        &mut self,
        local: &Rc<Local>,
        snapshot: &Rc<WorkerSnapshot>,
        listener: &WorkerListener,
    ) -> Ended {
        let started = Instant::now();
        let mut scene = Scene {
            local,
            snapshot,
            listener,
            socket_peer: self.socket_peer,
            peer: &self.peer,
            tls: self.tls.as_ref(),
            started,
            keep_alive: true,
        };
        let read = read_head(&mut self.client, listener).await;
        let after = match read {
            Ok(Some(mut request)) => {
                self.requests += 1;
                if self.client.is_early() && !request.mark_early() {
                    let error = ErrorKind::TooEarly.into();
                    return refuse(&scene, &mut self.client, error).await;
                }
                let limit = listener.shared.config.limits.max_requests;
                let would_go_on = request.keep_alive && !self.watcher.is_draining();
                scene.keep_alive = would_go_on && self.requests < limit;
                let client = Ends::http1(&mut self.client);
                match pin!(exchange::handle(&scene, request, client)).await {
                    Ended::Answered(after) => {
                        if would_go_on && !scene.keep_alive {
                            local.count_end(&self.socket, Ending::MaxRequests);
                        }
                        after
                    }
                    tunnel @ Ended::Switched(_) => return tunnel,
                }
            }
            Ok(None) => After::Close,
            Err(error) => return refuse(&scene, &mut self.client, error).await,
        };
        if after == After::Linger {
            linger(&mut self.client).await;
            return Ended::Answered(After::Close);
        }
        Ended::Answered(after)
    }
}

/// Answers what is no exchange, and lets the client read that.
async fn refuse(scene: &Scene<'_>, client: &mut Client, error: ProxyError) -> Ended {
    let outgoing = Outgoing::Http1(&mut client.writer);
    exchange::refuse(scene, error, Spoken::Http1, outgoing).await;
    linger(client).await;
    Ended::Answered(After::Close)
}

/// Reads until a whole head is there; `None` when the client closed first.
async fn read_head(
    client: &mut Client,
    listener: &WorkerListener,
) -> Result<Option<Box<ParsedRequest>>, ProxyError> {
    let config = &listener.shared.config;
    if !config.speaks(Protocol::Http1) {
        let why = "HTTP/1 is not spoken on this listener";
        return Err(ProxyError::because(ErrorKind::BadVersion, why));
    }
    let reader = &mut client.reader;
    let read = async {
        let mut scanner = HeadScanner::default();
        loop {
            if !reader.buffer.is_empty()
                && let Some(mut request) = parse_request(
                    &mut reader.buffer,
                    &mut scanner,
                    &config.limits,
                    &config.path,
                    Role::of(config),
                )?
            {
                request.choose_upgrade(&config.upgrades.protocols)?;
                return Ok(Some(Box::new(request)));
            }
            match reader.fill().await {
                Ok(0) if reader.buffer.is_empty() => return Ok(None),
                Ok(0) => {
                    return Err(ProxyError::because(
                        ErrorKind::BadRequest,
                        "the client closed in the middle of a head",
                    ));
                }
                Ok(_) => {}
                Err(error) if reader.buffer.is_empty() => {
                    tracing::debug!(%error, "client connection lost");
                    return Ok(None);
                }
                Err(error) => return Err(ProxyError::with(ErrorKind::ClientGone, error)),
            }
        }
    };
    match within(&mut client.alarm, config.timeouts.head, pin!(read)).await {
        Some(outcome) => outcome,
        None => Err(ErrorKind::HeadTimeout.into()),
    }
}

/// Some clients send one behind a body (RFC 9112 section 2.2).
fn skip_empty_lines(buffer: &mut BytesMut) {
    while buffer.starts_with(b"\r\n") {
        buffer.advance(2);
    }
}
