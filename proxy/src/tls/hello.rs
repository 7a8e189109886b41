//! What a client asks for in a TLS handshake that is passed on.

use rustls::server::Acceptor;

/// The most that is read of a client's first message.
const MAX_BYTES: usize = 64 * 1024;
/// What every record of a handshake begins with (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 22;

/// Reads a ClientHello as it comes.
#[derive(Default)]
pub struct HelloReader {
    acceptor: Acceptor,
    taken: usize,
}

/// How far it came.
#[derive(Debug, PartialEq, Eq)]
pub enum Hello {
    Incomplete,
    /// With the name that it asks for.
    Complete(Option<String>),
    /// It is no handshake of TLS.
    None,
}

impl HelloReader {
    /// Looks at all that the connection began with.
    pub fn look(&mut self, read: &[u8]) -> Hello {
        if read.first().is_some_and(|first| *first != HANDSHAKE) || read.len() > MAX_BYTES {
            return Hello::None;
        }
        let mut new = &read[self.taken..];
        while !new.is_empty() {
            match self.acceptor.read_tls(&mut new) {
                Ok(count) if count > 0 => {}
                Ok(_) | Err(_) => return Hello::None,
            }
            match self.acceptor.accept() {
                Ok(None) => {}
                Ok(Some(accepted)) => {
                    let name = accepted.client_hello().server_name().map(str::to_owned);
                    return Hello::Complete(name);
                }
                Err(_) => return Hello::None,
            }
        }
        self.taken = read.len();
        Hello::Incomplete
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_handshake_is_told_at_once() {
        assert_eq!(HelloReader::default().look(b""), Hello::Incomplete);
        assert_eq!(HelloReader::default().look(b"GET / HTTP/1.1"), Hello::None);
        assert_eq!(HelloReader::default().look(b"\x16\x03"), Hello::Incomplete);
        assert_eq!(
            HelloReader::default().look(b"\x16\x03\x01\x00\x05abcde"),
            Hello::None
        );
    }
}
