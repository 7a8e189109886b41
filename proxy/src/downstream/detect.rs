//! What a connection speaks, told from how it begins.
//!
//! As few bytes decide as can: a client may be slow, and what is not told in time is
//! passed on as it is. As many as it takes: much that is no HTTP begins with a word and a
//! space too, and a server of it is not to be answered by the proxy.

use crate::config::Protocol;
use crate::http::h1::is_token_byte;
use crate::http::h2::PREFACE;
use crate::stats::Detected;

/// Longer words are no method.
const MAX_METHOD: usize = 32;

/// What every record of a handshake begins with (RFC 8446, section 5.1).
const HANDSHAKE: &[u8] = &[22, 3];

/// What begins so, of what is spoken. `None` while it is too little to tell, and always
/// told by 64 bytes.
pub fn detect(read: &[u8], spoken: &[Protocol]) -> Option<Detected> {
    let speaks = |protocol| spoken.contains(&protocol);
    let candidates = [
        (
            speaks(Protocol::Http2),
            Detected::Http2,
            begins(read, PREFACE),
        ),
        (speaks(Protocol::Http1), Detected::Http1, begins_http1(read)),
        (true, Detected::Tls, begins(read, HANDSHAKE)),
    ];
    let mut open = candidates
        .into_iter()
        .filter(|(is_candidate, _, is_it)| *is_candidate && *is_it != Some(false));
    match open.next() {
        None => Some(Detected::Opaque),
        Some((_, detected, is_it)) => is_it.map(|_| detected),
    }
}

/// `None` while it may.
fn begins(read: &[u8], wanted: &[u8]) -> Option<bool> {
    let common = read.len().min(wanted.len());
    match read[..common] == wanted[..common] {
        true => (common == wanted.len()).then_some(true),
        false => Some(false),
    }
}

/// A method, a space, and what a target begins with (RFC 9112, section 3).
fn begins_http1(read: &[u8]) -> Option<bool> {
    let method = read.iter().take_while(|byte| is_token_byte(**byte)).count();
    if method > MAX_METHOD {
        return Some(false);
    }
    let (method, rest) = read.split_at(method);
    match rest.split_first() {
        None => None,
        Some((b' ', target)) if !method.is_empty() => begins_target(method, target),
        Some(_) => Some(false),
    }
}

fn begins_target(method: &[u8], target: &[u8]) -> Option<bool> {
    let first = *target.first()?;
    match method {
        _ if first == b'/' => Some(true),
        b"CONNECT" => Some(first.is_ascii_alphanumeric() || first == b'['),
        // RTSP has it too.
        b"OPTIONS" if first == b'*' => begins(target, b"* HTTP/"),
        _ => begins_absolute(target),
    }
}

fn begins_absolute(target: &[u8]) -> Option<bool> {
    const SCHEMES: [&[u8]; 2] = [b"http://", b"https://"];
    let mut start = [0; 8];
    let count = target.len().min(start.len());
    start[..count].copy_from_slice(&target[..count]);
    start.make_ascii_lowercase();
    let [plain, secure] = SCHEMES.map(|scheme| begins(&start[..count], scheme));
    match (plain, secure) {
        (Some(true), _) | (_, Some(true)) => Some(true),
        (None, _) | (_, None) => None,
        (Some(false), Some(false)) => Some(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &[Protocol] = &[Protocol::Http1, Protocol::Http2, Protocol::Tcp];

    /// What is told of these bytes, and by how many of them.
    fn told(bytes: &[u8], spoken: &[Protocol]) -> (Option<Detected>, usize) {
        let mut lengths = 0..=bytes.len();
        let at = lengths.find(|length| detect(&bytes[..*length], spoken).is_some());
        let at = at.unwrap_or(bytes.len());
        let detected = detect(&bytes[..at], spoken);
        for length in at..=bytes.len() {
            assert_eq!(detect(&bytes[..length], spoken), detected, "it stays told");
        }
        (detected, at)
    }

    fn check(bytes: &[u8], wanted: Detected, by: usize) {
        let shown = String::from_utf8_lossy(bytes);
        assert_eq!(told(bytes, ALL), (Some(wanted), by), "{shown}");
    }

    #[test]
    fn requests_of_http() {
        check(b"GET / HTTP/1.1\r\n", Detected::Http1, 5);
        check(b"POST /a HTTP/1.1\r\n", Detected::Http1, 6);
        check(b"PRIVMSG /a HTTP/1.1\r\n", Detected::Http1, 9);
        check(b"m-search / HTTP/1.1\r\n", Detected::Http1, 10);
        check(b"GET http://a/ HTTP/1.1\r\n", Detected::Http1, 11);
        check(b"GET HTTPS://a/ HTTP/1.1\r\n", Detected::Http1, 12);
        check(b"OPTIONS * HTTP/1.1\r\n", Detected::Http1, 15);
        check(b"CONNECT a.test:443 HTTP/1.1\r\n", Detected::Http1, 9);
        check(b"CONNECT [::1]:443 HTTP/1.1\r\n", Detected::Http1, 9);
        check(PREFACE, Detected::Http2, 24);
    }

    #[test]
    fn what_looks_like_it() {
        check(b"\x16\x03\x01\x02\x00\x01", Detected::Tls, 2);
        check(b"\x16\x02", Detected::Opaque, 2);
        for (bytes, by) in [
            (&b"\r\nGET / HTTP/1.1\r\n"[..], 1),
            (b" GET / HTTP/1.1\r\n", 1),
            (b"GET  / HTTP/1.1\r\n", 5),
            (b"GET key\r\n", 5),
            (b"GET http:x", 10),
            (b"SSH-2.0-OpenSSH_9.2 Debian\r\n", 21),
            (b"EHLO mx.test\r\n", 6),
            (b"MAIL FROM:<a@b>\r\n", 6),
            (b"*1\r\n$4\r\nPING\r\n", 3),
            (b"CONNECT {\"verbose\":false}\r\n", 9),
            (b"CONNECT\naccept-version:1.2\n", 8),
            (b"OPTIONS * RTSP/1.0\r\n", 11),
            (b"DESCRIBE rtsp://a RTSP/1.0\r\n", 10),
            (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\n", 7),
            (b"PRI * HTTP/2.0\r\n\r\nXX", 19),
            (b"\0\0\0\x08\x04\xd2\x16\x2f", 1),
            (b"a-word-that-nobody-would-call-a-method", 33),
        ] {
            check(bytes, Detected::Opaque, by);
        }
    }

    #[test]
    fn too_little_is_not_told() {
        for bytes in [
            "",
            "GET",
            "GET ",
            "GET http",
            "OPTIONS *",
            "CONNECT ",
            "PRI * HT",
            "\x16",
        ] {
            assert_eq!(detect(bytes.as_bytes(), ALL), None, "{bytes}");
        }
    }

    #[test]
    fn as_few_bytes_as_are_promised_tell() {
        let longest = [&[b'A'; MAX_METHOD][..], b" HTTPS://"].concat();
        check(&longest, Detected::Http1, longest.len());
        for byte in 0..=u8::MAX {
            for begun in [
                "",
                "GET ",
                "OPTIONS *",
                "CONNECT ",
                "GET htt",
                "PRI * HTTP/",
            ] {
                let mut bytes = begun.as_bytes().to_vec();
                bytes.resize(64, byte);
                assert!(detect(&bytes, ALL).is_some(), "{begun}{byte}");
            }
        }
    }

    #[test]
    fn what_is_not_spoken_is_opaque() {
        let http1 = [Protocol::Http1, Protocol::Tcp];
        assert_eq!(told(PREFACE, &http1), (Some(Detected::Opaque), 5));
        let http2 = [Protocol::Tcp, Protocol::Http2];
        assert_eq!(told(b"GET / HTTP/1.1", &http2), (Some(Detected::Opaque), 1));
        assert_eq!(told(b"PUT / HTTP/1.1", &http2), (Some(Detected::Opaque), 2));
    }
}
