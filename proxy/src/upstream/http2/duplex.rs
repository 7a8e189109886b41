//! A stream of HTTP/2 as bytes in both directions.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::stream::{poll_room, poll_stream};
use crate::upstream::Frame;

/// Its two directions end one by one, like those of a socket. Dropped before, it is
/// broken off.
#[derive(Debug)]
pub struct Duplex {
    received: RecvStream,
    sent: SendStream<Bytes>,
    /// Of what was received and not yet read.
    left: Bytes,
    is_shut: bool,
}

impl Duplex {
    pub fn new(received: RecvStream, sent: SendStream<Bytes>) -> Self {
        Self {
            received,
            sent,
            left: Bytes::new(),
            is_shut: false,
        }
    }

    /// Ready when the other end has broken it off, or its connection is gone.
    pub fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.sent.poll_reset(context).map(drop)
    }

    pub fn reset(&mut self) {
        self.sent.send_reset(Reason::CANCEL);
    }
}

impl AsyncRead for Duplex {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.left.is_empty() {
            match ready!(poll_stream(&mut self.received, context)) {
                Some(Ok(Frame::Data(bytes))) => self.left = bytes,
                // Trailers have no place in it.
                Some(Ok(Frame::Trailers(_))) | None => return Poll::Ready(Ok(())),
                Some(Err(error)) => return Poll::Ready(Err(broken(error))),
            }
        }
        let count = self.left.len().min(buffer.remaining());
        buffer.put_slice(&self.left.split_to(count));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Duplex {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        loop {
            let room = ready!(poll_room(&mut self.sent, bytes.len(), context));
            let Some(room) = room else {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            };
            if room > 0 {
                let count = room.min(bytes.len());
                let piece = Bytes::copy_from_slice(&bytes[..count]);
                self.sent.send_data(piece, false).map_err(broken)?;
                return Poll::Ready(Ok(count));
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_shut {
            self.is_shut = true;
            self.sent.send_data(Bytes::new(), true).map_err(broken)?;
        }
        Poll::Ready(Ok(()))
    }
}

fn broken(error: h2::Error) -> io::Error {
    match error.is_io() {
        true => error
            .into_io()
            .unwrap_or_else(|| io::ErrorKind::ConnectionReset.into()),
        false => io::Error::new(io::ErrorKind::ConnectionReset, error),
    }
}
