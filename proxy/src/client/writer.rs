//! The writing half of a client connection.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::io::Io;
use crate::deadline::Alarm;
use crate::error::{ErrorKind, ProxyError};
use crate::pace::{Late, Pace};

/// Up to here a chunk is copied behind the head, so that both leave in one
/// system call; a larger one is written from where it lies.
const COPY_BYTES: usize = 16 * 1024;

/// Before an exchange has said otherwise.
const DEFAULT_STALL: Duration = Duration::from_secs(30);

pub struct Writer {
    pub(super) io: Io,
    /// Encoded and not yet written.
    pub buffer: BytesMut,
    /// How slowly the client may take bytes; set by each exchange.
    pub pace: Pace,
    alarm: Alarm,
    /// Something was written in part and will never be written whole: whatever
    /// came behind it would be taken for the rest.
    is_torn: bool,
}

impl Writer {
    pub(super) fn new(io: Io) -> Self {
        Self {
            io,
            buffer: BytesMut::new(),
            pace: Pace::new(DEFAULT_STALL, 0),
            alarm: Alarm::default(),
            is_torn: false,
        }
    }

    /// Adds a piece of a body; it leaves with the next `flush`, or now if it is
    /// large.
    pub async fn push(&mut self, bytes: Bytes) -> Result<(), ProxyError> {
        if bytes.len() <= COPY_BYTES {
            self.buffer.extend_from_slice(&bytes);
            return Ok(());
        }
        self.flush().await?;
        self.write_all(&bytes).await
    }

    /// Writes everything that was encoded.
    pub async fn flush(&mut self) -> Result<(), ProxyError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let buffer = std::mem::take(&mut self.buffer);
        let outcome = self.write_all(&buffer).await;
        self.buffer = buffer;
        self.buffer.clear();
        outcome
    }

    async fn write_all(&mut self, mut bytes: &[u8]) -> Result<(), ProxyError> {
        if self.is_torn {
            return Err(ErrorKind::ClientGone.into());
        }
        // Until it is whole; this future may be dropped halfway.
        self.is_torn = true;
        while !bytes.is_empty() {
            let write = |io: &Io, context: &mut Context<'_>| io.poll_write(context, bytes);
            let count = self.in_time(write).await?;
            if count == 0 {
                return Err(ErrorKind::ClientGone.into());
            }
            self.flush_taken(count).await?;
            bytes = &bytes[count..];
        }
        self.is_torn = false;
        Ok(())
    }

    /// Has sent what was taken. It counts for the client's rate as it leaves: TLS takes
    /// more at once than a slow client reads in the time that it may be silent.
    async fn flush_taken(&mut self, taken: usize) -> Result<(), ProxyError> {
        let mut left = taken;
        while let Some(sent) = self.in_time(Io::poll_flush).await? {
            let sent = sent.min(left);
            self.pace.moved(sent as u64);
            left -= sent;
        }
        self.pace.moved(left as u64);
        Ok(())
    }

    /// Waits for a step of which the client must take something in time.
    async fn in_time<T>(
        &mut self,
        mut step: impl FnMut(&Io, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Result<T, ProxyError> {
        let step = pin!(poll_fn(|context| step(&self.io, context)));
        match self.pace.keep(&mut self.alarm, None, step).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => Err(ProxyError::with(ErrorKind::ClientGone, error)),
            Err(Late::Silent) => Err(ErrorKind::ClientStalled.into()),
            Err(Late::Slow) => Err(ErrorKind::ClientTooSlow.into()),
        }
    }

    /// Gives the buffer back when nothing is in it.
    pub fn release(&mut self) {
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
    }

    /// Closes by a reset: what was sent is not all, and nothing else would say
    /// so. Over TLS nothing is said before it.
    pub fn reset(self) {
        if let Err(error) = self.io.set_reset() {
            tracing::debug!(%error, "a cut-off answer ends like a whole one");
        }
    }

    /// All that a client within the process was sent.
    pub fn into_taken(self) -> Vec<u8> {
        self.io.take_taken()
    }

    /// Says that nothing more will come. The client may already be gone.
    pub async fn shutdown(&mut self) {
        let step = |io: &Io, context: &mut Context<'_>| io.poll_shutdown(context);
        if let Err(error) = self.in_time(step).await {
            tracing::trace!(%error, "shutting down a client connection");
        }
    }

    /// Says so without waiting for anything: it is dropped next.
    pub fn close(self) {
        let mut context = Context::from_waker(Waker::noop());
        if let Poll::Ready(Err(error)) = self.io.poll_shutdown(&mut context) {
            tracing::trace!(%error, "closing a client connection");
        }
    }
}
