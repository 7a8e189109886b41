//! The frames of a client of HTTP/2, counted as they are read.
//!
//! Most of what servers are flooded with carries nothing: SETTINGS, PING, WINDOW_UPDATE,
//! PRIORITY, empty DATA. Each takes a little work, and the codec, which answers them by
//! itself, has no limit on most of them. So they are counted before it sees them.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// In which frames are counted.
const WINDOW: Duration = Duration::from_secs(10);
/// A client that is sent much says so often that there is room again: one frame more for
/// each so many bytes. The answer to a PING is shorter, so a flood does not feed itself.
const BYTES_A_FRAME: u64 = 32;

const HEAD: usize = 9;
const PREFACE: usize = 24;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;

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

/// After so many frames the clock is looked at.
const LOOK: u64 = 256;

/// How many there may be.
#[derive(Debug)]
struct Limit {
    max: u64,
    /// In this window.
    frames: u64,
    written: u64,
    since: Instant,
    /// Frames since the clock was looked at.
    unlooked: u64,
}

impl Limit {
    fn new(max: u64, since: Instant) -> Self {
        Self {
            max,
            frames: 0,
            written: 0,
            since,
            unlooked: 0,
        }
    }

    /// The clock is only looked at now and then, and when that would be too many. So a
    /// window may have begun long before, and the one behind it counts in full; what was
    /// written in it gives no room in another.
    fn is_exceeded(&mut self, more: u64) -> bool {
        self.frames += more;
        self.unlooked += more;
        let is_exceeded = self.frames > self.max + self.written / BYTES_A_FRAME;
        if !is_exceeded && self.unlooked < LOOK {
            return false;
        }
        self.unlooked = 0;
        let now = Instant::now();
        if now - self.since < WINDOW {
            return is_exceeded;
        }
        *self = Self::new(self.max, now);
        false
    }

    fn note(&mut self, written: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(count)) = written {
            self.written += *count as u64;
        }
    }
}

/// Finds the heads of frames in what is read, however it is cut.
#[derive(Debug)]
struct Frames {
    /// Of the preface, or of a frame's payload, what is still to come.
    skip: usize,
    head: [u8; HEAD],
    /// How much of it is there.
    have: usize,
}

impl Default for Frames {
    fn default() -> Self {
        Self {
            skip: PREFACE,
            head: [0; HEAD],
            have: 0,
        }
    }
}

impl Frames {
    /// How many of the frames whose heads end here carry nothing.
    fn feed(&mut self, mut bytes: &[u8]) -> u64 {
        let mut empty = 0;
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            if bytes.is_empty() {
                return empty;
            }
            let (of_head, rest) = bytes.split_at(bytes.len().min(HEAD - self.have));
            self.head[self.have..][..of_head.len()].copy_from_slice(of_head);
            self.have += of_head.len();
            bytes = rest;
            if self.have == HEAD {
                let [a, b, c, kind, flags, ..] = self.head;
                self.skip = u32::from_be_bytes([0, a, b, c]) as usize;
                self.have = 0;
                empty += u64::from(is_empty(self.skip, kind, flags));
            }
        }
    }
}

/// Heads have limits of their own, and so have streams that are broken off.
fn is_empty(length: usize, kind: u8, flags: u8) -> bool {
    match kind {
        DATA => length == 0 && flags & END_STREAM == 0,
        HEADERS | CONTINUATION => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PING: u8 = 6;
    const WINDOW_UPDATE: u8 = 8;

    fn frame(kind: u8, flags: u8, length: usize) -> Vec<u8> {
        let mut bytes = (length as u32).to_be_bytes()[1..].to_vec();
        bytes.extend([kind, flags, 0, 0, 0, 1]);
        // What looks like heads of frames and is none.
        bytes.extend(std::iter::repeat_n(0, length));
        bytes
    }

    #[test]
    fn frames_are_found_however_they_are_cut() {
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        for (kind, flags, length, is_empty) in [
            (HEADERS, 4, 20, false),
            (PING, 0, 8, true),
            (DATA, 0, 0, true),
            (DATA, 1, 0, false),
            (DATA, 0, 100, false),
            (CONTINUATION, 4, 0, false),
            (WINDOW_UPDATE, 0, 4, true),
            (0xff, 0, 0, true),
        ] {
            let frame = frame(kind, flags, length);
            let mut frames = Frames {
                skip: 0,
                ..Frames::default()
            };
            assert_eq!(frames.feed(&frame), u64::from(is_empty), "{kind} {flags}");
            bytes.extend(frame);
        }
        for size in 1..bytes.len() {
            let mut frames = Frames::default();
            let found: u64 = bytes.chunks(size).map(|piece| frames.feed(piece)).sum();
            assert_eq!(found, 4, "in pieces of {size}");
        }
    }

    #[test]
    fn what_is_sent_allows_for_more() {
        let mut limit = Limit::new(10, Instant::now());
        assert!(!limit.is_exceeded(10));
        limit.note(&Poll::Ready(Ok(64)));
        assert!(!limit.is_exceeded(2));
        assert!(limit.is_exceeded(1));
    }

    #[test]
    fn windows_pass() {
        let long_ago = Instant::now() - WINDOW;
        let mut limit = Limit::new(10, long_ago);
        assert!(!limit.is_exceeded(11));
        assert!(!limit.is_exceeded(10));
        assert!(limit.is_exceeded(1));
    }

    #[test]
    fn what_was_written_long_ago_gives_no_room() {
        let long_ago = Instant::now() - WINDOW;
        let mut limit = Limit::new(1000, long_ago);
        limit.note(&Poll::Ready(Ok(1_000_000_000)));
        let exceeded = (0..1_300).position(|_| limit.is_exceeded(1));
        // The window ended when the clock was looked at first.
        assert_eq!(exceeded, Some(LOOK as usize + 1_000));
    }
}
