//! What an origin's parsed head must not say.

use http::header::TRANSFER_ENCODING;
use http::response::Parts;
use http::{Method, StatusCode, Version};

use super::length::{content_length, is_chunked};
use crate::http::Upgrade;
use crate::http::framing::is_bodiless;

/// Refuses an answer that could be read in two ways, or that nobody asked for.
/// The connection must be dropped with it.
pub fn check_answer(
    parts: &Parts,
    method: &Method,
    upgrade: Option<&Upgrade>,
) -> Result<(), &'static str> {
    if parts.status == StatusCode::SWITCHING_PROTOCOLS {
        upgrade.ok_or("unasked 101")?.check_answer(&parts.headers)?;
    }
    let length = content_length(&parts.headers)?;
    if parts.headers.contains_key(TRANSFER_ENCODING) {
        check_coding(parts, length)?;
    }
    let is_empty = *method != Method::HEAD
        && parts.status != StatusCode::NOT_MODIFIED
        && is_bodiless(method, parts.status);
    if is_empty && length.is_some_and(|length| length > 0) {
        return Err("content-length in an answer without a body");
    }
    Ok(())
}

fn check_coding(parts: &Parts, length: Option<u64>) -> Result<(), &'static str> {
    if length.is_some() {
        return Err("both content-length and transfer-encoding");
    }
    if parts.version != Version::HTTP_11 {
        return Err("transfer-encoding in HTTP/1.0");
    }
    if !is_chunked(&parts.headers) {
        return Err("transfer-encoding is not chunked");
    }
    if parts.status.is_informational() || parts.status == StatusCode::NO_CONTENT {
        return Err("transfer-encoding in an answer without a body");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(
        method: Method,
        status: u16,
        version: Version,
        lines: &[(&'static str, &'static str)],
    ) -> Result<(), &'static str> {
        let mut response = http::Response::builder().status(status).version(version);
        for (name, value) in lines {
            response = response.header(*name, *value);
        }
        let (parts, ()) = response.body(()).unwrap().into_parts();
        check_answer(&parts, &method, None)
    }

    const CL: &str = "content-length";
    const TE: &str = "transfer-encoding";

    #[test]
    fn plain_answers_pass() {
        for (method, status, lines) in [
            (Method::GET, 200, &[][..]),
            (Method::GET, 200, &[(CL, "5")]),
            (Method::GET, 200, &[(TE, "Chunked")]),
            (Method::HEAD, 200, &[(CL, "5")]),
            (Method::HEAD, 200, &[(TE, "chunked")]),
            (Method::GET, 304, &[(CL, "5")]),
            (Method::GET, 204, &[]),
            (Method::GET, 204, &[(CL, "0")]),
            (Method::GET, 599, &[("upgrade", "h2c")]),
        ] {
            assert_eq!(
                check(method, status, Version::HTTP_11, lines),
                Ok(()),
                "{status} {lines:?}"
            );
        }
    }

    #[test]
    fn answers_with_two_readings_are_refused() {
        for (status, lines) in [
            (101, &[("upgrade", "websocket")][..]),
            (200, &[(CL, "5"), (TE, "chunked")]),
            (200, &[(CL, "5"), (CL, "5")]),
            (200, &[(CL, "5"), (CL, "6")]),
            (200, &[(CL, "5, 5")]),
            (200, &[(CL, "+5")]),
            (200, &[(CL, "")]),
            (200, &[(CL, "18446744073709551616")]),
            (200, &[(TE, "gzip")]),
            (200, &[(TE, "gzip, chunked")]),
            (200, &[(TE, "chunked, gzip")]),
            (200, &[(TE, "chunked"), (TE, "chunked")]),
            (200, &[(TE, "identity")]),
            (200, &[(TE, "")]),
            (204, &[(TE, "chunked")]),
            (204, &[(CL, "5")]),
        ] {
            let found = check(Method::GET, status, Version::HTTP_11, lines);
            assert!(found.is_err(), "{status} {lines:?}");
        }
        assert!(check(Method::GET, 200, Version::HTTP_10, &[(TE, "chunked")]).is_err());
    }
}
