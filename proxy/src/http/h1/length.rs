//! What `Content-Length` and `Transfer-Encoding` say, read strictly: any doubt is
//! an error, as readers are known to settle it in different ways.

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Version};

use crate::error::ErrorKind;
use crate::http::Framing;
use crate::http::error::HeadError;

/// The framing of a request (RFC 9112 section 6.3).
pub(super) fn request_framing(version: Version, headers: &HeaderMap) -> Result<Framing, HeadError> {
    let length = content_length(headers).map_err(HeadError::ambiguous)?;
    let Some(coding) = headers.get(TRANSFER_ENCODING) else {
        return Ok(length.map_or(Framing::None, Framing::Length));
    };
    if length.is_some() {
        return Err(HeadError::ambiguous(
            "both content-length and transfer-encoding",
        ));
    }
    if version != Version::HTTP_11 {
        return Err(HeadError::ambiguous("transfer-encoding in HTTP/1.0"));
    }
    if is_chunked(headers) {
        return Ok(Framing::Chunked);
    }
    if is_single(headers) && is_unserved_coding(coding) {
        let why = "a transfer coding beside chunked";
        return Err(HeadError::new(ErrorKind::NotImplemented, why));
    }
    Err(HeadError::ambiguous("transfer-encoding is not chunked"))
}

/// The one `Content-Length`, if any. Repeats are refused even when they agree.
pub fn content_length(headers: &HeaderMap) -> Result<Option<u64>, &'static str> {
    let mut values = headers.get_all(CONTENT_LENGTH).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err("repeated content-length");
    }
    digits(value.as_bytes())
        .map(Some)
        .ok_or("malformed content-length")
}

/// Digits and nothing else; `str::parse` would take a sign.
fn digits(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |number, &byte| {
        let digit = char::from(byte).to_digit(10)?;
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// Whether `Transfer-Encoding` is `chunked`, once, alone.
pub(super) fn is_chunked(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(TRANSFER_ENCODING).iter();
    let first = values.next().map(HeaderValue::as_bytes);
    first.is_some_and(|value| value.eq_ignore_ascii_case(b"chunked")) && values.next().is_none()
}

fn is_single(headers: &HeaderMap) -> bool {
    headers.get_all(TRANSFER_ENCODING).iter().count() == 1
}

/// Registered codings with a final `chunked`: well-formed, but not served here,
/// which is 501 (RFC 9112 section 6.1). Whatever else there may be is a guess.
fn is_unserved_coding(value: &HeaderValue) -> bool {
    const REGISTERED: [&[u8]; 5] = [b"gzip", b"x-gzip", b"deflate", b"compress", b"x-compress"];
    let mut codings = value
        .as_bytes()
        .rsplit(|&byte| byte == b',')
        .map(trim_blanks);
    let is_last_chunked = codings
        .next()
        .is_some_and(|last| last.eq_ignore_ascii_case(b"chunked"));
    is_last_chunked
        && codings.all(|coding| {
            REGISTERED
                .iter()
                .any(|known| coding.eq_ignore_ascii_case(known))
        })
}

fn trim_blanks(text: &[u8]) -> &[u8] {
    // The value holds no other whitespace than space and tab.
    text.trim_ascii()
}
