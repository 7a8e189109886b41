//! A connected socket, whatever kind it is.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::counted::Counted;
use crate::tls::{self, UpstreamTls};

/// Each is counted as a connection for as long as it is there.
pub(super) enum Socket {
    Tcp {
        socket: TcpStream,
        _counted: Counted,
    },
    Unix {
        socket: UnixStream,
        _counted: Counted,
    },
    Inside {
        socket: DuplexStream,
        _counted: Counted,
    },
    /// Over any of these.
    Tls(Box<UpstreamTls<Socket>>),
}

impl Socket {
    pub fn is_tls(&self) -> bool {
        matches!(self, Socket::Tls(_))
    }

    /// Whether that was agreed on (ALPN).
    pub fn speaks_http2(&self) -> bool {
        match self {
            Socket::Tls(tls) => tls::speaks_http2(tls),
            Socket::Tcp { .. } | Socket::Unix { .. } | Socket::Inside { .. } => false,
        }
    }

    /// Has the connection end by a reset when it is dropped, where it is one of TCP.
    pub(super) fn set_reset(&self) {
        let reset = match self {
            Socket::Tcp { socket, .. } => SockRef::from(socket).set_linger(Some(Duration::ZERO)),
            Socket::Tls(tls) => return tls.get_ref().0.set_reset(),
            Socket::Unix { .. } | Socket::Inside { .. } => Ok(()),
        };
        if let Err(error) = reset {
            tracing::debug!(%error, "a connection to an origin is closed and not reset");
        }
    }
}

/// Does the same with whichever it is.
macro_rules! with {
    ($socket:expr, $inner:ident => $call:expr) => {
        match $socket.get_mut() {
            Socket::Tcp { socket: $inner, .. } => $call,
            Socket::Unix { socket: $inner, .. } => $call,
            Socket::Inside { socket: $inner, .. } => $call,
            Socket::Tls($inner) => $call,
        }
    };
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        with!(self, socket => Pin::new(socket).poll_read(cx, buffer))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        with!(self, socket => Pin::new(socket).poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        with!(self, socket => Pin::new(socket).poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        with!(self, socket => Pin::new(socket).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        with!(self, socket => Pin::new(socket).poll_shutdown(cx))
    }
}
