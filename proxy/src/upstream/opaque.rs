//! A connection to an origin as bytes in both directions, whatever they mean: one of TCP,
//! or what remains of one of HTTP, or of a stream, once another protocol begins.
//!
//! Balanced, tried and counted as a request is, for as long as the connection lasts.

use std::io;
use std::pin::Pin as Pinned;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::BytesMut;
use h2::RecvStream;
use http::HeaderMap;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::connect::connect_alone;
use super::http2::{Duplex, StreamLease};
use super::pool::{Active, Lease, Pick};
use super::request::Progress;
use super::socket::Socket;
use super::terms::ConnectTimes;
use super::worker_cluster::WorkerCluster;
use crate::balance::outlier::Answer;
use crate::balance::peak_ewma::Outcome;
use crate::cluster::Endpoint;
use crate::error::{ErrorKind, ProxyError};

/// Dropped, it is closed, or its stream is broken off.
pub struct Opaque {
    way: Way,
    active: Active,
}

enum Way {
    Socket {
        socket: Socket,
        /// Of what came too early.
        read: BytesMut,
        pick: Pick,
    },
    Stream {
        stream: Duplex,
        lease: StreamLease,
    },
}

/// Does the same with whichever it is.
macro_rules! with {
    ($opaque:expr, $inner:ident => $call:expr) => {
        match &mut $opaque.get_mut().way {
            Way::Socket { socket: $inner, .. } => $call,
            Way::Stream { stream: $inner, .. } => $call,
        }
    };
}

/// A connection to an endpoint of the cluster, or to another where that one takes none.
pub async fn reach_opaque(
    cluster: &WorkerCluster,
    times: ConnectTimes,
    progress: &Progress,
) -> Result<Opaque, ProxyError> {
    let active = Active::begin(&cluster.pool, progress).await?;
    cluster.note_key(&HeaderMap::new(), progress);
    let pick = match cluster.pick(Instant::now(), progress) {
        Ok(pick) => pick,
        Err(why) => return Err(active.failed(why.into())),
    };
    match connect_alone(cluster, pick, times, progress).await {
        Ok((socket, pick)) => {
            pick.answered(Instant::now(), Outcome::Answered);
            active.judge(false);
            cluster.pool.count(&pick.endpoint, Answer::Well);
            Ok(Opaque::of_socket(socket, BytesMut::new(), pick, active))
        }
        Err(error) => Err(active.failed(error)),
    }
}

impl Opaque {
    fn of_socket(socket: Socket, read: BytesMut, pick: Pick, active: Active) -> Self {
        let way = Way::Socket { socket, read, pick };
        Self { way, active }
    }

    /// Of a connection that switches to another protocol.
    pub(super) async fn of_connection(lease: Lease, active: Active) -> Result<Self, ProxyError> {
        let (connection, pick) = lease.into_connection();
        match connection.switch().await {
            Some((socket, read)) => Ok(Self::of_socket(socket, read, pick, active)),
            None => Err(active.failed(ErrorKind::UpstreamReset.into())),
        }
    }

    /// Of a stream that was opened for another protocol.
    pub(super) fn of_stream(
        received: RecvStream,
        mut lease: StreamLease,
        active: Active,
    ) -> Result<Self, ProxyError> {
        let Some(sent) = lease.opened.take() else {
            return Err(active.failed(ErrorKind::Internal.into()));
        };
        let stream = Duplex::new(received, sent);
        let way = Way::Stream { stream, lease };
        Ok(Self { way, active })
    }

    pub fn endpoint(&self) -> &Arc<Endpoint> {
        match &self.way {
            Way::Socket { pick, .. } => &pick.endpoint.shared,
            Way::Stream { lease, .. } => lease.endpoint(),
        }
    }

    /// Ready when it was broken off, where neither reading nor writing would tell.
    pub fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match &mut self.way {
            Way::Socket { .. } => Poll::Pending,
            Way::Stream { stream, .. } => stream.poll_gone(context),
        }
    }

    /// Closes it so that nobody takes that for an end.
    pub fn reset(mut self) {
        match &mut self.way {
            Way::Socket { socket, .. } => socket.set_reset(),
            Way::Stream { stream, .. } => stream.reset(),
        }
    }

    /// Closes it for what was the origin's fault.
    pub fn failed(self, error: ProxyError) -> ProxyError {
        self.active.failed(error)
    }
}

impl AsyncRead for Opaque {
    fn poll_read(
        mut self: Pinned<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Way::Socket { read, .. } = &mut self.way
            && !read.is_empty()
        {
            let count = read.len().min(buffer.remaining());
            buffer.put_slice(&read.split_to(count));
            if read.is_empty() {
                *read = BytesMut::new();
            }
            return Poll::Ready(Ok(()));
        }
        with!(self, inner => Pinned::new(inner).poll_read(context, buffer))
    }
}

impl AsyncWrite for Opaque {
    fn poll_write(
        self: Pinned<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        with!(self, inner => Pinned::new(inner).poll_write(context, bytes))
    }

    fn poll_flush(self: Pinned<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        with!(self, inner => Pinned::new(inner).poll_flush(context))
    }

    fn poll_shutdown(self: Pinned<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        with!(self, inner => Pinned::new(inner).poll_shutdown(context))
    }
}
