//! What gRPC over HTTP/2 makes of answers that are not its own.

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::request_id::hex_digit;

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
pub const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// Bytes of a message, before it is encoded.
const MAX_MESSAGE: usize = 1024;

/// Whether a request is a call of gRPC. That of browsers (`application/grpc-web`) is
/// another protocol.
pub fn is_call(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(CONTENT_TYPE) else {
        return false;
    };
    match kind.as_bytes().strip_prefix(b"application/grpc") {
        Some([]) => true,
        Some([next, ..]) => matches!(next, b'+' | b';'),
        None => false,
    }
}

/// Whether an answer says how the call ended.
pub fn has_status(headers: &HeaderMap) -> bool {
    headers.contains_key(GRPC_STATUS)
}

/// The status for one of HTTP: gRPC's own mapping, as its clients would make it of an
/// answer without one (grpc/doc/http-grpc-status-mapping.md), and beyond it what they
/// would call unknown where there is a name for it.
pub fn status_of(status: StatusCode) -> u8 {
    match status.as_u16() {
        200 => OK,
        400 | 431 => INTERNAL,
        401 => UNAUTHENTICATED,
        403 => PERMISSION_DENIED,
        404 | 501 => UNIMPLEMENTED,
        408 => DEADLINE_EXCEEDED,
        413 => RESOURCE_EXHAUSTED,
        429 | 502 | 503 | 504 => UNAVAILABLE,
        499 => CANCELLED,
        _ => UNKNOWN,
    }
}

const OK: u8 = 0;
const CANCELLED: u8 = 1;
pub const UNKNOWN: u8 = 2;
pub const DEADLINE_EXCEEDED: u8 = 4;
const PERMISSION_DENIED: u8 = 7;
pub const RESOURCE_EXHAUSTED: u8 = 8;
const UNIMPLEMENTED: u8 = 12;
pub const INTERNAL: u8 = 13;
pub const UNAVAILABLE: u8 = 14;
pub const DATA_LOSS: u8 = 15;
const UNAUTHENTICATED: u8 = 16;

/// Writes how a call ended: into a head, which is the whole answer then, or as
/// trailers.
pub fn write_status(fields: &mut HeaderMap, status: u8, message: &[u8]) {
    fields.insert(GRPC_STATUS, HeaderValue::from(u16::from(status)));
    let message = encode(message.trim_ascii());
    if let Ok(message) = HeaderValue::from_maybe_shared(bytes::Bytes::from(message))
        && !message.is_empty()
    {
        fields.insert(GRPC_MESSAGE, message);
    }
}

/// The head that stands for a whole answer. Fields about the body that it had go.
pub fn to_head(headers: &mut HeaderMap, status: u8, message: &[u8]) {
    headers.remove(http::header::CONTENT_LENGTH);
    headers.remove(http::header::CONTENT_ENCODING);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    write_status(headers, status, message);
}

/// Percent-encodes what is not printable ASCII. What is no UTF-8 is no message.
fn encode(message: &[u8]) -> Vec<u8> {
    let Ok(text) = str::from_utf8(message) else {
        return Vec::new();
    };
    let end = text.floor_char_boundary(MAX_MESSAGE);
    let mut encoded = Vec::with_capacity(end);
    for &byte in &text.as_bytes()[..end] {
        match byte {
            b' '..=b'~' if byte != b'%' => encoded.push(byte),
            _ => encoded.extend([
                b'%',
                hex_digit(byte >> 4).to_ascii_uppercase(),
                hex_digit(byte & 15).to_ascii_uppercase(),
            ]),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_told_by_its_content_type() {
        let check = |kind: &'static str, wanted| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
            assert_eq!(is_call(&headers), wanted, "{kind}");
        };
        check("application/grpc", true);
        check("application/grpc+proto", true);
        check("application/grpc;charset=utf-8", true);
        check("application/grpc-web", false);
        check("application/json", false);
        assert!(!is_call(&HeaderMap::new()));
    }

    #[test]
    fn a_message_is_printable() {
        let check = |message: &[u8], wanted: Option<&str>| {
            let mut fields = HeaderMap::new();
            write_status(&mut fields, PERMISSION_DENIED, message);
            assert_eq!(fields[GRPC_STATUS], "7");
            let found = fields
                .get(GRPC_MESSAGE)
                .map(|value| value.to_str().unwrap());
            assert_eq!(found, wanted);
        };
        check(b"no\n", Some("no"));
        check(
            "100 % \u{e9}\n\nb".as_bytes(),
            Some("100 %25 %C3%A9%0A%0Ab"),
        );
        check(b"", None);
        check(b"\xff", None);
        let long = "\u{e9}".repeat(MAX_MESSAGE);
        check(long.as_bytes(), Some(&"%C3%A9".repeat(MAX_MESSAGE / 2)));
    }
}
