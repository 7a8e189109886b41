//! The client's side of an exchange: the reading and writing halves of its
//! connection, each with its buffer, and the timer that waits share. A connection is
//! TCP, or TLS over it once the handshake is done. A client within the
//! process has none: what it sends is there from the start, and what it is sent
//! is kept for it.
//!
//! Buffers exist only while there is something in them, so that an idle
//! connection costs its socket and little else. Knows nothing of HTTP.

mod io;
mod reader;
mod rewound;
mod stream;
mod tls;
mod writer;

use std::cell::RefCell;
use std::rc::Rc;

use bytes::BytesMut;

use crate::deadline::Alarm;
use io::Io;

pub use reader::Reader;
pub use rewound::Rewound;
pub use stream::Stream;
pub use tls::{EarlyData, TlsStream};
pub use writer::Writer;

/// One client.
pub struct Client {
    pub reader: Reader,
    pub writer: Writer,
    pub alarm: Alarm,
}

impl Client {
    pub fn new(stream: Stream) -> Self {
        Self::of(Io::new(stream), BytesMut::new())
    }

    /// A connection of which this was read already.
    pub fn begun(stream: Stream, read: BytesMut) -> Self {
        Self::of(Io::new(stream), read)
    }

    /// A client within the process that has sent this.
    pub fn inside(sent: BytesMut) -> Self {
        let taken = Rc::new(RefCell::new(Vec::new()));
        Self::of(Io::Inside(taken), sent)
    }

    fn of(io: Io, read: BytesMut) -> Self {
        Self {
            reader: Reader::new(io.clone(), read),
            writer: Writer::new(io),
            alarm: Alarm::default(),
        }
    }

    /// The connection as a whole again, with what was read of it and not consumed.
    /// What was encoded must have been flushed. `None` for a client within the process.
    pub fn into_stream(self) -> Option<(Stream, BytesMut)> {
        let Self { reader, writer, .. } = self;
        debug_assert!(writer.buffer.is_empty(), "it would never be sent");
        let Reader { io: other, buffer } = reader;
        drop(other);
        Some((writer.io.into_stream()?, buffer))
    }

    /// Whether whatever the client said so far may be a repetition by somebody else.
    pub fn is_early(&self) -> bool {
        self.writer.io.is_early()
    }

    /// Says goodbye, without waiting that it is heard.
    pub fn close(self) {
        self.writer.close();
    }

    /// Gives the buffers back that hold nothing.
    pub fn release(&mut self) {
        self.reader.release();
        self.writer.release();
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    #[tokio::test]
    async fn it_becomes_a_stream_again_with_what_was_read() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let mut client = Client::new(Stream::Tcp(listener.accept().await.unwrap().0));
        peer.write_all(b"preface").await.unwrap();
        assert_eq!(client.reader.first().await.unwrap(), 7);
        let (mut stream, read) = client.into_stream().expect("a socket");
        assert_eq!(&read[..], b"preface");
        assert_eq!(stream.alpn(), None);
        stream.write_all(b"answer").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        peer.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, b"answer");
    }
}
