//! A connection to an origin as bytes in both directions, whatever they mean.
//!
//! Balanced, tried and counted as a request is, for as long as the connection lasts.

use std::io;
use std::pin::Pin as Pinned;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::connect::connect_alone;
use super::pool::{Active, Pick};
use super::request::Progress;
use super::socket::Socket;
use super::worker_cluster::WorkerCluster;
use crate::cluster::Endpoint;
use crate::error::{ErrorKind, ProxyError};

/// Dropped, it is closed.
pub struct Opaque {
    socket: Socket,
    pick: Pick,
    active: Active,
}

/// A connection to an endpoint of the cluster, or to another where that one takes none.
pub async fn reach_opaque(
    cluster: &WorkerCluster,
    progress: &Progress,
) -> Result<Opaque, ProxyError> {
    let active = Active::begin(&cluster.pool);
    let Some(pick) = cluster.pick(Instant::now()) else {
        return Err(active.failed(ErrorKind::NoEndpoint.into()));
    };
    match connect_alone(cluster, pick, progress).await {
        Ok((socket, pick)) => Ok(Opaque {
            socket,
            pick,
            active,
        }),
        Err(error) => Err(active.failed(error)),
    }
}

impl Opaque {
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.pick.endpoint.shared
    }

    /// Closes it so that nobody takes that for an end.
    pub fn reset(self) {
        if let Err(error) = self.socket.set_reset() {
            tracing::debug!(%error, "a connection to an origin is closed and not reset");
        }
    }

    /// Closes it for what was the origin's fault.
    pub fn failed(self, error: ProxyError) -> ProxyError {
        self.active.failed(error)
    }
}

impl AsyncRead for Opaque {
    fn poll_read(
        self: Pinned<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pinned::new(&mut self.get_mut().socket).poll_read(context, buffer)
    }
}

impl AsyncWrite for Opaque {
    fn poll_write(
        self: Pinned<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pinned::new(&mut self.get_mut().socket).poll_write(context, bytes)
    }

    fn poll_flush(self: Pinned<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pinned::new(&mut self.get_mut().socket).poll_flush(context)
    }

    fn poll_shutdown(self: Pinned<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pinned::new(&mut self.get_mut().socket).poll_shutdown(context)
    }
}
