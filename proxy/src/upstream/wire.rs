//! The socket as hyper sees it.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::interim::{AnswerStream, Arrived, Refused};

/// A connected socket.
#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// What hyper, which owns the socket, and the lease, which drives hyper, both
/// know about the bytes on it.
pub(super) struct WireState {
    pub answers: AnswerStream,
    /// Woken by the socket. hyper's own waker is not used: see `connection`.
    pub waker: Waker,
    /// Bytes of the current answer, interim ones included.
    pub read: u64,
    /// Bytes of the current request.
    pub written: u64,
    /// Why reading was broken off.
    pub refused: Option<Refused>,
    /// The origin reads no more, but it may have answered before.
    pub write_broken: bool,
    /// The request as it was sent, when it is worth keeping.
    pub sent: Vec<u8>,
    pub keep_sent: bool,
}

impl WireState {
    pub fn new(max_head_bytes: usize) -> Self {
        Self {
            answers: AnswerStream::new(max_head_bytes),
            waker: Waker::noop().clone(),
            read: 0,
            written: 0,
            refused: None,
            write_broken: false,
            sent: Vec::new(),
            keep_sent: false,
        }
    }

    /// A request goes out next.
    pub fn begin(&mut self, keep_sent: bool) {
        self.answers.expect_answer();
        self.read = 0;
        self.written = 0;
        self.sent.clear();
        self.keep_sent = keep_sent;
    }

    /// What comes before any of the request was sent is no answer to it. hyper
    /// sees it as it is, and gives the connection up.
    fn arrived(&mut self, bytes: &[u8]) -> Result<Arrived, Refused> {
        match self.written {
            0 => Ok(Arrived::Pass),
            _ => self.answers.arrived(bytes),
        }
    }

    /// `bytes` are offered to the socket from where it stands; those that it
    /// did not take come again.
    fn keep(&mut self, bytes: &[IoSlice<'_>]) {
        if !self.keep_sent {
            return;
        }
        self.sent
            .truncate(usize::try_from(self.written).unwrap_or(usize::MAX));
        for slice in bytes {
            self.sent.extend_from_slice(slice);
        }
    }
}

/// The adapter that hyper reads and writes.
pub(super) struct Wire {
    socket: Socket,
    state: Rc<RefCell<WireState>>,
}

impl Wire {
    pub fn new(socket: Socket, state: Rc<RefCell<WireState>>) -> Self {
        Self { socket, state }
    }

    fn poll_socket_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // A head alone is one slice, and `write` is cheaper than `writev`.
        match (&mut self.socket, slices) {
            (Socket::Tcp(socket), [slice]) => Pin::new(socket).poll_write(cx, slice),
            (Socket::Unix(socket), [slice]) => Pin::new(socket).poll_write(cx, slice),
            (Socket::Tcp(socket), slices) => Pin::new(socket).poll_write_vectored(cx, slices),
            (Socket::Unix(socket), slices) => Pin::new(socket).poll_write_vectored(cx, slices),
        }
    }

    fn poll_socket_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Socket::Tcp(socket) => Pin::new(socket).poll_read(cx, buffer),
            Socket::Unix(socket) => Pin::new(socket).poll_read(cx, buffer),
        }
    }
}

impl Read for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        let state = Rc::clone(&wire.state);
        let state = &mut *state.borrow_mut();
        if let Some(refused) = state.refused {
            return Poll::Ready(Err(refusal(refused)));
        }
        while !state.answers.has_released() {
            // SAFETY: tokio's sockets and `ReadBuf` never make initialised
            // bytes uninitialised, which is all that the cursor asks for.
            #[allow(unsafe_code, reason = "reads into hyper's buffer without a copy")]
            let mut buffer = ReadBuf::uninit(unsafe { cursor.as_mut() });
            let mut cx = Context::from_waker(&state.waker);
            ready!(wire.poll_socket_read(&mut cx, &mut buffer))?;
            let count = buffer.filled().len();
            if count == 0 {
                return Poll::Ready(Ok(()));
            }
            state.read += count as u64;
            match state.arrived(buffer.filled()) {
                Ok(Arrived::Pass) => {
                    // SAFETY: `count` bytes at the cursor were just filled.
                    #[allow(unsafe_code, reason = "the other half of the line above")]
                    unsafe {
                        cursor.advance(count);
                    }
                    return Poll::Ready(Ok(()));
                }
                Ok(Arrived::Held | Arrived::Release) => {}
                Err(refused) => {
                    state.refused = Some(refused);
                    return Poll::Ready(Err(refusal(refused)));
                }
            }
        }
        let room = cursor.remaining();
        let released: Vec<u8> = state.answers.release(room).collect();
        cursor.put_slice(&released);
        Poll::Ready(Ok(()))
    }
}

fn refusal(refused: Refused) -> io::Error {
    let why = match refused {
        Refused::Bad(why) => why,
        Refused::TooLarge => "interim answer too large",
    };
    io::Error::new(io::ErrorKind::InvalidData, why)
}

impl Write for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    /// Once the origin has closed its reading side nothing fails any more: all
    /// is taken and thrown away, so that hyper goes on to read an answer that
    /// may have come before. Without one, reading finds the end.
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wire = self.get_mut();
        let state = Rc::clone(&wire.state);
        let state = &mut *state.borrow_mut();
        state.keep(slices);
        let whole = slices.iter().map(|slice| slice.len()).sum();
        if state.write_broken {
            return Poll::Ready(Ok(whole));
        }
        let mut cx = Context::from_waker(&state.waker);
        match ready!(wire.poll_socket_write(&mut cx, slices)) {
            Ok(count) => {
                state.written += count as u64;
                Poll::Ready(Ok(count))
            }
            Err(error) if is_closed(&error) => {
                state.write_broken = true;
                Poll::Ready(Ok(whole))
            }
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Closing the socket is enough, and costs one call less.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn is_closed(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::NotConnected
    )
}
