//! The head of a request that came over HTTP/2.

use bytes::Bytes;
use h2::ext::Protocol;
use http::header::{CONTENT_LENGTH, COOKIE, EXPECT, HOST};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Method};

use super::fields::check_field;
use crate::config::{Limits, PathRules, WEBSOCKET};
use crate::error::ErrorKind;
use crate::http::authority::{is_same, read_authority};
use crate::http::disguise::may_be_disguised;
use crate::http::h1::{content_length, read_expect, with_plain_length, with_port};
use crate::http::hops::is_of_hops;
use crate::http::{
    Framing, HeadError, ParsedRequest, RequestHead, Role, TargetForm, path, upgrade,
};

/// Checks a head by the rules for those of HTTP/1. `scheme` is the connection's:
/// `:scheme` is only what the client calls it. `ends` says that no body follows.
pub fn read_request(
    parts: Parts,
    ends: bool,
    scheme: Scheme,
    limits: &Limits,
    rules: &PathRules,
    role: Role,
) -> Result<ParsedRequest, HeadError> {
    let Parts {
        method,
        uri,
        version,
        mut headers,
        extensions,
        ..
    } = parts;
    let protocol = extensions.get::<Protocol>();
    let is_plain = method == Method::CONNECT && protocol.is_none();
    let is_served = match protocol {
        Some(protocol) => protocol.as_str() == WEBSOCKET,
        None => role == Role::Proxy,
    };
    if method == Method::CONNECT && !is_served {
        return Err(HeadError::new(
            ErrorKind::NotImplemented,
            "CONNECT is not served",
        ));
    }
    let asks_upgrade = protocol.is_some();
    // The same in HTTP/1 is a GET.
    let method = if asks_upgrade { Method::GET } else { method };
    if headers.len() > limits.max_headers {
        return Err(HeadError::new(ErrorKind::HeadTooLarge, "too many fields"));
    }
    if uri.scheme_str() == Some("") {
        return Err(HeadError::bad("an empty :scheme"));
    }
    let names = read_names(&headers)?;
    let host = take_host(&mut headers)?;
    let authority = join_authority(uri.authority(), host)?;
    let (authority, path) = match is_plain {
        true => (with_port(authority)?, PathAndQuery::from_static("*")),
        false => {
            let path = read_path(uri.path_and_query(), &method, limits, rules)?;
            (authority, path)
        }
    };
    join_cookies(&mut headers)?;
    let mut lengths = headers.get_all(CONTENT_LENGTH).into_iter();
    if is_plain && lengths.any(|length| length != "0") {
        return Err(HeadError::bad("CONNECT with a body"));
    }
    let framing = match asks_upgrade || is_plain {
        true => Framing::None,
        false => framing(&headers, ends)?,
    };
    let expects_continue =
        headers.contains_key(EXPECT) && read_expect(version, &headers)? && framing != Framing::None;
    if asks_upgrade {
        upgrade::write_websocket(&mut headers)?;
    }
    Ok(ParsedRequest {
        head: RequestHead {
            method,
            scheme,
            authority: Some(authority),
            path,
            headers: with_plain_length(headers, framing),
        },
        version,
        form: match is_plain {
            true => TargetForm::Authority,
            false => TargetForm::Origin,
        },
        framing,
        keep_alive: true,
        expects_continue,
        asks_upgrade,
        upgrade: None,
        may_be_disguised: names.may_be_disguised,
        is_told_by_hop: names.is_told_by_hop,
    })
}

/// What the names of the fields tell.
#[derive(Default)]
struct Names {
    may_be_disguised: bool,
    is_told_by_hop: bool,
}

fn read_names(headers: &HeaderMap) -> Result<Names, HeadError> {
    let mut names = Names::default();
    for (name, value) in headers {
        let name = name.as_str().as_bytes();
        check_field(name, value.as_bytes()).map_err(HeadError::bad)?;
        names.may_be_disguised |= may_be_disguised(name);
        names.is_told_by_hop |= is_of_hops(name);
    }
    Ok(names)
}

fn take_host(headers: &mut HeaderMap) -> Result<Option<Authority>, HeadError> {
    if headers.get_all(HOST).iter().count() > 1 {
        return Err(HeadError::ambiguous("more than one host"));
    }
    let Some(host) = headers.remove(HOST) else {
        return Ok(None);
    };
    let host = Bytes::copy_from_slice(host.as_bytes());
    read_authority(host).map(Some).map_err(HeadError::bad)
}

/// `:authority` stands for `Host`, and the two must agree where both are there
/// (RFC 9113 section 8.3.1).
fn join_authority(
    authority: Option<&Authority>,
    host: Option<Authority>,
) -> Result<Authority, HeadError> {
    let Some(authority) = authority else {
        return host.ok_or(HeadError::bad("no host"));
    };
    let authority = Bytes::copy_from_slice(authority.as_str().as_bytes());
    let authority = read_authority(authority).map_err(HeadError::bad)?;
    match host {
        Some(host) if !is_same(&authority, &host) => {
            Err(HeadError::ambiguous("host differs from :authority"))
        }
        Some(_) | None => Ok(authority),
    }
}

fn read_path(
    target: Option<&PathAndQuery>,
    method: &Method,
    limits: &Limits,
    rules: &PathRules,
) -> Result<PathAndQuery, HeadError> {
    let target = target.ok_or(HeadError::bad("no path"))?;
    if target.as_str().len() > limits.max_target_bytes {
        return Err(HeadError::new(ErrorKind::TargetTooLong, "target too long"));
    }
    if target.as_str() == "*" {
        return match *method == Method::OPTIONS {
            true => Ok(target.clone()),
            false => Err(HeadError::bad("target * is for OPTIONS only")),
        };
    }
    let bad_path = |why| HeadError::new(ErrorKind::BadPath, why);
    match path::changed(target.as_str().as_bytes(), rules).map_err(bad_path)? {
        None => Ok(target.clone()),
        Some(changed) => PathAndQuery::from_maybe_shared(Bytes::from(changed))
            .map_err(|_| bad_path("illegal character in the target")),
    }
}

/// HTTP/2 may send the pieces of `Cookie` as fields of their own; everywhere else
/// there is one (RFC 9113 section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) -> Result<(), HeadError> {
    if headers.get_all(COOKIE).iter().count() < 2 {
        return Ok(());
    }
    let pieces: Vec<_> = headers
        .get_all(COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    let joined = HeaderValue::from_maybe_shared(Bytes::from(pieces.join(&b"; "[..])))
        .map_err(|_| HeadError::bad("illegal cookie"))?;
    headers.insert(COOKIE, joined);
    Ok(())
}

/// The frames end a body by themselves; what `Content-Length` says is checked
/// against them as they come.
fn framing(headers: &HeaderMap, ends: bool) -> Result<Framing, HeadError> {
    let length = match headers.contains_key(CONTENT_LENGTH) {
        true => content_length(headers).map_err(HeadError::ambiguous)?,
        false => None,
    };
    Ok(match length {
        Some(length) => Framing::Length(length),
        None if ends => Framing::None,
        None => Framing::Chunked,
    })
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, Request};

    use super::*;
    use crate::config::EncodedSlashes;

    fn read(
        uri: &str,
        fields: &[(&str, &str)],
        ends: bool,
    ) -> Result<ParsedRequest, (ErrorKind, &'static str)> {
        read_as(Role::Gateway, Request::builder().uri(uri), fields, ends)
    }

    fn read_as(
        role: Role,
        request: http::request::Builder,
        fields: &[(&str, &str)],
        ends: bool,
    ) -> Result<ParsedRequest, (ErrorKind, &'static str)> {
        let mut request = request.version(http::Version::HTTP_2);
        for (name, value) in fields {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            request = request.header(name, *value);
        }
        let parts = request.body(()).unwrap().into_parts().0;
        let limits = Limits {
            max_head_bytes: 64 << 10,
            max_headers: 8,
            max_target_bytes: 100,
            max_body_bytes: 1 << 20,
            min_body_rate: 0,
            max_requests: 1,
            max_connections: 1,
            max_client_connections: 1,
            client_ipv6_prefix: 64,
            max_handshakes: 1,
            max_client_handshakes: 1,
        };
        let rules = PathRules {
            merge_slashes: true,
            encoded_slashes: EncodedSlashes::Refuse,
        };
        read_request(parts, ends, Scheme::HTTP, &limits, &rules, role)
            .map_err(|error| (error.kind, error.why))
    }

    #[test]
    fn a_head_is_what_it_would_be_in_http1() {
        let fields = [("cookie", "a=1"), ("cookie", "b=2"), ("host", "a.example")];
        let parsed = read("https://A.example/x//y?q", &fields, true).unwrap();
        assert_eq!(parsed.head.path, "/x/y?q");
        assert_eq!(parsed.head.authority.unwrap(), "a.example");
        assert_eq!(parsed.head.headers["cookie"], "a=1; b=2");
        assert!(!parsed.head.headers.contains_key(HOST));
        assert_eq!(parsed.framing, Framing::None);
    }

    #[test]
    fn a_proxy_is_asked_for_connections() {
        let connect = |role, target: &str, fields: &[_]| {
            let request = Request::builder().method(Method::CONNECT).uri(target);
            read_as(role, request, fields, false).map_err(|(kind, _)| kind)
        };
        let parsed = connect(Role::Proxy, "A.test:443", &[]).unwrap();
        assert_eq!(parsed.head.authority.unwrap(), "a.test:443");
        assert_eq!(parsed.head.path, "*");
        assert_eq!(parsed.form, TargetForm::Authority);
        assert_eq!(parsed.framing, Framing::None);
        assert!(!parsed.asks_upgrade);
        let refused = |role, target: &str, fields: &[_]| connect(role, target, fields).unwrap_err();
        let kind = refused(Role::Gateway, "a.test:443", &[]);
        assert_eq!(kind, ErrorKind::NotImplemented);
        for target in ["a.test", "a.test:0"] {
            let kind = refused(Role::Proxy, target, &[]);
            assert_eq!(kind, ErrorKind::BadTarget, "{target}");
        }
        let none = connect(Role::Proxy, "a.test:443", &[("content-length", "0")]);
        assert_eq!(none.unwrap().framing, Framing::None);
        let kind = refused(Role::Proxy, "a.test:443", &[("content-length", "1")]);
        assert_eq!(kind, ErrorKind::BadRequest);
        let kind = refused(Role::Proxy, "a.test:443", &[("host", "b.test:443")]);
        assert_eq!(kind, ErrorKind::AmbiguousRequest);
    }

    #[test]
    fn a_body_is_told_by_its_length_or_by_frames() {
        let check = |fields: &[(&str, &str)], ends, wanted| {
            assert_eq!(read("http://a/", fields, ends).unwrap().framing, wanted);
        };
        check(&[], true, Framing::None);
        check(&[], false, Framing::Chunked);
        check(&[("content-length", "5")], false, Framing::Length(5));
        check(&[("content-length", "0")], true, Framing::Length(0));
    }

    #[test]
    fn what_http1_refuses_is_refused_here() {
        let check = |uri: &str, fields: &[(&str, &str)], wanted| {
            let refused = read(uri, fields, true).unwrap_err();
            assert_eq!(refused.0, wanted, "{uri} {fields:?}: {}", refused.1);
        };
        check("http://a/..", &[], ErrorKind::BadPath);
        check("http://a/%00", &[], ErrorKind::BadPath);
        check("http://a/x%2fy", &[], ErrorKind::BadPath);
        check(
            &format!("http://a/{}", "x".repeat(100)),
            &[],
            ErrorKind::TargetTooLong,
        );
        check("/", &[], ErrorKind::BadRequest);
        check("http://u@a/", &[], ErrorKind::BadRequest);
        check("http://a/", &[("host", "b")], ErrorKind::AmbiguousRequest);
        check(
            "http://a/",
            &[("host", "a"), ("host", "a")],
            ErrorKind::AmbiguousRequest,
        );
        check(
            "http://a/",
            &[("content-length", "1"), ("content-length", "1")],
            ErrorKind::AmbiguousRequest,
        );
        check(
            "http://a/",
            &[("content-length", "+1")],
            ErrorKind::AmbiguousRequest,
        );
        check("http://a/", &[("x", " 1")], ErrorKind::BadRequest);
        check("http://a/", &[("x", "1\t")], ErrorKind::BadRequest);
        check(
            "http://a/",
            &[("expect", "wonders")],
            ErrorKind::ExpectationFailed,
        );
        check("http://a/", &[("x", "1"); 9], ErrorKind::HeadTooLarge);
    }
}
