//! The frames of a client of HTTP/2, looked at as they pass.
//!
//! Most of what servers are flooded with carries nothing: SETTINGS, PING, WINDOW_UPDATE,
//! PRIORITY, empty DATA. Each takes a little work, and the codec, which answers them by
//! itself, has no limit on most of them. So they are counted before it sees them. Nor has it
//! a clock for heads that do not end, or tells of streams that it refuses.

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

/// What is seen of a connection's frames, for who serves it.
#[derive(Debug, Clone, Default)]
pub struct Seen(Rc<State>);

#[derive(Debug, Default)]
struct State {
    is_flooded: Cell<bool>,
    /// When the head began that is under way.
    midway_since: Cell<Option<Instant>>,
    /// All that came was read.
    waits: Cell<bool>,
    refused: Cell<u64>,
}

impl Seen {
    /// Whether the client has sent too many, after which nothing more is read of it.
    pub fn is_flooded(&self) -> bool {
        self.0.is_flooded.get()
    }

    /// Since when the rest of a head is waited for. Not while what came is not read, which
    /// is so where the client does not take what it is sent.
    pub fn waits_for_head_since(&self) -> Option<Instant> {
        let state = &self.0;
        state.midway_since.get().filter(|_| state.waits.get())
    }

    /// Streams that were refused since this was asked last.
    pub fn take_refused(&self) -> u64 {
        self.0.refused.take()
    }
}

/// A connection whose frames are counted.
#[derive(Debug)]
pub struct Counted<S> {
    stream: S,
    received: Frames,
    sent: Frames,
    limit: Limit,
    seen: Seen,
}

impl<S> Counted<S> {
    /// So many that carry nothing may come in a window.
    pub fn new(stream: S, max: u32) -> Self {
        Self {
            stream,
            received: Frames::behind_preface(),
            sent: Frames::new(),
            limit: Limit::new(u64::from(max), Instant::now()),
            seen: Seen::default(),
        }
    }

    pub fn seen(&self) -> Seen {
        self.seen.clone()
    }

    fn note_received(&mut self, bytes: &[u8]) {
        let mut empty = 0;
        self.received
            .feed(bytes, |frame| empty += u64::from(frame.is_empty()));
        let state = &self.seen.0;
        if empty > 0 && self.limit.is_exceeded(empty) {
            state.is_flooded.set(true);
        }
        // Most heads come in one piece, for which the clock is not looked at.
        let since = match self.received.is_midway() {
            false => None,
            true => (state.midway_since.get())
                .filter(|_| !self.received.is_fresh())
                .or_else(|| Some(Instant::now())),
        };
        state.midway_since.set(since);
    }

    /// So much of `pieces` was written.
    fn note_sent<'a>(
        &mut self,
        written: &Poll<io::Result<usize>>,
        pieces: impl Iterator<Item = &'a [u8]>,
    ) {
        let Poll::Ready(Ok(count)) = written else {
            return;
        };
        self.limit.note(*count as u64);
        let (mut left, mut refused) = (*count, 0);
        for piece in pieces {
            let piece = &piece[..piece.len().min(left)];
            left -= piece.len();
            self.sent
                .feed(piece, |frame| refused += u64::from(frame.is_refusal()));
        }
        let state = &self.seen.0;
        state.refused.set(state.refused.get() + refused);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.seen.is_flooded() {
            // The connection looks at that, and ends.
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(context, buffer);
        this.seen.0.waits.set(read.is_pending());
        this.note_received(&buffer.filled()[before..]);
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
        this.note_sent(&written, std::iter::once(bytes));
        written
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(context, slices);
        this.note_sent(&written, slices.iter().map(|slice| &**slice));
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
