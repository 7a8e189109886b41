//! JSON Web Keys (RFC 7517, RFC 7518 section 6, RFC 8037 section 2).

use base64ct::{Base64UrlUnpadded, Encoding};

use super::keys::{Key, VerifyingKey};
use crate::config::{Algorithm, Jwk};

/// Why a key of a set was left out (RFC 7517 section 5).
#[derive(Debug, PartialEq, Eq)]
pub enum Skipped {
    /// For encryption, or for signing only.
    OtherPurpose,
    /// A kind, curve or algorithm that is not supported.
    Unsupported,
}

/// The key, or why it was left out; a key that is broken is an error, with the
/// member that is wrong.
pub fn read(jwk: &Jwk) -> Result<Result<Key, Skipped>, (&'static str, String)> {
    if !is_for_verifying(jwk) {
        return Ok(Err(Skipped::OtherPurpose));
    }
    let Some(algorithm) = algorithm_of(jwk) else {
        return Ok(Err(Skipped::Unsupported));
    };
    if jwk.d.is_some() {
        return Err((
            "/d",
            "this is a private key: give the public part only".into(),
        ));
    }
    let key = match algorithm {
        Algorithm::HS256 => {
            VerifyingKey::from_secret(&member("/k", &jwk.k)?).map_err(|error| ("/k", error))
        }
        Algorithm::RS256 => VerifyingKey::from_rsa(&member("/n", &jwk.n)?, &member("/e", &jwk.e)?)
            .map_err(|error| ("/n", error)),
        Algorithm::ES256 => {
            VerifyingKey::from_p256(&coordinate("/x", &jwk.x)?, &coordinate("/y", &jwk.y)?)
                .map_err(|error| ("/x", error))
        }
        Algorithm::EdDSA => {
            VerifyingKey::from_ed25519(&coordinate("/x", &jwk.x)?).map_err(|error| ("/x", error))
        }
    }?;
    let kid = jwk.kid.clone();
    Ok(Ok(Key { kid, key }))
}

fn is_for_verifying(jwk: &Jwk) -> bool {
    let purpose = jwk
        .purpose
        .as_deref()
        .is_none_or(|purpose| purpose == "sig");
    let ops = jwk.key_ops.as_ref();
    purpose && ops.is_none_or(|ops| ops.iter().any(|op| op == "verify"))
}

/// The algorithm that the key's kind allows, where `alg` does not say another.
fn algorithm_of(jwk: &Jwk) -> Option<Algorithm> {
    let algorithm = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
        ("oct", _) => Algorithm::HS256,
        ("RSA", _) => Algorithm::RS256,
        ("EC", Some("P-256")) => Algorithm::ES256,
        ("OKP", Some("Ed25519")) => Algorithm::EdDSA,
        _ => return None,
    };
    match jwk.alg.as_deref() {
        None => Some(algorithm),
        // RFC 9864 gives EdDSA on this curve a name of its own.
        Some("Ed25519") => (algorithm == Algorithm::EdDSA).then_some(algorithm),
        Some(name) => (name == algorithm.name()).then_some(algorithm),
    }
}

fn member(at: &'static str, value: &Option<String>) -> Result<Vec<u8>, (&'static str, String)> {
    let text = value
        .as_deref()
        .ok_or_else(|| (at, "this member is missing".to_owned()))?;
    Base64UrlUnpadded::decode_vec(text)
        .map_err(|_| (at, "expected base64url without padding".to_owned()))
}

fn coordinate(
    at: &'static str,
    value: &Option<String>,
) -> Result<[u8; 32], (&'static str, String)> {
    let bytes = member(at, value)?;
    let length = bytes.len();
    bytes
        .try_into()
        .map_err(|_| (at, format!("expected 32 bytes, found {length}")))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const SECRET: &str = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0i";
    const X: &str = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
    const Y: &str = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0";

    fn check(jwk: Value, expected: Result<Algorithm, Skipped>) {
        let read = read(&serde_json::from_value(jwk.clone()).unwrap());
        let found = read.map(|key| key.map(|key| key.key.algorithm()));
        assert_eq!(found, Ok(expected), "{jwk}");
    }

    #[test]
    fn the_kind_tells_the_algorithm() {
        check(json!({ "kty": "oct", "k": SECRET }), Ok(Algorithm::HS256));
        check(
            json!({ "kty": "EC", "crv": "P-256", "x": X, "y": Y }),
            Ok(Algorithm::ES256),
        );
        let with_more = json!({
            "kty": "EC", "crv": "P-256", "x": X, "y": Y, "use": "sig", "alg": "ES256",
            "key_ops": ["verify"], "x5t": "abc", "kid": "1"
        });
        check(with_more, Ok(Algorithm::ES256));
    }

    #[test]
    fn what_is_left_out() {
        check(
            json!({ "kty": "EC", "crv": "P-384" }),
            Err(Skipped::Unsupported),
        );
        check(
            json!({ "kty": "RSA", "alg": "RS512" }),
            Err(Skipped::Unsupported),
        );
        check(
            json!({ "kty": "RSA", "alg": "HS256" }),
            Err(Skipped::Unsupported),
        );
        check(
            json!({ "kty": "oct", "alg": "none" }),
            Err(Skipped::Unsupported),
        );
        check(json!({ "kty": "future" }), Err(Skipped::Unsupported));
        check(
            json!({ "kty": "RSA", "use": "enc" }),
            Err(Skipped::OtherPurpose),
        );
        check(
            json!({ "kty": "RSA", "key_ops": ["sign"] }),
            Err(Skipped::OtherPurpose),
        );
    }

    #[test]
    fn what_is_wrong() {
        let wrong = |jwk: Value| read(&serde_json::from_value(jwk).unwrap()).err().unwrap().0;
        assert_eq!(wrong(json!({ "kty": "oct" })), "/k");
        assert_eq!(wrong(json!({ "kty": "oct", "k": "c2hvcnQ" })), "/k");
        assert_eq!(wrong(json!({ "kty": "oct", "k": "+/+=" })), "/k");
        assert_eq!(wrong(json!({ "kty": "RSA", "n": "AQAB" })), "/e");
        assert_eq!(
            wrong(json!({ "kty": "RSA", "n": "AQAB", "e": "AQAB" })),
            "/n"
        );
        assert_eq!(
            wrong(json!({ "kty": "EC", "crv": "P-256", "x": X, "y": X })),
            "/x"
        );
        assert_eq!(
            wrong(json!({ "kty": "EC", "crv": "P-256", "x": X, "y": "AQAB" })),
            "/y"
        );
        assert_eq!(
            wrong(json!({ "kty": "OKP", "crv": "Ed25519", "x": "AQAB" })),
            "/x"
        );
        let private = json!({ "kty": "EC", "crv": "P-256", "x": X, "y": Y, "d": "AQAB" });
        assert_eq!(wrong(private), "/d");
    }
}
