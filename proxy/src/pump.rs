//! Bytes between two connections, in both directions, as they come.
//!
//! Takes both connections at each poll; gives when both directions are over, or what
//! broke. Must never: look into the bytes, or hold memory while there are none. What
//! arrives is read into a buffer that all of a thread share, and written from there;
//! only what the other side does not take at once is kept, and nothing more is read
//! before it has been taken.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The most that one read takes, and so the most that is kept of a direction.
const READ_BYTES: usize = 64 * 1024;

/// Reads of one direction before others of the thread have a turn.
const READS_AT_ONCE: usize = 16;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into());
}

/// Both directions between a client and an origin.
#[derive(Debug)]
pub struct Pump {
    /// From the client.
    up: Direction,
    /// To the client.
    down: Direction,
    /// Who takes nothing more, and why.
    refused: Option<Broken>,
}

/// Whose connection broke.
#[derive(Debug)]
pub enum Broken {
    Client(io::Error),
    Origin(io::Error),
}

/// Bytes that have been passed on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Passed {
    pub up: u64,
    pub down: u64,
}

impl Pump {
    /// `read` was read of the client before.
    pub fn new(read: BytesMut) -> Self {
        Self {
            up: Direction::new(read),
            down: Direction::new(BytesMut::new()),
            refused: None,
        }
    }

    /// All that has been passed on so far.
    pub fn passed(&self) -> Passed {
        Passed {
            up: self.up.passed,
            down: self.down.passed,
        }
    }

    /// Whether the origin has said all that it has to say, and it was passed on.
    pub fn is_down_whole(&self) -> bool {
        self.down.is_whole
    }

    /// The same of the client.
    pub fn is_up_whole(&self) -> bool {
        self.up.is_whole
    }

    /// Whether all that either side has said was passed on, its end as well.
    pub fn holds_nothing(&self) -> bool {
        self.up.holds_nothing() && self.down.holds_nothing()
    }

    /// Ready once both directions are over. An end is passed on as one, and the other
    /// direction goes on without it. So it does where a side takes nothing more: it may
    /// have said something before.
    pub fn poll(
        &mut self,
        context: &mut Context<'_>,
        client: &mut (impl AsyncRead + AsyncWrite + Unpin),
        origin: &mut (impl AsyncRead + AsyncWrite + Unpin),
    ) -> Poll<Result<(), Broken>> {
        let up = match self.up.poll(context, client, origin) {
            Poll::Ready(Err(Fault::Read(error))) => {
                return Poll::Ready(Err(Broken::Client(error)));
            }
            Poll::Ready(Err(Fault::Write(error))) => {
                self.down.is_cut |= is_reset(&error);
                self.refuse(Broken::Origin(error))
            }
            Poll::Ready(Ok(())) => Poll::Ready(()),
            Poll::Pending => Poll::Pending,
        };
        let down = match self.down.poll(context, origin, client) {
            Poll::Ready(Err(Fault::Read(error))) => {
                return Poll::Ready(Err(Broken::Origin(error)));
            }
            Poll::Ready(Err(Fault::Write(error))) => {
                self.up.is_cut |= is_reset(&error);
                self.refuse(Broken::Client(error))
            }
            Poll::Ready(Ok(())) => Poll::Ready(()),
            Poll::Pending => Poll::Pending,
        };
        ready!(up);
        ready!(down);
        Poll::Ready(self.refused.take().map_or(Ok(()), Err))
    }

    fn refuse(&mut self, broken: Broken) -> Poll<()> {
        self.refused.get_or_insert(broken);
        Poll::Ready(())
    }
}

#[derive(Debug)]
struct Direction {
    /// Read and not yet taken by the other side.
    left: BytesMut,
    progress: Progress,
    passed: u64,
    /// The other side took all of it, and has not sent all of it.
    is_unsent: bool,
    /// The kernel tells of a reset once. It told whoever wrote there, so that what reads
    /// like the end is none.
    is_cut: bool,
    /// Its end was passed on.
    is_whole: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Open,
    /// The one side has ended, and the other is to be told.
    Ending,
    Over,
}

enum Fault {
    Read(io::Error),
    Write(io::Error),
}

impl Direction {
    fn new(left: BytesMut) -> Self {
        Self {
            left,
            progress: Progress::Open,
            passed: 0,
            is_unsent: false,
            is_cut: false,
            is_whole: false,
        }
    }

    fn holds_nothing(&self) -> bool {
        self.left.is_empty() && !self.is_unsent && self.progress != Progress::Ending
    }

    fn poll(
        &mut self,
        context: &mut Context<'_>,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<Result<(), Fault>> {
        let outcome = self.poll_on(context, from, to);
        if let Poll::Ready(Err(_)) = outcome {
            self.progress = Progress::Over;
            self.left = BytesMut::new();
        }
        outcome
    }

    fn poll_on(
        &mut self,
        context: &mut Context<'_>,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<Result<(), Fault>> {
        for _ in 0..READS_AT_ONCE {
            ready!(self.poll_left(context, to)).map_err(Fault::Write)?;
            match self.progress {
                Progress::Over => return Poll::Ready(Ok(())),
                Progress::Ending => {
                    // One that is gone already needs not be told.
                    let _ = ready!(Pin::new(&mut *to).poll_shutdown(context));
                    self.progress = Progress::Over;
                    self.is_whole = true;
                }
                Progress::Open => match self.poll_piece(context, from, to) {
                    Poll::Ready(Ok(0)) if self.is_cut => {
                        let reset = io::ErrorKind::ConnectionReset.into();
                        return Poll::Ready(Err(Fault::Read(reset)));
                    }
                    Poll::Ready(Ok(0)) => self.progress = Progress::Ending,
                    Poll::Ready(Ok(_)) => {}
                    Poll::Ready(Err(fault)) => return Poll::Ready(Err(fault)),
                    Poll::Pending => {
                        // TLS keeps some of what it took until it is told to send it.
                        let flushed = Pin::new(to).poll_flush(context);
                        self.is_unsent = flushed.is_pending();
                        return match flushed {
                            Poll::Ready(Err(error)) => Poll::Ready(Err(Fault::Write(error))),
                            Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
                        };
                    }
                },
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Writes what was kept, and gives its memory back.
    fn poll_left(
        &mut self,
        context: &mut Context<'_>,
        to: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<io::Result<()>> {
        while !self.left.is_empty() {
            let count = ready!(poll_write(context, to, &self.left))?;
            self.passed += count as u64;
            self.left.advance(count);
            if self.left.is_empty() {
                self.left = BytesMut::new();
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Reads once and writes what the other side takes of it; 0 at the end.
    fn poll_piece(
        &mut self,
        context: &mut Context<'_>,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<Result<usize, Fault>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            ready!(Pin::new(from).poll_read(context, &mut buffer)).map_err(Fault::Read)?;
            let bytes = buffer.filled();
            if bytes.is_empty() {
                return Poll::Ready(Ok(0));
            }
            let taken = match poll_write(context, to, bytes) {
                Poll::Ready(taken) => taken.map_err(Fault::Write)?,
                Poll::Pending => 0,
            };
            self.passed += taken as u64;
            self.left.extend_from_slice(&bytes[taken..]);
            Poll::Ready(Ok(bytes.len()))
        })
    }
}

fn is_reset(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ConnectionReset
}

fn poll_write(
    context: &mut Context<'_>,
    to: &mut (impl AsyncWrite + Unpin),
    bytes: &[u8],
) -> Poll<io::Result<usize>> {
    match ready!(Pin::new(to).poll_write(context, bytes))? {
        0 => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
        count => Poll::Ready(Ok(count)),
    }
}

#[cfg(test)]
mod tests;
