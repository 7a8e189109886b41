//! The frames of a client of HTTP/2, counted as they are read.
//!
//! Most of what servers are flooded with carries nothing: SETTINGS, PING, WINDOW_UPDATE,
//! PRIORITY, empty DATA. Each takes a little work, and the codec, which answers them by
//! itself, has no limit on most of them. So they are counted before it sees them.

mod limit;
mod scan;

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use limit::Limit;
use scan::Frames;

/// Set once a client has sent too many, after which nothing more is read of it.
#[derive(Debug, Clone, Default)]
pub struct Flooded(Rc<Cell<bool>>);

impl Flooded {
    pub fn is_so(&self) -> bool {
        self.0.get()
    }
}

/// A connection whose frames are counted.
#[derive(Debug)]
pub struct Counted<S> {
    stream: S,
    frames: Frames,
    limit: Limit,
    flooded: Flooded,
}

impl<S> Counted<S> {
    /// So many that carry nothing may come in a window.
    pub fn new(stream: S, max: u32) -> Self {
        Self {
            stream,
            frames: Frames::default(),
            limit: Limit::new(u64::from(max), Instant::now()),
            flooded: Flooded::default(),
        }
    }

    pub fn flooded(&self) -> Flooded {
        self.flooded.clone()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.flooded.is_so() {
            // The connection looks at that, and ends.
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(context, buffer);
        let empty = this.frames.feed(&buffer.filled()[before..]);
        if empty > 0 && this.limit.is_exceeded(empty) {
            this.flooded.0.set(true);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(context, bytes);
        this.limit.note(&written);
        written
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(context, slices);
        this.limit.note(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
