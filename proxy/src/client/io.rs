//! A connection as its two halves use it.

use std::cell::RefCell;
use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;

use super::stream::Stream;
use super::tls::{TlsStream, drained, is_to_wait};

/// What a client within the process takes of an answer. It takes no more then.
const MAX_TAKEN: usize = 64 << 20;

/// For the half that reads and for the one that writes. Both are on one thread, so
/// nothing is locked; what TLS knows is borrowed for a poll at a time.
#[derive(Clone)]
pub(super) enum Io {
    Tcp(Rc<TcpStream>),
    Tls(Rc<RefCell<TlsStream>>),
    /// A client within the process: all that it sends was in the reader's buffer from
    /// the start, and it stays for the answer. This is what it has got so far.
    Inside(Rc<RefCell<Vec<u8>>>),
}

impl Io {
    pub(super) fn new(stream: Stream) -> Self {
        match stream {
            Stream::Tcp(tcp) => Self::Tcp(Rc::new(tcp)),
            Stream::Tls(tls) => Self::Tls(Rc::new(RefCell::new(*tls))),
        }
    }

    /// The connection again, once the other half is gone; `None` for a client within
    /// the process.
    pub(super) fn into_stream(self) -> Option<Stream> {
        match self {
            Self::Tcp(tcp) => Rc::into_inner(tcp).map(Stream::Tcp),
            Self::Tls(tls) => {
                let tls = Rc::into_inner(tls)?.into_inner();
                Some(Stream::Tls(Box::new(tls)))
            }
            Self::Inside(_) => None,
        }
    }

    /// Waits until a read needs a buffer. TLS has its own, so nothing is waited for.
    pub(super) fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(tcp) => tcp.poll_read_ready(context),
            Self::Tls(_) => Poll::Ready(Ok(())),
            Self::Inside(_) => Poll::Pending,
        }
    }

    /// Reads once, about `wanted` at most, behind what is in `buffer`; 0 at the end.
    pub(super) fn poll_read(
        &self,
        context: &mut Context<'_>,
        buffer: &mut BytesMut,
        wanted: usize,
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(tcp) => loop {
                // Asked first: it takes from what a task may do in a turn, and a client
                // that always has more to say is not to keep others from theirs.
                ready!(tcp.poll_read_ready(context))?;
                match read_tcp(tcp, buffer, wanted) {
                    Err(error) if is_to_wait(&error) => {}
                    outcome => return Poll::Ready(outcome),
                }
            },
            // Taken from where it was decrypted: no buffer waits for it.
            Self::Tls(tls) => {
                let take = |bytes: &[u8]| buffer.extend_from_slice(bytes);
                tls.borrow_mut().poll_take(context, usize::MAX, take)
            }
            Self::Inside(_) => Poll::Pending,
        }
    }

    /// Takes some of these bytes. TLS may keep some of what it took until it is flushed.
    pub(super) fn poll_write(
        &self,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(tcp) => loop {
                match tcp.try_write(bytes) {
                    Err(error) if is_to_wait(&error) => ready!(tcp.poll_write_ready(context))?,
                    outcome => return Poll::Ready(outcome),
                }
            },
            Self::Tls(tls) => Pin::new(&mut *tls.borrow_mut()).poll_write(context, bytes),
            Self::Inside(taken) => {
                let mut taken = taken.borrow_mut();
                let count = bytes.len().min(MAX_TAKEN - taken.len());
                taken.extend_from_slice(&bytes[..count]);
                Poll::Ready(Ok(count))
            }
        }
    }

    /// Sends some of what TLS keeps, and tells how much; `None` where it keeps nothing. By
    /// pieces, so that who waits can tell a slow client from one that takes nothing.
    pub(super) fn poll_flush(&self, context: &mut Context<'_>) -> Poll<io::Result<Option<usize>>> {
        match self {
            Self::Tls(tls) => tls.borrow_mut().poll_send_some(context),
            Self::Tcp(_) | Self::Inside(_) => Poll::Ready(Ok(None)),
        }
    }

    /// Whether the client's handshake is still under way; see `EarlyData`.
    pub(super) fn is_early(&self) -> bool {
        match self {
            Self::Tls(tls) => tls.borrow().session().is_handshaking(),
            Self::Tcp(_) | Self::Inside(_) => false,
        }
    }

    /// Says that nothing more will come, over TLS with a `close_notify`.
    pub(super) fn poll_shutdown(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(tcp) => {
                let socket = socket2::SockRef::from(&**tcp);
                Poll::Ready(socket.shutdown(Shutdown::Write))
            }
            Self::Tls(tls) => Pin::new(&mut *tls.borrow_mut()).poll_shutdown(context),
            Self::Inside(_) => Poll::Ready(Ok(())),
        }
    }

    /// Has the connection end by a reset when both halves are dropped.
    pub(super) fn set_reset(&self) -> io::Result<()> {
        let reset = |tcp: &TcpStream| {
            let socket = socket2::SockRef::from(tcp);
            socket.set_linger(Some(Duration::ZERO))
        };
        match self {
            Self::Tcp(tcp) => reset(tcp),
            Self::Tls(tls) => reset(tls.borrow().tcp()),
            Self::Inside(_) => Ok(()),
        }
    }

    /// What a client within the process was sent.
    pub(super) fn take_taken(&self) -> Vec<u8> {
        match self {
            Self::Inside(taken) => taken.take(),
            Self::Tcp(_) | Self::Tls(_) => Vec::new(),
        }
    }
}

fn read_tcp(tcp: &TcpStream, buffer: &mut BytesMut, wanted: usize) -> io::Result<usize> {
    if buffer.capacity() - buffer.len() < wanted / 2 {
        buffer.reserve(wanted);
    }
    let room = buffer.capacity() - buffer.len();
    let count = tcp.try_read_buf(buffer)?;
    if count < room {
        drained(tcp);
    }
    Ok(count)
}
