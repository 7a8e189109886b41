//! Trailer sections (RFC 9112 section 7.1.2).

use bytes::Bytes;
use http::HeaderMap;
use http::header::{self, HeaderName};
use memchr::memchr;

use super::fields::{read_value, split_field};
use crate::http::disguise::remove_disguised;

/// Bytes of one trailer section.
pub(super) const MAX_TRAILER_BYTES: usize = 8 * 1024;
const MAX_TRAILERS: usize = 64;

/// What must not come as a trailer, because who acts on it would have had to know
/// it before the body (RFC 9110 section 6.5.1): framing, routing, controls and
/// conditions, credentials, the description of the content, and what this proxy
/// itself says in a head.
static FORBIDDEN: [HeaderName; 49] = [
    header::TRANSFER_ENCODING,
    header::CONTENT_LENGTH,
    header::TRAILER,
    header::TE,
    header::CONNECTION,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::HOST,
    header::FORWARDED,
    header::VIA,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-client-cert"),
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("early-data"),
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
    header::CACHE_CONTROL,
    header::PRAGMA,
    header::EXPECT,
    header::MAX_FORWARDS,
    header::RANGE,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
    header::IF_RANGE,
    header::AUTHORIZATION,
    header::PROXY_AUTHORIZATION,
    header::WWW_AUTHENTICATE,
    header::PROXY_AUTHENTICATE,
    HeaderName::from_static("authentication-info"),
    HeaderName::from_static("proxy-authentication-info"),
    header::COOKIE,
    header::SET_COOKIE,
    header::ORIGIN,
    header::CONTENT_ENCODING,
    header::CONTENT_TYPE,
    header::CONTENT_RANGE,
    header::CONTENT_LANGUAGE,
    header::CONTENT_LOCATION,
    header::LOCATION,
    header::RETRY_AFTER,
    header::VARY,
    header::AGE,
    header::DATE,
    header::EXPIRES,
];

/// Drops what a trailer must not say, in either direction and in either spelling.
pub fn remove_forbidden_trailers(trailers: &mut HeaderMap) {
    for name in &FORBIDDEN {
        trailers.remove(name);
    }
    remove_disguised(trailers, FORBIDDEN.iter());
}

/// Reads a section without the empty line at its end; every line has its CRLF.
pub(super) fn read_trailers(section: &Bytes) -> Result<HeaderMap, &'static str> {
    let mut trailers = HeaderMap::new();
    let mut rest = &section[..];
    while let Some(line) = next_line(&mut rest) {
        if trailers.len() == MAX_TRAILERS {
            return Err("too many trailers");
        }
        let (name, value) = split_field(line)?;
        let value = read_value(section, value)?;
        trailers.append(name, value);
    }
    remove_forbidden_trailers(&mut trailers);
    Ok(trailers)
}

/// Cuts the first line off `rest`, without its CRLF. The decoder has seen to it that
/// every line feed follows a carriage return; `None` when no line is left.
fn next_line<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let line_feed = memchr(b'\n', rest)?;
    let line = &rest[..line_feed.checked_sub(1)?];
    *rest = &rest[line_feed + 1..];
    Some(line)
}
