//! Accepting on a worker.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

use super::Socket;
use crate::stats::ListenerStats;

/// After an error that is not of one connection (no descriptors left, say):
/// long enough not to spin, short enough not to be noticed.
const PAUSE: Duration = Duration::from_millis(20);

/// One worker's end of a listener.
pub struct AcceptLoop {
    listener: TcpListener,
    socket: Arc<Socket>,
}

/// Counts a connection among its listener's for as long as it lives.
pub struct Permit(Arc<Socket>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
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
    /// Takes the worker's socket. Must run inside the worker's runtime.
    pub fn new(socket: Arc<Socket>, worker: usize) -> io::Result<Option<Self>> {
        let Some(listener) = socket.take(worker) else {
            return Ok(None);
        };
        let listener = TcpListener::from_std(listener)?;
        Ok(Some(Self { listener, socket }))
    }

    /// Accepts until `stop` is done, then empties the queue once more and ends.
    /// `limit` is asked at each connection, because a reload may change it.
    pub async fn run(
        self,
        stats: &ListenerStats,
        limit: impl Fn() -> usize,
        stop: impl Future<Output = ()>,
        mut take: impl FnMut(TcpStream, SocketAddr, Permit),
    ) {
        let mut stop = std::pin::pin!(stop);
        loop {
            let accepted = tokio::select! {
                biased;
                () = &mut stop => break,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => self.admit(stats, limit(), stream, peer, &mut take),
                Err(error) => self.survive(stats, &error).await,
            }
        }
        self.empty_queue(stats, limit(), &mut take).await;
    }

    fn admit(
        &self,
        stats: &ListenerStats,
        limit: usize,
        stream: TcpStream,
        peer: SocketAddr,
        take: &mut impl FnMut(TcpStream, SocketAddr, Permit),
    ) {
        let open = self.socket.connections.fetch_add(1, Ordering::Relaxed);
        let permit = Permit(self.socket.clone());
        if open >= limit {
            stats.connections_refused.add(1);
            tracing::debug!(%peer, limit, "connection refused: the listener has its limit");
            return;
        }
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%peer, %error, "connection lost while it was accepted");
            return;
        }
        stats.connections_opened.add(1);
        take(stream, peer, permit);
    }

    async fn survive(&self, stats: &ListenerStats, error: &io::Error) {
        stats.accept_errors.add(1);
        if is_of_one_connection(error) {
            tracing::debug!(%error, "a connection was lost before it was accepted");
            return;
        }
        tracing::warn!(%error, address = %self.socket.address, "cannot accept; trying again");
        tokio::time::sleep(PAUSE).await;
    }

    /// What the kernel has already accepted for this socket would be reset.
    async fn empty_queue(
        &self,
        stats: &ListenerStats,
        limit: usize,
        take: &mut impl FnMut(TcpStream, SocketAddr, Permit),
    ) {
        while let Some(Ok((stream, peer))) = std::future::poll_fn(|context| {
            std::task::Poll::Ready(match self.listener.poll_accept(context) {
                std::task::Poll::Ready(accepted) => Some(accepted),
                std::task::Poll::Pending => None,
            })
        })
        .await
        {
            self.admit(stats, limit, stream, peer, take);
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
