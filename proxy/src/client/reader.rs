//! The reading half of a client connection.

use std::io;

use bytes::BytesMut;
use tokio::net::tcp::OwnedReadHalf;

/// What one read asks for: most heads fit, and bodies move on in such pieces.
const READ_BYTES: usize = 16 * 1024;
/// A first read is for a head, which is small.
const HEAD_BYTES: usize = 4 * 1024;

pub struct Reader {
    io: OwnedReadHalf,
    /// Read and not yet consumed.
    pub buffer: BytesMut,
}

impl Reader {
    pub fn new(io: OwnedReadHalf) -> Self {
        Self {
            io,
            buffer: BytesMut::new(),
        }
    }

    /// Waits, without a buffer, for the first bytes of a request and reads them;
    /// 0 at the end of the stream. A socket may seem readable and have nothing,
    /// so only bytes end the wait. Cancel-safe.
    pub async fn first(&mut self) -> io::Result<usize> {
        loop {
            self.io.readable().await?;
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
            self.io.readable().await?;
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
                    self.io.readable().await?;
                }
                other => return other,
            }
        }
    }

    fn try_fill(&mut self, wanted: usize) -> io::Result<usize> {
        if self.buffer.capacity() - self.buffer.len() < wanted / 2 {
            self.buffer.reserve(wanted);
        }
        let room = self.buffer.capacity() - self.buffer.len();
        let count = self.io.try_read_buf(&mut self.buffer)?;
        if count < room {
            self.drained();
        }
        Ok(count)
    }

    /// A short read took all there was. The runtime would call the socket
    /// readable until a read found nothing, and an idle connection would seem
    /// to begin a request. As in tokio's own `poll_read`, the next byte or the
    /// end makes it readable again.
    fn drained(&self) {
        let nothing = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
        let socket: &tokio::net::TcpStream = self.io.as_ref();
        if socket
            .try_io(tokio::io::Interest::READABLE, nothing)
            .is_ok()
        {
            debug_assert!(false, "nothing was read");
        }
    }

    /// Gives the buffer back when nothing is in it.
    pub fn release(&mut self) {
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
    }
}
