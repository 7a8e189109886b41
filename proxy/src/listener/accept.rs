//! Accepting on a worker.

use std::future::{Future, poll_fn};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::{Domain, Socket as RawSocket};
use tokio::net::{TcpListener, TcpStream, UnixListener};

use super::Socket;
use crate::overload::{Load, is_exhaustion};
use crate::stats::{ListenerStats, Refusal};

/// After an error that is not of one connection (no descriptors left, say):
/// long enough not to spin, short enough not to be noticed.
const PAUSE: Duration = Duration::from_millis(20);
/// Without a descriptor: what comes free meanwhile is for what is under way.
const LONG_PAUSE: Duration = Duration::from_millis(250);

/// One socket of a listener on one worker.
pub struct AcceptLoop {
    listener: Listening,
    admission: Admission,
}

/// What accepted connections count among.
struct Admission {
    socket: Arc<Socket>,
    load: Arc<Load>,
}

enum Listening {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listening {
    fn new(socket: RawSocket) -> io::Result<Self> {
        match socket.domain()? {
            Domain::UNIX => UnixListener::from_std(socket.into()).map(Self::Unix),
            _ => TcpListener::from_std(socket.into()).map(Self::Tcp),
        }
    }

    /// The runtime has no part in it any more.
    fn into_raw(self) -> io::Result<RawSocket> {
        Ok(match self {
            Self::Tcp(listener) => listener.into_std()?.into(),
            Self::Unix(listener) => listener.into_std()?.into(),
        })
    }

    fn poll_accept(&self, context: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        match self {
            Self::Tcp(listener) => listener.poll_accept(context),
            Self::Unix(listener) => {
                let accepted = ready!(listener.poll_accept(context));
                // Whatever is done with a connection behind this is the same for both
                // but for addresses, of which this one has none.
                let stream = accepted.and_then(|(stream, _)| {
                    let socket = OwnedFd::from(stream.into_std()?);
                    TcpStream::from_std(socket.into())
                });
                Poll::Ready(stream.map(|stream| (stream, NO_ADDRESS)))
            }
        }
    }
}

/// Who is connected by a Unix socket.
const NO_ADDRESS: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0));

/// How many connections there is room for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Room {
    /// Of the listener, over all workers.
    pub of_listener: usize,
    /// Of all listeners.
    pub of_process: usize,
    /// There is room for none.
    pub is_overloaded: bool,
}

/// Counts a connection among its listener's and the process's for as long as it lives.
pub struct Permit {
    socket: Arc<Socket>,
    load: Arc<Load>,
}

impl Permit {
    /// Or whose limit is reached.
    fn take(socket: &Arc<Socket>, load: &Arc<Load>, room: Room) -> Result<Self, Refusal> {
        let of_listener = socket.connections.fetch_add(1, Ordering::Relaxed);
        let of_process = load.connections.0.fetch_add(1, Ordering::Relaxed);
        let permit = Self {
            socket: socket.clone(),
            load: load.clone(),
        };
        match () {
            () if room.is_overloaded => Err(Refusal::Overload),
            () if of_listener >= room.of_listener => Err(Refusal::Listener),
            () if of_process >= room.of_process => Err(Refusal::Process),
            () => Ok(permit),
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.socket.connections.fetch_sub(1, Ordering::Relaxed);
        self.load.connections.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Counts a handshake among its listener's for as long as it takes.
pub struct Handshaking<'a>(&'a Socket);

impl<'a> Handshaking<'a> {
    /// `None` where `limit` are under way.
    pub fn begin(socket: &'a Socket, limit: usize) -> Option<Self> {
        let handshaking = Self(socket);
        let under_way = socket.handshakes.fetch_add(1, Ordering::Relaxed);
        (under_way < limit).then_some(handshaking)
    }
}

impl Drop for Handshaking<'_> {
    fn drop(&mut self) {
        self.0.handshakes.fetch_sub(1, Ordering::Relaxed);
    }
}

impl AcceptLoop {
    /// Takes the worker's sockets: one, but for those that the process was started
    /// with. Must run inside the worker's runtime.
    pub fn all(
        socket: &Arc<Socket>,
        worker: usize,
        load: &Arc<Load>,
    ) -> impl Iterator<Item = io::Result<Self>> {
        let taken = socket.take(worker).into_iter();
        taken.map(|listener| {
            let listener = Listening::new(listener).inspect_err(|_| {
                // Else the copy that is kept would take connections that nobody accepts.
                socket.forget();
            })?;
            let admission = Admission {
                socket: socket.clone(),
                load: load.clone(),
            };
            Ok(Self {
                listener,
                admission,
            })
        })
    }

    /// Accepts until `stop` is done, then empties the queue once more and ends.
    /// `room` is asked at each connection, because it changes.
    pub async fn run(
        self,
        stats: &ListenerStats,
        room: impl Fn() -> Room,
        stop: impl Future<Output = ()>,
        mut take: impl FnMut(TcpStream, SocketAddr, Permit),
    ) {
        let mut stop = std::pin::pin!(stop);
        loop {
            let accepted = tokio::select! {
                biased;
                () = &mut stop => break,
                accepted = poll_fn(|context| self.listener.poll_accept(context)) => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    self.admission.admit(stats, room(), stream, peer, &mut take);
                }
                Err(error) => self.admission.survive(stats, &error).await,
            }
        }
        let Self {
            listener,
            admission,
        } = self;
        if let Err(error) = admission.empty_queue(listener, stats, &room, &mut take) {
            let address = &admission.socket.address;
            tracing::warn!(%error, %address, "connections that waited may be lost");
        }
    }
}

impl Admission {
    fn admit(
        &self,
        stats: &ListenerStats,
        room: Room,
        stream: TcpStream,
        peer: SocketAddr,
        take: &mut impl FnMut(TcpStream, SocketAddr, Permit),
    ) {
        let permit = match Permit::take(&self.socket, &self.load, room) {
            Ok(permit) => permit,
            Err(refusal) => {
                stats.connections_refused.count(refusal);
                let limit = refusal.name();
                tracing::debug!(%peer, limit, "connection refused: there are as many as may be");
                return;
            }
        };
        stats.connections_opened.add(1);
        take(stream, peer, permit);
    }

    async fn survive(&self, stats: &ListenerStats, error: &io::Error) {
        stats.accept_errors.add(1);
        if is_of_one_connection(error) {
            tracing::debug!(%error, "a connection was lost before it was accepted");
            return;
        }
        if is_exhaustion(error) {
            // The watch over them tells of it, once.
            self.load.exhaust();
            return tokio::time::sleep(LONG_PAUSE).await;
        }
        tracing::warn!(%error, address = %self.socket.address, "cannot accept; trying again");
        tokio::time::sleep(PAUSE).await;
    }

    /// What the kernel has already accepted for this socket would be reset. It is asked
    /// itself: the runtime knows of what it was last told of, and gives a task only so
    /// many at once.
    fn empty_queue(
        &self,
        listener: Listening,
        stats: &ListenerStats,
        room: &impl Fn() -> Room,
        take: &mut impl FnMut(TcpStream, SocketAddr, Permit),
    ) -> io::Result<()> {
        let listener = listener.into_raw()?;
        loop {
            match listener.accept() {
                Ok((stream, peer)) => {
                    stream.set_nonblocking(true)?;
                    let peer = peer.as_socket().unwrap_or(NO_ADDRESS);
                    self.admit(
                        stats,
                        room(),
                        TcpStream::from_std(stream.into())?,
                        peer,
                        take,
                    );
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if is_of_one_connection(&error) => stats.accept_errors.add(1),
                Err(error) => return Err(error),
            }
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}
