//! The client's side of an exchange: the reading and writing halves of its
//! socket, each with its buffer, and the timer that waits share.
//!
//! Buffers exist only while there is something in them, so that an idle
//! connection costs its socket and little else. Knows nothing of HTTP.

mod reader;
mod writer;

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

    /// Gives the buffers back that hold nothing.
    pub fn release(&mut self) {
        self.reader.release();
        self.writer.release();
    }
}
