//! Fields that end at this hop (RFC 9110 sections 7.6.1 and 7.6.2).

use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, Method};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Always of one hop, whether or not `Connection` names them. `Trailer` is not
/// among them: trailers are passed on, and so is their announcement. `TE` is
/// dropped whole: this proxy takes trailers from every origin.
static HOP_BY_HOP: [HeaderName; 5] = [
    KEEP_ALIVE,
    PROXY_CONNECTION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Fields that `Connection` cannot remove. A sender must not name what is meant
/// for all recipients (RFC 9110 section 7.6.1); one that does wants an origin to
/// miss the framing, the credentials or the forwarding facts that a proxy before
/// this one relied on, so the naming is passed over.
static END_TO_END: [HeaderName; 20] = [
    header::CONTENT_LENGTH,
    header::HOST,
    header::AUTHORIZATION,
    header::PROXY_AUTHORIZATION,
    header::COOKIE,
    header::SET_COOKIE,
    header::FORWARDED,
    header::VIA,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-real-ip"),
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::CONTENT_RANGE,
    header::CACHE_CONTROL,
    header::VARY,
    header::DATE,
    header::TRAILER,
    header::ORIGIN,
];

/// Removes what belongs to the connection a message came on: `Connection`, the
/// fields that it names, and those that are hop-by-hop by definition.
pub fn remove_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(header::CONNECTION) {
        remove_named(headers);
    }
    for name in &HOP_BY_HOP {
        // Looking is cheaper than removing, and nearly all are absent.
        if headers.contains_key(name) {
            headers.remove(name);
        }
    }
}

fn remove_named(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = options(headers)
        .filter_map(|option| HeaderName::from_bytes(option).ok())
        .filter(|name| !END_TO_END.contains(name))
        .collect();
    for name in named {
        headers.remove(name);
    }
    headers.remove(header::CONNECTION);
}

/// The options of every `Connection` line, trimmed, none empty. What is usual
/// and names no field is left out, so that it costs nothing.
fn options(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    list(headers, header::CONNECTION)
        .filter(|option| !is_token(option, "close") && !is_token(option, "keep-alive"))
}

/// The members of a field that is a list of tokens.
pub(super) fn list(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &[u8]> {
    let lines = headers.get_all(name).into_iter();
    lines
        .flat_map(|line| line.as_bytes().split(|&byte| byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|member| !member.is_empty())
}

pub(super) fn is_token(member: &[u8], token: &str) -> bool {
    member.eq_ignore_ascii_case(token.as_bytes())
}

/// What `Max-Forwards` says about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaxForwards {
    /// Goes on; the field, if any, was counted down.
    Forward,
    /// This proxy is the final recipient and answers itself.
    Final,
}

/// Counts `Max-Forwards` down for the two methods that know it (RFC 9110 section
/// 7.6.2). A value that is no number is passed on as it is.
pub fn count_down_max_forwards(method: &Method, headers: &mut HeaderMap) -> MaxForwards {
    if *method != Method::TRACE && *method != Method::OPTIONS {
        return MaxForwards::Forward;
    }
    let Some(value) = headers.get_mut(header::MAX_FORWARDS) else {
        return MaxForwards::Forward;
    };
    let count = value
        .to_str()
        .ok()
        .and_then(|text| text.parse::<u64>().ok());
    match count {
        Some(0) => MaxForwards::Final,
        Some(count) => {
            *value = HeaderValue::from(count - 1);
            MaxForwards::Forward
        }
        None => MaxForwards::Forward,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(lines: &[(&str, &str)]) -> HeaderMap {
        let line = |(name, value): &(&str, &str)| {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            (name, HeaderValue::from_str(value).unwrap())
        };
        let mut headers = HeaderMap::new();
        for (name, value) in lines.iter().map(line) {
            headers.append(name, value);
        }
        headers
    }

    fn check(before: &[(&str, &str)], kept: &[&str]) {
        let mut headers = map(before);
        remove_hop_by_hop(&mut headers);
        let mut found: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        found.sort_unstable();
        assert_eq!(found, kept, "{before:?}");
    }

    #[test]
    fn what_is_of_one_hop_is_removed() {
        check(&[("accept", "*/*")], &["accept"]);
        check(&[("connection", "close"), ("a", "1")], &["a"]);
        check(
            &[
                ("connection", "a, B ,,c"),
                ("a", "1"),
                ("b", "2"),
                ("c", "3"),
                ("d", "4"),
            ],
            &["d"],
        );
        check(
            &[
                ("connection", "a"),
                ("connection", "b"),
                ("a", "1"),
                ("a", "2"),
                ("b", "1"),
            ],
            &[],
        );
        check(&[("connection", "no such, \"a\""), ("a", "1")], &["a"]);
        let all = [
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("trailer", "x-checksum"),
        ];
        check(&all, &["trailer"]);
        check(
            &[
                ("connection", "upgrade, http2-settings"),
                ("upgrade", "h2c"),
                ("http2-settings", "AA"),
            ],
            &[],
        );
    }

    #[test]
    fn connection_cannot_strip_what_is_end_to_end() {
        check(
            &[
                (
                    "connection",
                    "content-length, Authorization, x-forwarded-for, cookie, x-mine",
                ),
                ("content-length", "5"),
                ("authorization", "Basic eA=="),
                ("x-forwarded-for", "192.0.2.1"),
                ("cookie", "a=b"),
                ("x-mine", "1"),
            ],
            &[
                "authorization",
                "content-length",
                "cookie",
                "x-forwarded-for",
            ],
        );
    }

    #[test]
    fn max_forwards_counts_down_for_trace_and_options() {
        for (method, value, expected, left) in [
            (Method::OPTIONS, "0", MaxForwards::Final, "0"),
            (Method::TRACE, "1", MaxForwards::Forward, "0"),
            (Method::TRACE, "10", MaxForwards::Forward, "9"),
            (Method::TRACE, "-1", MaxForwards::Forward, "-1"),
            (Method::OPTIONS, "x", MaxForwards::Forward, "x"),
            (Method::GET, "0", MaxForwards::Forward, "0"),
        ] {
            let mut headers = map(&[("max-forwards", value)]);
            assert_eq!(count_down_max_forwards(&method, &mut headers), expected);
            assert_eq!(headers[header::MAX_FORWARDS], left);
        }
        let found = count_down_max_forwards(&Method::TRACE, &mut HeaderMap::new());
        assert_eq!(found, MaxForwards::Forward);
    }
}
