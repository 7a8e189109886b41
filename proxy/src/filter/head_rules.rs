//! What filters may do to heads: which fields are the proxy's own, what is
//! legal, and how large a head may grow. Pure.

use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use super::view::HeadLimits;

/// Why a change was refused, in the words of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    Invalid,
    Forbidden,
    TooLarge,
}

/// Fields that frame a message or belong to one connection. The proxy alone
/// writes them, so that no filter can make a message that reads in two ways.
pub fn is_owned(name: &HeaderName) -> bool {
    const OWNED: [HeaderName; 8] = [
        header::CONNECTION,
        header::CONTENT_LENGTH,
        header::EXPECT,
        header::HOST,
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
    ];
    OWNED.contains(name)
        || [
            "keep-alive",
            "proxy-connection",
            "http2-settings",
            "lockgate-call-depth",
        ]
        .contains(&name.as_str())
}

/// The name of a field that a filter may change.
pub fn name(name: &str) -> Result<HeaderName, Refusal> {
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| Refusal::Invalid)?;
    match is_owned(&name) {
        true => Err(Refusal::Forbidden),
        false => Ok(name),
    }
}

/// A legal value. Space around it would vanish on the wire, so it is refused.
pub fn value(value: Vec<u8>) -> Result<HeaderValue, Refusal> {
    let is_padded = |edge: Option<&u8>| matches!(edge, Some(b' ' | b'\t'));
    if is_padded(value.first()) || is_padded(value.last()) {
        return Err(Refusal::Invalid);
    }
    HeaderValue::from_maybe_shared(bytes::Bytes::from(value)).map_err(|_| Refusal::Invalid)
}

/// CONNECT would make another kind of exchange of this one.
pub fn method(method: &str) -> Result<Method, Refusal> {
    match Method::from_bytes(method.as_bytes()) {
        Ok(Method::CONNECT) => Err(Refusal::Forbidden),
        Ok(method) => Ok(method),
        Err(_) => Err(Refusal::Invalid),
    }
}

/// A host and perhaps a port, without user information.
pub fn authority(authority: &str) -> Result<Authority, Refusal> {
    match authority.parse::<Authority>() {
        Ok(parsed) if !authority.contains('@') && !parsed.host().is_empty() => Ok(parsed),
        Ok(_) | Err(_) => Err(Refusal::Invalid),
    }
}

/// A path as the proxy's own normalisation leaves it, with its query: what a
/// filter sets is sent as it stands.
pub fn path(target: &str) -> Result<PathAndQuery, Refusal> {
    let path = target.split_once('?').map_or(target, |(path, _)| path);
    let is_legal = path.starts_with('/')
        && target
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'#')
        && escapes_are_whole(target)
        && !path.split('/').any(is_dot_segment);
    match target.parse() {
        Ok(parsed) if is_legal => Ok(parsed),
        Ok(_) | Err(_) => Err(Refusal::Invalid),
    }
}

/// Every `%` begins an escape, and none is a NUL.
fn escapes_are_whole(target: &str) -> bool {
    target.split('%').skip(1).all(|after| {
        let digits = after.as_bytes().get(..2);
        digits.is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit) && two != b"00")
    })
}

fn is_dot_segment(segment: &str) -> bool {
    let plain = segment.replace("%2e", ".").replace("%2E", ".");
    plain == "." || plain == ".."
}

/// The size of a head's fields, counted as on the wire.
pub fn size(headers: &HeaderMap) -> usize {
    let field = |(name, value): (&HeaderName, &HeaderValue)| field_size(name, value);
    headers.iter().map(field).sum()
}

/// `name: value` and the end of the line.
pub fn field_size(name: &HeaderName, value: &HeaderValue) -> usize {
    name.as_str().len() + value.len() + 4
}

/// Whether a field fits into `headers` in the place of all its values there.
pub fn fits(
    headers: &HeaderMap,
    name: &HeaderName,
    value: &HeaderValue,
    limits: HeadLimits,
) -> Result<(), Refusal> {
    if fits_beside(headers, name, value, limits).is_ok() {
        return Ok(());
    }
    let replaced = headers.get_all(name).iter();
    let (fields, bytes) = replaced.fold((0, 0), |(fields, bytes), value| {
        (fields + 1, bytes + field_size(name, value))
    });
    within(
        headers.len() - fields + 1,
        size(headers) - bytes + field_size(name, value),
        limits,
    )
}

/// Whether a field fits beside everything in `headers`.
pub fn fits_beside(
    headers: &HeaderMap,
    name: &HeaderName,
    value: &HeaderValue,
    limits: HeadLimits,
) -> Result<(), Refusal> {
    let bytes = size(headers) + field_size(name, value);
    within(headers.len() + 1, bytes, limits)
}

fn within(fields: usize, bytes: usize, limits: HeadLimits) -> Result<(), Refusal> {
    match fields > limits.max_fields || bytes > limits.max_bytes {
        true => Err(Refusal::TooLarge),
        false => Ok(()),
    }
}

/// The status of a final answer.
pub fn status(status: u16) -> Result<StatusCode, Refusal> {
    match StatusCode::from_u16(status) {
        Ok(status) if (200..=599).contains(&status.as_u16()) => Ok(status),
        Ok(_) | Err(_) => Err(Refusal::Invalid),
    }
}

/// Whether an answer of this status never has a body.
pub fn has_no_body(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED
    )
}

/// A new status for an answer that is under way with the framing of `before`.
pub fn changed_status(before: StatusCode, after: u16) -> Result<StatusCode, Refusal> {
    let after = status(after)?;
    // What follows it is no body.
    let has_end = before != StatusCode::SWITCHING_PROTOCOLS;
    match has_end && has_no_body(before) == has_no_body(after) {
        true => Ok(after),
        false => Err(Refusal::Forbidden),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_legal_and_not_the_proxys_own() {
        let check = |text: &str, refusal: Option<Refusal>| {
            assert_eq!(name(text).err(), refusal, "{text:?}");
        };
        check("x-user", None);
        check("X-User", None);
        check("set-cookie", None);
        check("", Some(Refusal::Invalid));
        check(":path", Some(Refusal::Invalid));
        check("a b", Some(Refusal::Invalid));
        check("x\r\ny", Some(Refusal::Invalid));
        for owned in [
            "connection",
            "Content-Length",
            "transfer-encoding",
            "te",
            "upgrade",
            "keep-alive",
            "proxy-connection",
            "trailer",
            "expect",
            "host",
        ] {
            check(owned, Some(Refusal::Forbidden));
        }
    }

    #[test]
    fn values_are_legal() {
        let check = |bytes: &[u8], good: bool| {
            assert_eq!(value(bytes.to_vec()).is_ok(), good, "{bytes:?}");
        };
        check(b"", true);
        check(b"a b\tc", true);
        check(b"\xff\xfe", true);
        check(b" a", false);
        check(b"a\t", false);
        check(b"a\r\nb: c", false);
        check(b"a\nb", false);
        check(b"a\0", false);
    }

    #[test]
    fn methods_are_legal() {
        assert_eq!(method("PATCH"), Ok(Method::PATCH));
        assert_eq!(method("CONNECT"), Err(Refusal::Forbidden));
        assert_eq!(method("GE T"), Err(Refusal::Invalid));
        assert_eq!(method(""), Err(Refusal::Invalid));
    }

    #[test]
    fn authorities_are_legal() {
        let check = |text: &str, good: bool| {
            assert_eq!(authority(text).is_ok(), good, "{text:?}");
        };
        check("example.test", true);
        check("example.test:8080", true);
        check("[::1]:80", true);
        check("", false);
        check(":80", false);
        check("user@example.test", false);
        check("a b", false);
        check("a/b", false);
    }

    #[test]
    fn paths_are_legal_and_normal() {
        let check = |text: &str, good: bool| {
            assert_eq!(path(text).is_ok(), good, "{text:?}");
        };
        check("/", true);
        check("/a/b?c=d/../e", true);
        check("/a%20b", true);
        check("/a..b/...", true);
        check("", false);
        check("a", false);
        check("?a", false);
        check("*", false);
        check("/a#b", false);
        check("/a b", false);
        check("/a\r\n", false);
        check("/a%", false);
        check("/a%2", false);
        check("/a%zz", false);
        check("/a%00", false);
        check("/a/../b", false);
        check("/a/.", false);
        check("/a/%2e%2E/b", false);
        check("/\u{e9}", false);
    }

    #[test]
    fn statuses_are_final_and_keep_the_framing() {
        let check = |before: u16, after: u16, refusal: Option<Refusal>| {
            let before = StatusCode::from_u16(before).unwrap();
            assert_eq!(changed_status(before, after).err(), refusal, "{after}");
        };
        check(200, 599, None);
        check(204, 304, None);
        check(200, 204, Some(Refusal::Forbidden));
        check(304, 200, Some(Refusal::Forbidden));
        check(200, 199, Some(Refusal::Invalid));
        check(200, 600, Some(Refusal::Invalid));
        check(200, 0, Some(Refusal::Invalid));
    }

    #[test]
    fn heads_stay_within_their_limits() {
        let limits = HeadLimits {
            max_bytes: 20,
            max_fields: 2,
        };
        let mut headers = HeaderMap::new();
        let check = |headers: &HeaderMap, name: &'static str, value: &'static str| {
            let name = HeaderName::from_static(name);
            fits(headers, &name, &HeaderValue::from_static(value), limits)
        };
        assert_eq!(check(&headers, "a", "123456789012345"), Ok(()));
        assert_eq!(
            check(&headers, "a", "1234567890123456"),
            Err(Refusal::TooLarge)
        );
        headers.insert("a", HeaderValue::from_static("1"));
        headers.insert("b", HeaderValue::from_static("1"));
        assert_eq!(check(&headers, "c", "1"), Err(Refusal::TooLarge));
        assert_eq!(check(&headers, "b", "1"), Ok(()));
    }
}
