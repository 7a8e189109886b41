//! The reading half of a client connection.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;

use super::io::Io;

/// What one read asks for: most heads fit, and bodies move on in such pieces.
const READ_BYTES: usize = 16 * 1024;
/// A first read is for a head, which is small.
const HEAD_BYTES: usize = 4 * 1024;

pub struct Reader {
    pub(super) io: Io,
    /// Read and not yet consumed.
    pub buffer: BytesMut,
}

impl Reader {
    pub(super) fn new(io: Io, buffer: BytesMut) -> Self {
        Self { io, buffer }
    }

    /// Waits, without a buffer, for the first bytes of a request and reads them;
    /// 0 at the end of the stream. A socket may seem readable and have nothing,
    /// so only bytes end the wait. Cancel-safe.
    pub async fn first(&mut self) -> io::Result<usize> {
        poll_fn(|context| self.poll_first(context)).await
    }

    /// Reads once, behind what is there already; 0 at the end of the stream.
    /// Cancel-safe: dropped while it waits, nothing was read.
    pub async fn fill(&mut self) -> io::Result<usize> {
        let wanted = if self.buffer.is_empty() {
            HEAD_BYTES
        } else {
            READ_BYTES
        };
        self.fill_up_to(wanted).await
    }

    /// As `fill`, in pieces fit for a body.
    pub async fn fill_body(&mut self) -> io::Result<usize> {
        self.fill_up_to(READ_BYTES).await
    }

    /// Waits until the client closes its side. What it sends before, such as its
    /// next request, is kept, up to a bound; beyond that nothing is noticed.
    /// Cancel-safe.
    pub async fn closed(&mut self) -> io::Result<()> {
        while self.buffer.len() < HEAD_BYTES {
            if self.first().await? == 0 {
                return Ok(());
            }
        }
        std::future::pending().await
    }

    async fn fill_up_to(&mut self, wanted: usize) -> io::Result<usize> {
        poll_fn(|context| self.io.poll_read(context, &mut self.buffer, wanted)).await
    }

    fn poll_first(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        ready!(self.io.poll_readable(context))?;
        let read = self.io.poll_read(context, &mut self.buffer, HEAD_BYTES);
        if read.is_pending() {
            self.release();
        }
        read
    }

    /// Gives the buffer back when nothing is in it.
    pub fn release(&mut self) {
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
    }
}
