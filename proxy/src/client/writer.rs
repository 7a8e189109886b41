//! The writing half of a client connection.

use std::io;
use std::pin::pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::OwnedWriteHalf;

use crate::deadline::{Alarm, within};
use crate::error::{ErrorKind, ProxyError};

/// Up to here a chunk is copied behind the head, so that both leave in one
/// system call; a larger one is written from where it lies.
const COPY_BYTES: usize = 16 * 1024;

/// Before an exchange has said otherwise.
const DEFAULT_STALL: Duration = Duration::from_secs(30);

/// What a client within the process takes of an answer. It takes no more then.
const MAX_TAKEN: usize = 64 << 20;

pub struct Writer {
    io: Io,
    /// Encoded and not yet written.
    pub buffer: BytesMut,
    /// How long the client may take no byte; set by each exchange.
    pub stall: Duration,
    alarm: Alarm,
    /// Something was written in part and will never be written whole: whatever
    /// came behind it would be taken for the rest.
    is_torn: bool,
}

enum Io {
    Socket(OwnedWriteHalf),
    /// What a client within the process has got so far.
    Inside(Vec<u8>),
}

impl Io {
    fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Io::Socket(socket) => socket.try_write(bytes),
            Io::Inside(taken) => {
                let count = bytes.len().min(MAX_TAKEN - taken.len());
                taken.extend_from_slice(&bytes[..count]);
                Ok(count)
            }
        }
    }
}

impl Writer {
    pub fn new(io: OwnedWriteHalf) -> Self {
        Self::to(Io::Socket(io))
    }

    pub(super) fn inside() -> Self {
        Self::to(Io::Inside(Vec::new()))
    }

    fn to(io: Io) -> Self {
        Self {
            io,
            buffer: BytesMut::new(),
            stall: DEFAULT_STALL,
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
            match self.io.try_write(bytes) {
                Ok(0) => return Err(ErrorKind::ClientGone.into()),
                Ok(count) => {
                    bytes = &bytes[count..];
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable().await?,
                Err(error) => return Err(ProxyError::with(ErrorKind::ClientGone, error)),
            }
        }
        self.is_torn = false;
        Ok(())
    }

    async fn writable(&mut self) -> Result<(), ProxyError> {
        let Io::Socket(socket) = &self.io else {
            return Ok(());
        };
        match within(&mut self.alarm, self.stall, pin!(socket.writable())).await {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(ProxyError::with(ErrorKind::ClientGone, error)),
            None => Err(ErrorKind::ClientStalled.into()),
        }
    }

    /// Gives the buffer back when nothing is in it.
    pub fn release(&mut self) {
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
    }

    /// Closes by a reset: what was sent is not all, and nothing else would say
    /// so. Dropped, the half would end in order.
    pub fn reset(self) {
        let Io::Socket(socket) = self.io else {
            return;
        };
        let shared = socket2::SockRef::from(socket.as_ref());
        if let Err(error) = shared.set_linger(Some(Duration::ZERO)) {
            tracing::debug!(%error, "a cut-off answer ends like a whole one");
        }
        socket.forget();
    }

    /// All that a client within the process was sent.
    pub fn into_taken(self) -> Vec<u8> {
        match self.io {
            Io::Inside(taken) => taken,
            Io::Socket(_) => Vec::new(),
        }
    }

    /// Says that nothing more will come. The client may already be gone.
    pub async fn shutdown(&mut self) {
        let Io::Socket(socket) = &mut self.io else {
            return;
        };
        if let Err(error) = socket.shutdown().await {
            tracing::trace!(%error, "shutting down a client connection");
        }
    }
}
