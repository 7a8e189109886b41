//! A header from a socket, and not a byte more: what comes behind it may be for TLS,
//! which reads from the socket itself.

use std::io;

use bytes::BytesMut;
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::Introduction;
use super::header::{Begin, begin_of, parse};

/// Looked at at once. Most headers are shorter.
const LOOK: usize = 512;

/// Why no header could be read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    #[error("the connection broke")]
    Broken(#[from] io::Error),
    #[error("the connection ended before the header did")]
    Ended,
    #[error("a header that breaks a rule")]
    Malformed,
}

/// Reads a header into `read`; `None` where none is coming, and then `read` has what
/// was taken for its beginning. Cancel-safe: what was taken is in `read`.
pub async fn read(
    tcp: &TcpStream,
    read: &mut BytesMut,
) -> Result<Option<Introduction>, Unreadable> {
    loop {
        let mut bytes = BytesMut::zeroed(read.len() + LOOK);
        bytes[..read.len()].copy_from_slice(read);
        let seen = tcp.peek(&mut bytes[read.len()..]).await?;
        if seen == 0 {
            return Err(Unreadable::Ended);
        }
        bytes.truncate(read.len() + seen);
        match begin_of(&bytes) {
            Begin::Other => return Ok(None),
            Begin::TooLong => return Err(Unreadable::Malformed),
            Begin::Header(count) => take(tcp, read, &bytes[..count])?,
            Begin::Whole(count) => {
                take(tcp, read, &bytes[..count])?;
                return parse(read).map(Some).ok_or(Unreadable::Malformed);
            }
        }
    }
}

/// Takes the rest of `bytes`, which was seen to be there.
fn take(tcp: &TcpStream, read: &mut BytesMut, bytes: &[u8]) -> io::Result<()> {
    let mut rest = vec![0; bytes.len() - read.len()];
    // Through `try_io`, which leaves the socket readable for what comes behind.
    let count = tcp.try_io(Interest::READABLE, || {
        let socket = socket2::SockRef::from(tcp);
        io::Read::read(&mut &*socket, &mut rest)
    })?;
    debug_assert_eq!(count, rest.len(), "nobody else reads");
    read.extend_from_slice(&rest[..count]);
    Ok(())
}
