//! Who is answered. Without this a page in a browser could read the admin
//! address through a host name of its own that leads here, and could reload.

use std::net::IpAddr;

use http::header::{AUTHORIZATION, HOST, ORIGIN};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use sha2::{Digest, Sha256};

use crate::config::Admin;

/// The names that are answered to, and the token that changes need.
#[derive(Debug)]
pub struct Access {
    /// In lower case.
    hosts: Vec<String>,
    /// SHA-256 of the token.
    token: Option<[u8; 32]>,
}

/// The way a request came.
#[derive(Debug, Clone, Copy)]
pub enum Via {
    /// No browser can use it, so any host name does.
    Unix,
    /// The address that the client connected to.
    Tcp(IpAddr),
}

/// Why a request is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("a request needs one Host")]
    NoHost,
    #[error("not a host name of this address; further ones are configured as admin.hosts")]
    ForeignHost,
    #[error("changes are not taken from a page of another origin")]
    ForeignOrigin,
    #[error("changes need the token, as Authorization: Bearer")]
    NoToken,
}

impl Refusal {
    pub fn status(self) -> StatusCode {
        match self {
            Refusal::NoHost => StatusCode::BAD_REQUEST,
            Refusal::ForeignHost => StatusCode::MISDIRECTED_REQUEST,
            Refusal::ForeignOrigin => StatusCode::FORBIDDEN,
            Refusal::NoToken => StatusCode::UNAUTHORIZED,
        }
    }
}

impl From<&Admin> for Access {
    fn from(admin: &Admin) -> Self {
        Self {
            hosts: admin.hosts.iter().map(|host| plain(host)).collect(),
            token: admin.token.as_ref().map(|token| digest(token.as_bytes())),
        }
    }
}

/// For a configuration that has no admin address any more: the names that need
/// no configuration, and a token that nobody knows.
impl Default for Access {
    fn default() -> Self {
        Self {
            hosts: Vec::new(),
            token: Some([0; 32]),
        }
    }
}

impl Access {
    /// Whether a request may be answered at all.
    pub fn check(&self, head: &Parts, via: Via) -> Result<(), Refusal> {
        let Via::Tcp(address) = via else {
            return Ok(());
        };
        let host = host(&head.headers).ok_or(Refusal::NoHost)?;
        let named = [Some(&host), head.uri.authority()];
        let is_own = |authority: &Authority| self.is_own(authority, address);
        if named.into_iter().flatten().all(is_own) {
            Ok(())
        } else {
            Err(Refusal::ForeignHost)
        }
    }

    /// Whether it may also change something.
    pub fn check_change(&self, head: &Parts) -> Result<(), Refusal> {
        if let Some(origin) = head.headers.get(ORIGIN)
            && !is_same_origin(origin, &head.headers)
        {
            return Err(Refusal::ForeignOrigin);
        }
        match &self.token {
            Some(token) if !carries(token, &head.headers) => Err(Refusal::NoToken),
            Some(_) | None => Ok(()),
        }
    }

    /// The port does not matter: it may have been forwarded.
    fn is_own(&self, authority: &Authority, address: IpAddr) -> bool {
        if authority.as_str().contains('@') {
            return false;
        }
        let host = plain(authority.host());
        let is_known = match host.parse::<IpAddr>() {
            Ok(named) => named == address || named.is_loopback(),
            Err(_) => host == "localhost",
        };
        is_known || self.hosts.contains(&host)
    }
}

/// Lower case, without brackets and the dot of the root.
fn plain(host: &str) -> String {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let host = host.strip_suffix('.').unwrap_or(host);
    host.to_ascii_lowercase()
}

fn host(headers: &HeaderMap) -> Option<Authority> {
    Authority::try_from(only(headers, &HOST)?.as_bytes()).ok()
}

fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (value, None) => value,
        _ => None,
    }
}

/// Whether a page came from the very host and port that it asks.
fn is_same_origin(origin: &HeaderValue, headers: &HeaderMap) -> bool {
    let (Ok(origin), Some(host)) = (origin.to_str(), only(headers, &HOST)) else {
        return false;
    };
    let authority = origin
        .strip_prefix("http://")
        .or_else(|| origin.strip_prefix("https://"));
    authority.is_some_and(|authority| authority.as_bytes().eq_ignore_ascii_case(host.as_bytes()))
}

/// Compares digests and all of their bytes, so that the time it takes tells
/// nothing.
fn carries(token: &[u8; 32], headers: &HeaderMap) -> bool {
    let Some(value) = only(headers, &AUTHORIZATION) else {
        return false;
    };
    let Some((scheme, given)) = value.as_bytes().split_at_checked("Bearer ".len()) else {
        return false;
    };
    let given = digest(given);
    let difference = token.iter().zip(given).fold(0, |sum, (a, b)| sum | (a ^ b));
    scheme.eq_ignore_ascii_case(b"Bearer ") && std::hint::black_box(difference) == 0
}

fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::AdminAddress;
    use http::Request;

    const HERE: Via = Via::Tcp(IpAddr::V4(std::net::Ipv4Addr::new(10, 1, 2, 3)));

    fn access() -> Access {
        Access::from(&Admin {
            address: AdminAddress::Unix("unused".into()),
            hosts: vec!["Lockgate.Internal".into(), "192.0.2.1".into()],
            token: Some("s3cret".into()),
        })
    }

    fn head(target: &str, fields: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().uri(target);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn only_own_host_names_are_answered_to() {
        for own in [
            "localhost",
            "LOCALHOST:9901",
            "localhost.",
            "127.0.0.1:1",
            "[::1]:9901",
            "10.1.2.3",
            "10.1.2.3:9901",
            "lockgate.internal",
            "LockGate.Internal.:80",
            "192.0.2.1:80",
        ] {
            check_host(&[own], Ok(()));
        }
        for foreign in [
            "evil.example",
            "localhost.evil.example",
            "evil.localhost",
            "10.1.2.4",
            "localhost@evil.example",
            "evil.example@localhost",
            "0.0.0.0:9901",
        ] {
            check_host(&[foreign], Err(Refusal::ForeignHost));
        }
        check_host(&[], Err(Refusal::NoHost));
        check_host(&[""], Err(Refusal::NoHost));
        check_host(&["a b"], Err(Refusal::NoHost));
        check_host(&["localhost", "localhost"], Err(Refusal::NoHost));
    }

    fn check_host(hosts: &[&str], expected: Result<(), Refusal>) {
        let fields: Vec<_> = hosts.iter().map(|host| ("host", *host)).collect();
        let head = head("/ready", &fields);
        assert_eq!(access().check(&head, HERE), expected, "{hosts:?}");
        assert_eq!(access().check(&head, Via::Unix), Ok(()), "{hosts:?}");
    }

    #[test]
    fn an_absolute_target_must_name_an_own_host_too() {
        let fields = [("host", "localhost")];
        let own = head("http://localhost/ready", &fields);
        assert_eq!(access().check(&own, HERE), Ok(()));
        let foreign = head("http://evil.example/ready", &fields);
        assert_eq!(access().check(&foreign, HERE), Err(Refusal::ForeignHost));
    }

    #[test]
    fn changes_want_the_token_and_no_foreign_origin() {
        let token = ("authorization", "Bearer s3cret");
        check_change(&[token], Ok(()));
        check_change(&[("authorization", "bearer s3cret")], Ok(()));
        check_change(&[], Err(Refusal::NoToken));
        check_change(&[token, token], Err(Refusal::NoToken));
        for wrong in [
            "Bearer",
            "Bearer ",
            "Bearer s3cre",
            "Bearer s3cret2",
            "Basic s3cret",
        ] {
            check_change(&[("authorization", wrong)], Err(Refusal::NoToken));
        }
        check_change(&[token, ("origin", "http://localhost:9901")], Ok(()));
        for foreign in [
            "null",
            "http://localhost:3000",
            "http://localhost",
            "http://evil.example",
            "http://localhost:9901.evil.example",
            "file://localhost:9901",
            "",
        ] {
            check_change(&[token, ("origin", foreign)], Err(Refusal::ForeignOrigin));
        }
    }

    fn check_change(fields: &[(&str, &str)], expected: Result<(), Refusal>) {
        let host = ("host", "localhost:9901");
        let fields: Vec<_> = [host].into_iter().chain(fields.iter().copied()).collect();
        let head = head("/reload", &fields);
        assert_eq!(access().check_change(&head), expected, "{fields:?}");
    }

    #[test]
    fn without_a_token_none_is_wanted() {
        let access = Access {
            hosts: vec![],
            token: None,
        };
        assert_eq!(access.check_change(&head("/reload", &[])), Ok(()));
    }
}
