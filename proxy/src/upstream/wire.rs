//! The socket as hyper sees it, which speaks HTTP/1.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, BytesMut};
use hyper::rt::{Read, ReadBufCursor, Write};
use smallvec::SmallVec;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::body::BodyWatch;
use super::interim::{AnswerStream, Arrived, Refused};
use super::socket::Socket;
use crate::http::h1;

/// Behind the last chunk of a body, and behind its trailers if there are any.
const END_OF_BODY: usize = "\r\n".len();

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
    /// The body of the current request, for its trailers.
    body: Option<BodyWatch>,
    /// The trailers and the empty line behind them, as far as they are not sent.
    tail: BytesMut,
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
            body: None,
            tail: BytesMut::new(),
        }
    }

    /// A request goes out next.
    pub fn begin(&mut self, body: Option<BodyWatch>, keep_sent: bool, may_switch: bool) {
        self.answers.expect_answer(may_switch);
        self.read = 0;
        self.written = 0;
        self.sent.clear();
        self.keep_sent = keep_sent;
        self.body = body;
        self.tail.clear();
    }

    /// Has the trailers written when it is time for them.
    fn look_for_trailers(&mut self) {
        let trailers = self.body.as_ref().and_then(BodyWatch::take_trailers);
        if let Some(trailers) = trailers {
            h1::encode_trailers(&mut self.tail, trailers);
        }
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

    /// The socket, and what was read of it and given to nobody.
    pub fn into_socket(self) -> (Socket, Vec<u8>) {
        let held = self.state.borrow_mut().answers.take_held();
        (self.socket, held)
    }

    fn poll_socket_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // A head alone is one slice, and `write` is cheaper than `writev`.
        let socket = Pin::new(&mut self.socket);
        match slices {
            [slice] => socket.poll_write(cx, slice),
            slices => socket.poll_write_vectored(cx, slices),
        }
    }

    /// hyper has been told of the body's end, so what it writes from now on goes
    /// up to the end of the message. Its last two bytes are the empty line, in
    /// whose place the tail is sent.
    fn poll_write_before_tail(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
        tail: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        let whole: usize = slices.iter().map(|slice| slice.len()).sum();
        if whole > END_OF_BODY {
            let before = without_end(slices, whole - END_OF_BODY);
            return self.poll_socket_write(cx, &before);
        }
        while !tail.is_empty() {
            match ready!(self.poll_socket_write(cx, &[IoSlice::new(tail)])) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(count) => tail.advance(count),
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(whole))
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
            ready!(Pin::new(&mut wire.socket).poll_read(&mut cx, &mut buffer))?;
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

/// The first `left` bytes.
fn without_end<'a>(slices: &'a [IoSlice<'a>], mut left: usize) -> SmallVec<[IoSlice<'a>; 4]> {
    let mut before = SmallVec::new();
    for slice in slices {
        let count = slice.len().min(left);
        left -= count;
        if count > 0 {
            before.push(IoSlice::new(&slice[..count]));
        }
    }
    before
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
        state.look_for_trailers();
        let WireState { waker, tail, .. } = state;
        let mut cx = Context::from_waker(waker);
        let outcome = match tail.is_empty() {
            true => ready!(wire.poll_socket_write(&mut cx, slices)),
            false => ready!(wire.poll_write_before_tail(&mut cx, slices, tail)),
        };
        match outcome {
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

    /// TLS may hold some of what it took.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        if !wire.socket.is_tls() {
            return Poll::Ready(Ok(()));
        }
        let state = &mut *wire.state.borrow_mut();
        if state.write_broken {
            return Poll::Ready(Ok(()));
        }
        let mut cx = Context::from_waker(&state.waker);
        match ready!(Pin::new(&mut wire.socket).poll_flush(&mut cx)) {
            Err(error) if is_closed(&error) => {
                state.write_broken = true;
                Poll::Ready(Ok(()))
            }
            flushed => Poll::Ready(flushed),
        }
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
