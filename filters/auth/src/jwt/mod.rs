//! JSON Web Tokens (RFC 7519) in the compact form of RFC 7515.
//!
//! Takes a token and the time, gives who it names or what is wrong with it.
//! The key decides the algorithm: a header's `alg` only chooses among keys that
//! were made for it, and never how a key is used. What a token says is not
//! looked at before its signature was verified, but for `alg`, `kid` and `crit`.

mod claims;
mod jwks;
mod keys;
mod set;
#[cfg(test)]
mod tests;
mod verified;

use std::borrow::Cow;
use std::cell::RefCell;

use base64ct::{Base64UrlUnpadded, Encoding};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use crate::config::Algorithm;
use crate::digest::Fingerprint;
use crate::identity::{Identity, Method, Refusal, TokenError};

use verified::Verified;

pub use claims::{ClaimRules, Requirement};
pub use jwks::{Skipped, read as read_jwk};
pub use keys::{Key, Keys, MAX_TRIED, VerifyingKey};
pub use set::{KeyRules, read_set};

/// Longer tokens are refused before they are decoded.
pub const MAX_TOKEN: usize = 8 * 1024;

/// The tokens that are accepted.
pub struct Jwt {
    keys: Keys,
    /// Those that the issuer publishes, as far as they are known.
    fetched: Option<RefCell<Keys>>,
    rules: ClaimRules,
    /// Claims that become attributes.
    attributes: Vec<String>,
    verified: Verified,
}

/// What is read of a header. A member that occurs twice is an error.
#[derive(Deserialize)]
struct Header<'a> {
    #[serde(borrow)]
    alg: Cow<'a, str>,
    #[serde(borrow)]
    kid: Option<Cow<'a, str>>,
    crit: Option<IgnoredAny>,
}

impl Jwt {
    /// Tokens signed with these keys whose claims keep these rules; the claims
    /// in `attributes` go to the identity.
    pub fn new(keys: Keys, rules: ClaimRules, attributes: Vec<String>) -> Self {
        Self {
            keys,
            fetched: None,
            rules,
            attributes,
            verified: Verified::new(),
        }
    }

    /// The same with keys that are fetched, of which none is known yet.
    pub fn with_fetched(self) -> Self {
        let fetched = Some(RefCell::new(Keys::new(Vec::new())));
        Self { fetched, ..self }
    }

    /// From now on these are the keys that were fetched.
    pub fn replace_fetched(&self, keys: Keys) {
        if let Some(fetched) = &self.fetched {
            fetched.replace(keys);
            // What was verified may have been by a key that is gone.
            self.verified.forget();
        }
    }

    /// Who this token names, at `now` seconds since 1970.
    pub fn identify(&self, token: &[u8], now: f64) -> Result<Identity<'_>, Refusal> {
        let claims = self.verify(token).map_err(Refusal::Token)?;
        self.rules.check(&claims, now)?;
        Ok(Identity {
            method: Method::Jwt,
            subject: subject(&claims).map_err(Refusal::Token)?,
            claims: self.asked_for(&claims),
        })
    }

    /// The claims of a token whose signature is good.
    fn verify(&self, token: &[u8]) -> Result<Map<String, Value>, TokenError> {
        if token.len() > MAX_TOKEN {
            return Err(TokenError::TooLong);
        }
        let parts = Parts::of(token).ok_or(TokenError::Malformed)?;
        let fingerprint = Fingerprint::of(&[token]);
        if !self.verified.contains(&fingerprint) {
            self.verify_signature(&parts)?;
            self.verified.keep(fingerprint);
        }
        parse(&decode(parts.claims)?)
    }

    fn verify_signature(&self, parts: &Parts) -> Result<(), TokenError> {
        let header = decode(parts.header)?;
        let header: Header = parse(&header)?;
        // RFC 7515 section 4.1.11: whoever does not understand an extension that
        // is marked critical refuses. None is understood here.
        if header.crit.is_some() {
            return Err(TokenError::CriticalExtension);
        }
        let algorithm = Algorithm::find(&header.alg).ok_or(TokenError::UnsupportedAlgorithm)?;
        let signature = decode(parts.signature)?;
        let kid = header.kid.as_deref();
        let verify = |keys: &Keys| keys.verify(algorithm, kid, parts.signed, &signature);
        let own = verify(&self.keys);
        let (Err(_), Some(fetched)) = (own, &self.fetched) else {
            return own;
        };
        verify(&fetched.borrow()).map_err(|error| match error {
            // There may be one tomorrow.
            TokenError::UnsupportedAlgorithm => TokenError::UnknownKey,
            other => other,
        })
    }

    fn asked_for(&self, claims: &Map<String, Value>) -> Vec<(&str, String)> {
        let found = |name: &String| match claims.get(name)? {
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        };
        self.attributes
            .iter()
            .filter_map(|name| Some((name.as_str(), found(name)?)))
            .collect()
    }
}

/// The key that a token names, whether it is a good one or not.
pub fn named_key(token: &[u8]) -> Option<String> {
    let header = decode(Parts::of(token)?.header).ok()?;
    let header: Header = parse(&header).ok()?;
    header.kid.map(Cow::into_owned)
}

/// The three parts of a token, and the first two as they were signed.
struct Parts<'a> {
    signed: &'a [u8],
    header: &'a [u8],
    claims: &'a [u8],
    signature: &'a [u8],
}

impl<'a> Parts<'a> {
    fn of(token: &'a [u8]) -> Option<Self> {
        let mut dots = (0..).zip(token).filter(|(_, byte)| **byte == b'.');
        let (first, _) = dots.next()?;
        let (second, _): (usize, _) = dots.next()?;
        if dots.next().is_some() {
            return None;
        }
        Some(Self {
            signed: &token[..second],
            header: &token[..first],
            claims: &token[first + 1..second],
            signature: &token[second + 1..],
        })
    }
}

fn decode(part: &[u8]) -> Result<Vec<u8>, TokenError> {
    let mut bytes = vec![0; part.len()];
    let length = Base64UrlUnpadded::decode(part, &mut bytes)
        .map_err(|_| TokenError::Malformed)?
        .len();
    bytes.truncate(length);
    Ok(bytes)
}

fn parse<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, TokenError> {
    serde_json::from_slice(json).map_err(|_| TokenError::Malformed)
}

/// `sub`, where it is something that a header field can carry.
fn subject(claims: &Map<String, Value>) -> Result<Option<Cow<'static, str>>, TokenError> {
    match claims.get("sub") {
        None => Ok(None),
        Some(Value::String(text)) if is_name(text) => Ok(Some(Cow::Owned(text.clone()))),
        Some(_) => Err(TokenError::UnusableSubject),
    }
}

/// Whether a text can be passed on as a field value and come out the same.
pub fn is_name(text: &str) -> bool {
    !text.is_empty() && text.trim() == text && !text.chars().any(char::is_control)
}
