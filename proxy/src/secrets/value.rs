//! What a secret is at a time, and what can be done with it.

use std::borrow::Cow;
use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;

use crate::config::SecretBytes;

/// The bytes of a secret.
pub struct Value {
    bytes: SecretBytes,
    digest: [u8; 32],
    /// Whoever saw it may still have it, and log it.
    before: Option<SecretBytes>,
}

impl Value {
    pub fn first(bytes: SecretBytes) -> Self {
        Self {
            digest: Sha256::digest(&*bytes).into(),
            bytes,
            before: None,
        }
    }

    pub fn followed_by(&self, bytes: SecretBytes) -> Self {
        Self {
            before: Some(self.bytes.clone()),
            ..Self::first(bytes)
        }
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether these are its bytes. Digests are compared, so that the time tells
    /// neither where they differ nor how long the secret is, and in constant time,
    /// so that it does not tell of the digest either. What no secret can be is not
    /// looked at, however long it is.
    pub fn matches(&self, candidate: &[u8]) -> bool {
        if candidate.len() > SecretBytes::MAX {
            return false;
        }
        let digest: [u8; 32] = Sha256::digest(candidate).into();
        self.digest.ct_eq(&digest).into()
    }

    /// HMAC-SHA-256 with the secret as the key (RFC 2104).
    pub fn sign(&self, data: &[u8]) -> [u8; 32] {
        let mac = Hmac::<Sha256>::new_from_slice(&self.bytes);
        let mac = mac.expect("HMAC takes keys of any length");
        mac.chain_update(data).finalize().into_bytes().into()
    }

    /// The texts by which it shows, and by which it showed before it last changed.
    pub(super) fn texts(&self) -> impl Iterator<Item = Cow<'_, str>> {
        let values = std::iter::once(&self.bytes).chain(&self.before);
        values.map(|bytes| String::from_utf8_lossy(bytes))
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(bytes: &[u8]) -> Value {
        Value::first(SecretBytes::new(bytes).unwrap())
    }

    #[test]
    fn it_matches_itself_and_nothing_else() {
        let check = |candidate: &[u8], same: bool| {
            assert_eq!(
                value(b"open sesame").matches(candidate),
                same,
                "{candidate:?}"
            );
        };
        check(b"open sesame", true);
        check(b"", false);
        check(b"open", false);
        check(b"open sesame ", false);
        check(b"open sesamE", false);
        check(&[0; 1 << 20], false);
    }

    #[test]
    fn it_signs_as_the_rfc_says() {
        // RFC 4231, test case 2.
        let signed = value(b"Jefe").sign(b"what do ya want for nothing?");
        let hex: String = signed.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex,
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }
}
