use std::net::SocketAddr;

use super::*;

const V1: &[u8] = b"PROXY TCP4 192.0.2.7 203.0.113.9 4711 443\r\n";

fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let mut header = V2_SIGNATURE.to_vec();
    header.extend([command, family]);
    header.extend((rest.len() as u16).to_be_bytes());
    header.extend(rest);
    header
}

fn client(header: &[u8]) -> Option<String> {
    assert_eq!(begin_of(header), Begin::Whole(header.len()));
    let introduction = parse(header).expect("a good header");
    introduction.client().map(|client| client.to_string())
}

const V4_ADDRESSES: [u8; 12] = [192, 0, 2, 7, 203, 0, 113, 9, 0x12, 0x67, 1, 187];

fn introduced(header: &[u8]) -> Introduction {
    parse(header).expect("a good header")
}

#[test]
fn clients_are_read() {
    let wanted = Some("192.0.2.7:4711".to_owned());
    assert_eq!(client(V1), wanted);
    assert_eq!(client(&v2(0x21, 0x11, &V4_ADDRESSES)), wanted);
    let mut addresses = [0; 36];
    addresses[15] = 1;
    addresses[33] = 7;
    let wanted = Some("[::1]:7".to_owned());
    assert_eq!(client(b"PROXY TCP6 ::1 ::2 7 443\r\n"), wanted);
    assert_eq!(client(&v2(0x21, 0x21, &addresses)), wanted);
}

#[test]
fn some_introduce_nobody() {
    assert_eq!(client(b"PROXY UNKNOWN\r\n"), None);
    assert_eq!(client(b"PROXY UNKNOWN ::1 ::2 7 443\r\n"), None);
    assert_eq!(client(&v2(0x20, 0, &[])), None);
    assert_eq!(client(&v2(0x20, 0x11, &V4_ADDRESSES)), None);
    // What is behind LOCAL is discarded, be it what it may.
    assert_eq!(client(&v2(0x20, 0, &V4_ADDRESSES)), None);
    assert_eq!(client(&v2(0x20, 0x11, &[])), None);
    assert_eq!(client(&v2(0x20, 0x21, &V4_ADDRESSES)), None);
    assert_eq!(client(&v2(0x20, 0x41, &[0xff; 7])), None);
    assert_eq!(client(&v2(0x21, 0, &[])), None);
    assert_eq!(client(&v2(0x21, 0x31, &[0; 216])), None);
    // Datagrams do not come by a connection.
    assert_eq!(client(&v2(0x21, 0x12, &V4_ADDRESSES)), None);
}

#[test]
fn no_part_of_a_header_is_a_header_or_anything_else() {
    for header in [V1, &v2(0x21, 0x11, &V4_ADDRESSES)] {
        for end in 1..header.len() {
            assert_eq!(begin_of(&header[..end]), Begin::Header(end));
            assert!(parse(&header[..end]).is_none());
        }
        let more = [header, b"GET / HTTP/1.1\r\n\r\n"].concat();
        assert_eq!(begin_of(&more), Begin::Whole(header.len()));
    }
}

#[test]
fn other_protocols_are_known_by_their_first_bytes() {
    for other in ["GET /", "POST / HTTP/1.1", "PRI * HTTP/2.0", "\x16\x03\x01"] {
        assert_eq!(begin_of(other.as_bytes()), Begin::Other, "{other:?}");
    }
}

#[test]
fn bad_headers_are_refused() {
    let (mut short, mut long) = (V4_ADDRESSES.to_vec(), V4_ADDRESSES.to_vec());
    short.pop();
    // A length that goes beyond the header.
    long.extend([0xea, 0xff, 0xff, 1]);
    for header in [
        b"PROXY TCP4 192.0.2.7 203.0.113.9 4711\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.7 203.0.113.9 4711 443\n".to_vec(),
        b"PROXY TCP4 192.0.2.7 203.0.113.9 4711 99999\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.7 203.0.113.9 +4711 443\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.7 203.0.113.9 4711 0443\r\n".to_vec(),
        b"PROXY TCP4 ::1 ::2 4711 443\r\n".to_vec(),
        b"PROXY SCTP 192.0.2.7 203.0.113.9 4711 443\r\n".to_vec(),
        b"PROXY \r\n".to_vec(),
        b"PROXY \xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\r\n".to_vec(),
        v2(0x31, 0x11, &V4_ADDRESSES),
        v2(0x22, 0x11, &V4_ADDRESSES),
        v2(0x21, 0x41, &V4_ADDRESSES),
        v2(0x21, 0x11, &short),
        v2(0x21, 0x11, &long),
        v2(0x21, 0x21, &V4_ADDRESSES),
        v2(0x21, 0, &[2, 0, 1, 0xff]),
        v2(0x21, 0, &[0x20, 0, 2, 1, 0]),
        v2(0x21, 0, &[0x20, 0, 6, 1, 0, 0, 0, 0, 0x21]),
    ] {
        assert_eq!(begin_of(&header), Begin::Whole(header.len()));
        assert!(parse(&header).is_none(), "{}", header.escape_ascii());
    }
    let endless = [V1_PREFIX, &[b'x'; 200]].concat();
    assert_eq!(begin_of(&endless), Begin::TooLong);
    let huge = v2(0x21, 0, &vec![0; V2_MAX]);
    assert_eq!(begin_of(&huge), Begin::TooLong);
}

#[test]
fn what_else_it_says_is_attributes() {
    let mut rest = V4_ADDRESSES.to_vec();
    rest.extend([1, 0, 2, b'h', b'2']);
    rest.extend([2, 0, 4, b's', b'h', b'o', b'p']);
    rest.extend([5, 0, 3, b'a', b'-', b'1']);
    rest.extend([0xea, 0, 2, 1, 0xab]);
    let ssl = [
        7, 0, 0, 0, 0, 0x21, 0, 3, b'1', b'.', b'3', 0x22, 0, 1, b'c',
    ];
    rest.extend([0x20, 0, ssl.len() as u8]);
    rest.extend(ssl);
    let introduction = introduced(&v2(0x21, 0x11, &rest));
    for (name, wanted) in [
        ("version", Some("2")),
        ("source", Some("192.0.2.7:4711")),
        ("destination", Some("203.0.113.9:443")),
        ("alpn", Some("h2")),
        ("authority", Some("shop")),
        ("unique_id", Some("a-1")),
        ("tlv.ea", Some("01ab")),
        ("tlv.05", Some("612d31")),
        ("tlv.eb", None),
        ("tlv.", None),
        ("tlv.eaea", None),
        ("ssl", Some("true")),
        ("ssl.version", Some("1.3")),
        ("ssl.cn", Some("c")),
        ("ssl.cipher", None),
        ("ssl.verified", Some("true")),
        ("nothing", None),
    ] {
        assert_eq!(introduction.attribute(name).as_deref(), wanted, "{name}");
    }
    let wanted: SocketAddr = "203.0.113.9:443".parse().unwrap();
    assert_eq!(introduction.destination(), Some(wanted));
    assert_eq!(introduced(V1).attribute("version").as_deref(), Some("1"));
    assert_eq!(introduced(V1).attribute("ssl"), None);
}

#[test]
fn a_certificate_that_was_not_verified_is_none() {
    for (flags, verify, wanted) in [(7, 0, "true"), (7, 1, "false"), (1, 0, "false")] {
        let header = v2(0x21, 0, &[0x20, 0, 5, flags, 0, 0, 0, verify]);
        let verified = introduced(&header).attribute("ssl.verified");
        assert_eq!(verified.as_deref(), Some(wanted), "{flags} {verify}");
    }
}
