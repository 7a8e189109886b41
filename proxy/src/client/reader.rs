//! The reading half of a client connection.

use std::io;

use bytes::BytesMut;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;

/// What one read asks for: most heads fit, and bodies move on in such pieces.
const READ_BYTES: usize = 16 * 1024;
/// A first read is for a head, which is small.
const HEAD_BYTES: usize = 4 * 1024;

pub struct Reader {
    io: Io,
    /// Read and not yet consumed.
    pub buffer: BytesMut,
}

enum Io {
    Socket(OwnedReadHalf),
    /// A client within the process: all that it sends is in the buffer, and it
    /// stays for the answer.
    Inside,
}

impl Reader {
    pub fn new(io: OwnedReadHalf) -> Self {
        Self {
            io: Io::Socket(io),
            buffer: BytesMut::new(),
        }
    }

    pub(super) fn inside(sent: BytesMut) -> Self {
        Self {
            io: Io::Inside,
            buffer: sent,
        }
    }

    /// Waits, without a buffer, for the first bytes of a request and reads them;
    /// 0 at the end of the stream. A socket may seem readable and have nothing,
    /// so only bytes end the wait. Cancel-safe.
    pub async fn first(&mut self) -> io::Result<usize> {
        loop {
            self.readable().await?;
            match self.try_fill(HEAD_BYTES) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.release(),
                other => return other,
            }
        }
    }

    /// Reads once, behind what is there already; 0 at the end of the stream.
    /// Cancel-safe: dropped while it waits, nothing was read.
    pub async fn fill(&mut self) -> io::Result<usize> {
        let wanted = if self.buffer.is_empty() {
            HEAD_BYTES
        } else {
            READ_BYTES
        };
        self.fill_up_to(wanted).await
    }

    /// As `fill`, in pieces fit for a body.
    pub async fn fill_body(&mut self) -> io::Result<usize> {
        self.fill_up_to(READ_BYTES).await
    }

    /// Waits until the client closes its side. What it sends before, such as its
    /// next request, is kept, up to a bound; beyond that nothing is noticed.
    /// Cancel-safe.
    pub async fn closed(&mut self) -> io::Result<()> {
        while self.buffer.len() < HEAD_BYTES {
            self.readable().await?;
            match self.try_fill(HEAD_BYTES) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.release(),
                Err(error) => return Err(error),
            }
        }
        std::future::pending().await
    }

    async fn fill_up_to(&mut self, wanted: usize) -> io::Result<usize> {
        loop {
            match self.try_fill(wanted) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.readable().await?;
                }
                other => return other,
            }
        }
    }

    async fn readable(&self) -> io::Result<()> {
        match &self.io {
            Io::Socket(socket) => socket.readable().await,
            Io::Inside => std::future::pending().await,
        }
    }

    fn try_fill(&mut self, wanted: usize) -> io::Result<usize> {
        let Io::Socket(socket) = &self.io else {
            return Err(io::ErrorKind::WouldBlock.into());
        };
        if self.buffer.capacity() - self.buffer.len() < wanted / 2 {
            self.buffer.reserve(wanted);
        }
        let room = self.buffer.capacity() - self.buffer.len();
        let count = socket.try_read_buf(&mut self.buffer)?;
        if count < room {
            drained(socket.as_ref());
        }
        Ok(count)
    }

    /// Gives the buffer back when nothing is in it.
    pub fn release(&mut self) {
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
    }
}

/// A short read took all there was. The runtime would call the socket
/// readable until a read found nothing, and an idle connection would seem
/// to begin a request. As in tokio's own `poll_read`, the next byte or the
/// end makes it readable again.
fn drained(socket: &TcpStream) {
    let nothing = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
    if socket
        .try_io(tokio::io::Interest::READABLE, nothing)
        .is_ok()
    {
        debug_assert!(false, "nothing was read");
    }
}
