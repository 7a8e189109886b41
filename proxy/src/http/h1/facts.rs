//! What the fields of a request head say about its body and its connection.

use http::header::{CONNECTION, EXPECT};
use http::{HeaderMap, Version};

use super::length::request_framing;
use crate::error::ErrorKind;
use crate::http::Framing;
use crate::http::error::HeadError;
use crate::http::hop::{is_token, list};
use crate::http::upgrade;

/// What `Connection`, `Content-Length`, `Expect`, `Transfer-Encoding` and `Upgrade`
/// say.
pub(super) struct Facts {
    pub framing: Framing,
    pub keep_alive: bool,
    /// Whether a body comes and the client waits for `100 Continue` before it.
    pub expects_continue: bool,
    /// Whether another protocol is asked for.
    pub asks_upgrade: bool,
}

impl Facts {
    /// Of a head that has none of the fields that `read_facts` looks at.
    pub(super) fn of_no_field(version: Version) -> Self {
        Self {
            framing: Framing::None,
            keep_alive: version == Version::HTTP_11,
            expects_continue: false,
            asks_upgrade: false,
        }
    }
}

pub(super) fn read_facts(version: Version, headers: &HeaderMap) -> Result<Facts, HeadError> {
    let framing = request_framing(version, headers)?;
    Ok(Facts {
        framing,
        keep_alive: read_keep_alive(version, headers),
        expects_continue: read_expect(version, headers)? && framing != Framing::None,
        asks_upgrade: upgrade::read_asks(version, headers, framing),
    })
}

/// Whether `Expect: 100-continue` is asked for (RFC 9110 section 10.1.1).
pub fn read_expect(version: Version, headers: &HeaderMap) -> Result<bool, HeadError> {
    if version == Version::HTTP_10 || !headers.contains_key(EXPECT) {
        return Ok(false);
    }
    let mut asks = false;
    for expected in list(headers, EXPECT) {
        if !is_token(expected, "100-continue") {
            return Err(HeadError::new(
                ErrorKind::ExpectationFailed,
                "unknown expectation",
            ));
        }
        asks = true;
    }
    Ok(asks)
}

fn read_keep_alive(version: Version, headers: &HeaderMap) -> bool {
    let mut keep_alive = version == Version::HTTP_11;
    for option in list(headers, CONNECTION) {
        if is_token(option, "close") {
            return false;
        }
        keep_alive |= is_token(option, "keep-alive");
    }
    keep_alive
}
