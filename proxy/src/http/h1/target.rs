//! The forms of a request target (RFC 9112 section 3.2).

use bytes::Bytes;
use http::Method;
use http::uri::{Authority, PathAndQuery};

use crate::config::PathRules;
use crate::error::ErrorKind;
use crate::http::authority::read_authority;
use crate::http::error::HeadError;
use crate::http::{Role, TargetForm, path};

/// A target, read.
pub(super) struct Target {
    /// The origin form has none; that of others outranks `Host`.
    pub authority: Option<Authority>,
    pub path: PathAndQuery,
    pub form: TargetForm,
}

/// Reads `target`, which lies inside `head`. A gateway serves no CONNECT, which does not
/// get here then.
pub(super) fn read_target(
    head: &Bytes,
    target: &[u8],
    method: &Method,
    rules: &PathRules,
    role: Role,
) -> Result<Target, HeadError> {
    match target {
        _ if *method == Method::CONNECT => {
            let authority = read_authority(head.slice_ref(target)).map_err(HeadError::target)?;
            Ok(Target {
                authority: Some(with_port(authority)?),
                path: PathAndQuery::from_static("*"),
                form: TargetForm::Authority,
            })
        }
        [b'/', ..] => Ok(Target {
            authority: None,
            path: read_path(head, target, rules)?,
            form: TargetForm::Origin,
        }),
        b"*" if *method == Method::OPTIONS => Ok(Target {
            authority: None,
            path: PathAndQuery::from_static("*"),
            form: TargetForm::Origin,
        }),
        b"*" => Err(HeadError::bad("target * is for OPTIONS only")),
        _ => read_absolute(head, target, method, rules, role),
    }
}

/// The target of CONNECT, which has no port to fall back to (RFC 9110 section 9.3.6).
pub(in crate::http) fn with_port(authority: Authority) -> Result<Authority, HeadError> {
    match authority.port_u16() {
        Some(port) if port > 0 => Ok(authority),
        Some(_) | None => Err(HeadError::target("a target of CONNECT without a port")),
    }
}

fn read_path(head: &Bytes, target: &[u8], rules: &PathRules) -> Result<PathAndQuery, HeadError> {
    let bad_path = |why| HeadError::new(ErrorKind::BadPath, why);
    // Checked here and not by the type, which has no kind of error for it.
    if target.len() >= usize::from(u16::MAX) {
        let why = "the target is longer than 65,534 bytes";
        return Err(HeadError::new(ErrorKind::TargetTooLong, why));
    }
    let normal = match path::changed(target, rules).map_err(bad_path)? {
        None => head.slice_ref(target),
        Some(changed) => Bytes::from(changed),
    };
    PathAndQuery::from_maybe_shared(normal).map_err(|_| bad_path("illegal character in the target"))
}

/// `http://host/path`. `https` has to come over TLS (RFC 9110 section 7.4), and
/// this connection is none.
fn read_absolute(
    head: &Bytes,
    target: &[u8],
    method: &Method,
    rules: &PathRules,
    role: Role,
) -> Result<Target, HeadError> {
    const SCHEME: &[u8] = b"http://";
    let is_https = target
        .get(..8)
        .is_some_and(|start| start.eq_ignore_ascii_case(b"https://"));
    if is_https && role == Role::Proxy {
        return Err(HeadError::target("a target of https, for which CONNECT is"));
    }
    let (scheme, rest) = target
        .split_at_checked(SCHEME.len())
        .ok_or(HeadError::bad("malformed target"))?;
    if !scheme.eq_ignore_ascii_case(SCHEME) {
        return Err(HeadError::bad("malformed target, or one of another scheme"));
    }
    let end = memchr::memchr3(b'/', b'?', b'#', rest).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let authority = read_authority(head.slice_ref(authority)).map_err(HeadError::bad)?;
    let path = match path {
        // What the last proxy must make of it (RFC 9112 section 3.2.4).
        [] if *method == Method::OPTIONS => PathAndQuery::from_static("*"),
        [] => PathAndQuery::from_static("/"),
        [b'/', ..] => read_path(head, path, rules)?,
        query => {
            let path = Bytes::from([b"/", query].concat());
            read_path(&path, &path, rules)?
        }
    };
    Ok(Target {
        authority: Some(authority),
        path,
        form: TargetForm::Absolute,
    })
}
