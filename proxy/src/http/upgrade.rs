//! Requests that ask for another protocol on their connection (RFC 9110 section 7.8),
//! which is nearly always WebSocket (RFC 6455, over HTTP/2 RFC 8441).
//!
//! Whatever version carries it, the exchange sees the handshake in HTTP/1.1's form: a
//! request with `Upgrade`, an answer of status 101.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, HeaderValue, Method, Version};

use super::error::HeadError;
use super::framing::Framing;
use super::hop::{is_token, list};
use crate::config::WEBSOCKET;
use crate::error::ErrorKind;

/// The only version there is (RFC 6455 section 4.1).
pub const WEBSOCKET_VERSION: HeaderValue = HeaderValue::from_static("13");

/// RFC 6455 section 1.3.
const ACCEPT_SALT: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Bytes of a WebSocket key.
const KEY_BYTES: usize = 16;

/// The protocol that a connection is to go on in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upgrade {
    pub protocol: HeaderValue,
    /// What the answer to the handshake has to say, where it is one of WebSocket.
    accept: Option<HeaderValue>,
}

/// Whether a head of HTTP/1 asks for another protocol. Without `upgrade` among the
/// options of `Connection`, and with a body, it does not: such a field simply goes.
pub(super) fn read_asks(version: Version, headers: &HeaderMap, framing: Framing) -> bool {
    version == Version::HTTP_11
        && matches!(framing, Framing::None | Framing::Length(0))
        && headers.contains_key(UPGRADE)
        && list(headers, CONNECTION).any(|option| is_token(option, "upgrade"))
}

/// RFC 6455 section 4.2.1.
fn check_websocket(method: &Method, headers: &HeaderMap) -> Result<(), HeadError> {
    if *method != Method::GET {
        return Err(HeadError::bad("a WebSocket handshake that is no GET"));
    }
    check_version(headers)?;
    let mut keys = headers.get_all(SEC_WEBSOCKET_KEY).iter();
    let is_key = |key: &HeaderValue| {
        let key = STANDARD.decode(key.as_bytes());
        key.is_ok_and(|key| key.len() == KEY_BYTES)
    };
    match (keys.next(), keys.next()) {
        (Some(key), None) if is_key(key) => Ok(()),
        _ => Err(HeadError::bad("a WebSocket handshake without one key")),
    }
}

/// A handshake has one version. Several, of which one would do, could be read by the origin
/// in another way than here.
fn check_version(headers: &HeaderMap) -> Result<(), HeadError> {
    let mut versions = headers.get_all(SEC_WEBSOCKET_VERSION).iter();
    match (versions.next(), versions.next()) {
        (Some(version), None) if *version == WEBSOCKET_VERSION => Ok(()),
        (Some(version), None) if version.as_bytes().contains(&b',') => {
            Err(HeadError::bad("a list of WebSocket versions"))
        }
        (Some(_), Some(_)) => Err(HeadError::bad("more than one WebSocket version")),
        (Some(_) | None, None) | (None, Some(_)) => Err(HeadError::new(
            ErrorKind::UpgradeRequired,
            "no WebSocket version, or another than 13",
        )),
    }
}

/// Puts the fields on a head that make it a WebSocket handshake of HTTP/1. Its version is
/// what the client says.
pub(super) fn write_websocket(headers: &mut HeaderMap) -> Result<(), HeadError> {
    let key = STANDARD.encode(fastrand::u128(..).to_be_bytes());
    let key = HeaderValue::try_from(key).map_err(|_| HeadError::bad("no WebSocket key"))?;
    headers.insert(SEC_WEBSOCKET_KEY, key);
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static(WEBSOCKET));
    Ok(())
}

impl Upgrade {
    /// The first protocol of those that a head asks for which is among these. A
    /// handshake of WebSocket that breaks a rule is refused.
    pub fn choose(
        method: &Method,
        headers: &HeaderMap,
        allowed: &[HeaderValue],
    ) -> Result<Option<Self>, HeadError> {
        let chosen = list(headers, UPGRADE).find_map(|asked| {
            let is_it = |allowed: &&HeaderValue| allowed.as_bytes().eq_ignore_ascii_case(asked);
            allowed.iter().find(is_it)
        });
        let Some(protocol) = chosen else {
            return Ok(None);
        };
        let mut accepted = None;
        if is_token(protocol.as_bytes(), WEBSOCKET) {
            check_websocket(method, headers)?;
            accepted = headers.get(SEC_WEBSOCKET_KEY).map(accept);
        }
        Ok(Some(Self {
            protocol: protocol.clone(),
            accept: accepted,
        }))
    }

    /// Refuses an answer of status 101 that is not to what was asked.
    pub fn check_answer(&self, headers: &HeaderMap) -> Result<(), &'static str> {
        let mut protocols = list(headers, UPGRADE);
        let is_asked = |protocol: &[u8]| protocol.eq_ignore_ascii_case(self.protocol.as_bytes());
        if !protocols.next().is_some_and(is_asked) || protocols.next().is_some() {
            return Err("switches to another protocol than was asked for");
        }
        match &self.accept {
            Some(accept) if headers.get(SEC_WEBSOCKET_ACCEPT) != Some(accept) => {
                Err("an answer to another WebSocket handshake")
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Puts the fields on a head that make it an answer of HTTP/1.
    pub fn write_answer(&self, headers: &mut HeaderMap) {
        headers.insert(UPGRADE, self.protocol.clone());
        if let Some(accept) = &self.accept {
            headers.insert(SEC_WEBSOCKET_ACCEPT, accept.clone());
        }
    }
}

/// RFC 6455 section 4.2.2, step 5.
fn accept(key: &HeaderValue) -> HeaderValue {
    let salted = [key.as_bytes(), ACCEPT_SALT].concat();
    let accept = STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &salted));
    HeaderValue::try_from(accept).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    const KEY: (&str, &str) = ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    const VERSION: (&str, &str) = ("sec-websocket-version", "13");
    const ASKS: [(&str, &str); 2] = [
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "WebSocket"),
    ];

    fn map(lines: &[&[(&'static str, &'static str)]]) -> HeaderMap {
        let lines = lines.iter().copied().flatten();
        lines
            .map(|(name, value)| {
                let name = HeaderName::from_static(name);
                (name, HeaderValue::from_static(value))
            })
            .fold(HeaderMap::new(), |mut map, (name, value)| {
                map.append(name, value);
                map
            })
    }

    fn asks(headers: &HeaderMap) -> bool {
        read_asks(Version::HTTP_11, headers, Framing::None)
    }

    fn choose(headers: &HeaderMap, allowed: &[&'static str]) -> Result<Option<Upgrade>, ErrorKind> {
        let allowed: Vec<_> = allowed
            .iter()
            .copied()
            .map(HeaderValue::from_static)
            .collect();
        Upgrade::choose(&Method::GET, headers, &allowed).map_err(|error| error.kind)
    }

    #[test]
    fn who_asks_for_another_protocol() {
        let other = map(&[&[("connection", "upgrade"), ("upgrade", "tcp")]]);
        assert!(asks(&map(&[&ASKS, &[KEY, VERSION]])));
        assert!(asks(&other));
        // Of another hop, or of a version that has none.
        assert!(!asks(&map(&[&ASKS[1..], &[KEY, VERSION]])));
        assert!(!read_asks(Version::HTTP_10, &other, Framing::None));
        // The body would have to come first.
        assert!(!read_asks(Version::HTTP_11, &other, Framing::Chunked));
        assert!(!read_asks(Version::HTTP_11, &other, Framing::Length(1)));
        assert!(read_asks(Version::HTTP_11, &other, Framing::Length(0)));
    }

    #[test]
    fn handshakes_that_break_a_rule() {
        let check = |lines: &[(&'static str, &'static str)], wanted| {
            let headers = map(&[&ASKS, lines]);
            assert_eq!(choose(&headers, &["websocket"]), Err(wanted), "{lines:?}");
            // Where it is not allowed, nobody looks.
            assert_eq!(choose(&headers, &["tcp"]), Ok(None), "{lines:?}");
        };
        check(&[VERSION], ErrorKind::BadRequest);
        check(&[VERSION, KEY, KEY], ErrorKind::BadRequest);
        check(
            &[VERSION, ("sec-websocket-key", "c2hvcnQ=")],
            ErrorKind::BadRequest,
        );
        check(
            &[VERSION, ("sec-websocket-key", "no base64, 24 characters")],
            ErrorKind::BadRequest,
        );
        check(&[KEY], ErrorKind::UpgradeRequired);
        check(
            &[KEY, ("sec-websocket-version", "8")],
            ErrorKind::UpgradeRequired,
        );
        for twice in ["13", "8"] {
            let twice = ("sec-websocket-version", twice);
            check(&[KEY, VERSION, twice], ErrorKind::BadRequest);
            check(&[KEY, twice, VERSION], ErrorKind::BadRequest);
        }
        for list in ["13, 8", "13,13", "13,"] {
            let list = ("sec-websocket-version", list);
            check(&[KEY, list], ErrorKind::BadRequest);
        }
        let headers = map(&[&ASKS, &[KEY, VERSION]]);
        let allowed = [HeaderValue::from_static("websocket")];
        let refused = Upgrade::choose(&Method::POST, &headers, &allowed);
        assert_eq!(refused.unwrap_err().kind, ErrorKind::BadRequest);
    }

    #[test]
    fn example_of_rfc_6455() {
        let headers = map(&[&ASKS, &[KEY, VERSION]]);
        let upgrade = choose(&headers, &["spdy/3.1", "websocket"]);
        let upgrade = upgrade.unwrap().unwrap();
        assert_eq!(upgrade.protocol, "websocket");
        let mut answer = HeaderMap::new();
        upgrade.write_answer(&mut answer);
        assert_eq!(
            answer["sec-websocket-accept"],
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
        assert_eq!(upgrade.check_answer(&answer), Ok(()));
        answer.insert(SEC_WEBSOCKET_ACCEPT, HeaderValue::from_static("another"));
        assert!(upgrade.check_answer(&answer).is_err());
        assert!(
            upgrade
                .check_answer(&map(&[&[("upgrade", "tcp")]]))
                .is_err()
        );
    }

    #[test]
    fn the_first_that_is_allowed_is_chosen() {
        let headers = map(&[&[("upgrade", "h2c, TCP"), ("upgrade", "spdy/3.1")]]);
        let upgrade = choose(&headers, &["spdy/3.1", "tcp"]).unwrap().unwrap();
        assert_eq!(upgrade.protocol, "tcp");
        let mut answer = HeaderMap::new();
        upgrade.write_answer(&mut answer);
        assert_eq!(answer, map(&[&[("upgrade", "tcp")]]));
    }

    #[test]
    fn what_is_written_is_a_handshake() {
        let mut headers = map(&[&[VERSION]]);
        write_websocket(&mut headers).unwrap();
        assert!(asks(&headers));
        assert!(choose(&headers, &["websocket"]).unwrap().is_some());
    }
}
