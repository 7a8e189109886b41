//! The head of a request, from bytes to values.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TRANSFER_ENCODING, UPGRADE};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Method, Version};
use memchr::memchr;

use super::facts::{Facts, read_facts};
use super::fields::{read_value, split_field};
use super::scan::HeadScanner;
use super::target::{Target, read_target};
use crate::config::{Limits, PathRules};
use crate::error::ErrorKind;
use crate::http::authority::{is_same, read_authority};
use crate::http::disguise::may_be_disguised;
use crate::http::error::HeadError;
use crate::http::hops::is_of_hops;
use crate::http::{Framing, ParsedRequest, RequestHead, Role, TargetForm};

/// Takes one request head off the front of `buffer`, and nothing else. `None`
/// while it is incomplete; calling again looks only at what has arrived since.
pub fn parse_request(
    buffer: &mut BytesMut,
    scanner: &mut HeadScanner,
    limits: &Limits,
    rules: &PathRules,
    role: Role,
) -> Result<Option<ParsedRequest>, HeadError> {
    let Some(end) = scanner.find_end(buffer, limits)? else {
        return Ok(None);
    };
    let head = buffer.split_to(end).freeze();
    let parsed = read_head(head, scanner, rules, role);
    scanner.reset();
    parsed.map(Some)
}

fn read_head(
    head: Bytes,
    scanner: &HeadScanner,
    rules: &PathRules,
    role: Role,
) -> Result<ParsedRequest, HeadError> {
    let (request_line, fields) = scanner.lines().ok_or(HeadError::bad("no request line"))?;
    let (method, target, version) = split_request_line(&head[request_line.clone()])?;
    if method == Method::CONNECT && role == Role::Gateway {
        return Err(HeadError::new(
            ErrorKind::NotImplemented,
            "CONNECT is not served",
        ));
    }
    let target = read_target(&head, target, &method, rules, role)?;
    let Fields {
        headers,
        host,
        has_facts,
        may_be_disguised,
        is_told_by_hop,
    } = read_fields(&head, fields)?;
    let facts = if has_facts {
        read_facts(version, &headers)?
    } else {
        Facts::of_no_field(version)
    };
    let form = target.form;
    let asks_upgrade = facts.asks_upgrade && form != TargetForm::Authority;
    let framing = match (form, facts.framing) {
        // Some say so where there is none.
        (TargetForm::Authority, Framing::None | Framing::Length(0)) => Framing::None,
        (TargetForm::Authority, _) => return Err(HeadError::bad("CONNECT with a body")),
        (_, framing) => framing,
    };
    let (authority, path) = join_host(target, host, version, role)?;
    Ok(ParsedRequest {
        head: RequestHead {
            method,
            scheme: Scheme::HTTP,
            authority,
            path,
            headers: with_plain_length(headers, framing),
        },
        version,
        form,
        framing,
        keep_alive: facts.keep_alive,
        expects_continue: facts.expects_continue,
        asks_upgrade,
        upgrade: None,
        may_be_disguised,
        is_told_by_hop,
    })
}

/// `method SP target SP version`, with single spaces.
fn split_request_line(line: &[u8]) -> Result<(Method, &[u8], Version), HeadError> {
    const MALFORMED: HeadError = HeadError::bad("malformed request line");
    let space = memchr(b' ', line).ok_or(MALFORMED)?;
    let (method, rest) = (&line[..space], &line[space + 1..]);
    let space = memchr(b' ', rest).ok_or(MALFORMED)?;
    let (target, version) = (&rest[..space], &rest[space + 1..]);
    let method = Method::from_bytes(method).map_err(|_| HeadError::bad("illegal method"))?;
    Ok((method, target, read_version(version)?))
}

fn read_version(text: &[u8]) -> Result<Version, HeadError> {
    match text {
        b"HTTP/1.1" => Ok(Version::HTTP_11),
        b"HTTP/1.0" => Ok(Version::HTTP_10),
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            let why = "neither HTTP/1.0 nor HTTP/1.1";
            Err(HeadError::new(ErrorKind::BadVersion, why))
        }
        _ => Err(HeadError::bad("malformed version")),
    }
}

struct Fields {
    /// Without `Host`, which becomes the authority.
    headers: HeaderMap,
    host: Option<Bytes>,
    /// Whether a field came that `read_facts` looks at. Most requests have none,
    /// and need not be searched for each.
    has_facts: bool,
    may_be_disguised: bool,
    is_told_by_hop: bool,
}

fn read_fields(head: &Bytes, lines: &[Range<usize>]) -> Result<Fields, HeadError> {
    let too_many = |_| HeadError::new(ErrorKind::HeadTooLarge, "more fields than a map can hold");
    let mut fields = Fields {
        // Room for what this proxy adds on the way.
        headers: HeaderMap::try_with_capacity(lines.len() + 6).map_err(too_many)?,
        host: None,
        has_facts: false,
        may_be_disguised: false,
        is_told_by_hop: false,
    };
    for line in lines {
        let line = &head[line.clone()];
        let (name, value) = split_field(line).map_err(HeadError::bad)?;
        let as_it_came = &line[..name.as_str().len()];
        fields.may_be_disguised |= may_be_disguised(as_it_came);
        fields.is_told_by_hop |= is_of_hops(as_it_came);
        match name {
            HOST => {
                if fields.host.replace(head.slice_ref(value)).is_some() {
                    return Err(HeadError::ambiguous("more than one host"));
                }
                continue;
            }
            CONNECTION | CONTENT_LENGTH | EXPECT | TRANSFER_ENCODING | UPGRADE => {
                fields.has_facts = true;
            }
            _ => {}
        }
        let value = read_value(head, value).map_err(HeadError::bad)?;
        fields.headers.try_append(name, value).map_err(too_many)?;
    }
    Ok(fields)
}

/// A target with a host and `Host` must agree. A proxy is to ignore `Host` then
/// (RFC 9112 section 3.2.2), but whoever stands before or behind a gateway may have
/// gone by it.
fn join_host(
    target: Target,
    host: Option<Bytes>,
    version: Version,
    role: Role,
) -> Result<(Option<Authority>, PathAndQuery), HeadError> {
    let Some(host) = host else {
        if version == Version::HTTP_11 {
            return Err(HeadError::bad("no host"));
        }
        return Ok((target.authority, target.path));
    };
    let host = read_authority(host).map_err(HeadError::bad)?;
    match target.authority {
        Some(authority) if role == Role::Gateway && !is_same(&authority, &host) => {
            Err(HeadError::ambiguous("host differs from the target"))
        }
        Some(authority) => Ok((Some(authority), target.path)),
        None => Ok((Some(host), target.path)),
    }
}

/// `Content-Length: 007` is legal, but some would read it as octal: it goes on in
/// its plain form.
pub fn with_plain_length(mut headers: HeaderMap, framing: Framing) -> HeaderMap {
    if let Framing::Length(length) = framing
        && let Some(value) = headers.get_mut(CONTENT_LENGTH)
        && value.len() > 1
        && value.as_bytes()[0] == b'0'
    {
        *value = HeaderValue::from(length);
    }
    headers
}
