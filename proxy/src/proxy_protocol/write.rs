//! Telling an origin whose connection it is.

use std::net::SocketAddr;

use proxy_header::{ProxiedAddress, ProxyHeader};

use super::Version;

/// Both ends of a client's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    source: SocketAddr,
    destination: SocketAddr,
}

impl Ends {
    pub fn new(source: SocketAddr, destination: SocketAddr) -> Self {
        // A dual-stack socket shows IPv4 addresses as ::ffff:a.b.c.d.
        let canonical =
            |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
        Self {
            source: canonical(source),
            destination: canonical(destination),
        }
    }
}

/// The header of a connection for this client; for nobody, that of one of the proxy's
/// own. So it is too where the ends are of two families, which no header can tell.
pub fn header(version: Version, client: Option<Ends>) -> Vec<u8> {
    let one_family = |ends: &Ends| ends.source.is_ipv4() == ends.destination.is_ipv4();
    let header = match client.filter(one_family) {
        Some(Ends {
            source,
            destination,
        }) => ProxyHeader::with_address(ProxiedAddress::stream(source, destination)),
        None => ProxyHeader::with_local(),
    };
    let mut bytes = Vec::new();
    let written = match version {
        Version::V1 => header.encode_v1(&mut bytes),
        Version::V2 => header.encode_v2(&mut bytes),
    };
    debug_assert!(written.is_ok(), "one family and no fields: {written:?}");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_tell_both_ends() {
        let ends = |source: &str, destination: &str| {
            Some(Ends::new(
                source.parse().unwrap(),
                destination.parse().unwrap(),
            ))
        };
        let v1 = |client| String::from_utf8(header(Version::V1, client)).unwrap();
        assert_eq!(
            v1(ends("192.0.2.7:4711", "[::ffff:203.0.113.9]:443")),
            "PROXY TCP4 192.0.2.7 203.0.113.9 4711 443\r\n"
        );
        assert_eq!(
            v1(ends("[2001:db8::7]:4711", "[2001:db8::9]:443")),
            "PROXY TCP6 2001:db8::7 2001:db8::9 4711 443\r\n"
        );
        assert_eq!(
            v1(ends("192.0.2.7:4711", "[2001:db8::9]:443")),
            "PROXY UNKNOWN\r\n"
        );
        assert_eq!(v1(None), "PROXY UNKNOWN\r\n");
        let v2 = header(Version::V2, ends("192.0.2.7:4711", "203.0.113.9:443"));
        let wanted =
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\xcb\0\x71\x09\x12\x67\x01\xbb";
        assert_eq!(v2, wanted);
        assert_eq!(header(Version::V2, None), b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0");
    }
}
