//! What a client connection is made of.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::tls::{EarlyData, TlsStream};

/// A connection as bytes in both directions, whatever is below them.
#[derive(Debug)]
pub enum Stream {
    /// Or a Unix socket, which is used in the same way and has no addresses.
    Tcp(TcpStream),
    /// Boxed: its state is a hundred times a socket's.
    Tls(Box<TlsStream>),
}

impl Stream {
    /// The protocol that the handshake agreed on (RFC 7301), if it did.
    pub fn alpn(&self) -> Option<&[u8]> {
        match self {
            Self::Tcp(_) => None,
            Self::Tls(tls) => tls.session().alpn_protocol(),
        }
    }

    /// Where the client speaks before the handshake is done.
    pub fn early_data(&self) -> Option<EarlyData> {
        match self {
            Self::Tcp(_) => None,
            Self::Tls(tls) => tls.early_data(),
        }
    }

    /// Where the client connected to; `None` for a Unix socket.
    pub fn local_address(&self) -> Option<SocketAddr> {
        self.tcp().local_addr().ok()
    }

    /// Where the client wanted to go before a rule of the firewall redirected it to
    /// `listener`, if one did.
    pub fn original_destination(
        &self,
        listener: SocketAddr,
        is_transparent: bool,
    ) -> Option<SocketAddr> {
        let canonical =
            |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
        let socket = SockRef::from(self.tcp());
        let local = canonical(self.local_address()?);
        let told = match local.is_ipv4() {
            true => socket.original_dst_v4(),
            false => socket.original_dst_v6(),
        };
        // Where nothing was redirected the kernel tells nothing, or the address itself: to
        // go there would be to come here again.
        let told = told.ok().and_then(|told| told.as_socket()).map(canonical);
        let own = [local, canonical(listener)];
        match told.filter(|told| !own.contains(told)) {
            Some(told) => Some(told),
            // TPROXY leaves the address as it was.
            None => (is_transparent && local.port() != listener.port()).then_some(local),
        }
    }

    /// Has the connection end by a reset when it is dropped: nobody takes that for an
    /// end.
    pub fn set_reset(&self) {
        if let Err(error) = SockRef::from(self.tcp()).set_linger(Some(Duration::ZERO)) {
            tracing::debug!(%error, "a client's connection is closed and not reset");
        }
    }

    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Tcp(tcp) => tcp,
            Self::Tls(tls) => tls.tcp(),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_read(context, buffer),
            Self::Tls(tls) => Pin::new(tls).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_write(context, bytes),
            Self::Tls(tls) => Pin::new(tls).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_write_vectored(context, slices),
            Self::Tls(tls) => Pin::new(tls).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(tcp) => tcp.is_write_vectored(),
            Self::Tls(tls) => tls.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_flush(context),
            Self::Tls(tls) => Pin::new(tls).poll_flush(context),
        }
    }

    /// Over TLS with a `close_notify` before the end.
    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_shutdown(context),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(context),
        }
    }
}
