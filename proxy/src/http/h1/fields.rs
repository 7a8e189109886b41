//! Field lines (RFC 9112 section 5), of heads and of trailers.

use bytes::Bytes;
use http::HeaderValue;
use http::header::HeaderName;

/// Splits `name: value`, a line that has lost its CRLF. The name is checked: what
/// stands before the colon is a token, so that whitespace there and a folded line,
/// which begins with whitespace, fail.
pub(super) fn split_field(line: &[u8]) -> Result<(HeaderName, &[u8]), &'static str> {
    // Names are short: a plain search beats `memchr`.
    let colon = line
        .iter()
        .position(|&byte| byte == b':')
        .ok_or("field line without a colon")?;
    let name = HeaderName::from_bytes(&line[..colon]).map_err(|_| "illegal field name")?;
    Ok((name, trim(&line[colon + 1..])))
}

/// A value that lies inside `whole` and shares its memory. CR, NUL and the other
/// controls fail here.
pub(super) fn read_value(whole: &Bytes, value: &[u8]) -> Result<HeaderValue, &'static str> {
    HeaderValue::from_maybe_shared(whole.slice_ref(value))
        .map_err(|_| "illegal character in a field value")
}

/// Without optional whitespace, which is space and tab and nothing else.
fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}
