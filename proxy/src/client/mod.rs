//! The client's side of an exchange: the reading and writing halves of its
//! socket, each with its buffer, and the timer that waits share. A client within the
//! process has no socket: what it sends is there from the start, and what it is sent
//! is kept for it.
//!
//! Buffers exist only while there is something in them, so that an idle
//! connection costs its socket and little else. Knows nothing of HTTP.

mod reader;
mod writer;

use bytes::BytesMut;
use tokio::net::TcpStream;

use crate::deadline::Alarm;

pub use reader::Reader;
pub use writer::Writer;

/// One client.
pub struct Client {
    pub reader: Reader,
    pub writer: Writer,
    pub alarm: Alarm,
}

impl Client {
    pub fn new(stream: TcpStream) -> Self {
        let (read, write) = stream.into_split();
        Self {
            reader: Reader::new(read),
            writer: Writer::new(write),
            alarm: Alarm::default(),
        }
    }

    /// A client within the process that has sent this.
    pub fn inside(sent: BytesMut) -> Self {
        Self {
            reader: Reader::inside(sent),
            writer: Writer::inside(),
            alarm: Alarm::default(),
        }
    }

    /// Gives the buffers back that hold nothing.
    pub fn release(&mut self) {
        self.reader.release();
        self.writer.release();
    }
}
