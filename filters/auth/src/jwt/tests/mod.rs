//! Tokens of the RFCs, tokens signed here, and tokens that want to be taken for
//! such.

mod vectors;

use hmac::{KeyInit, Mac};
use p256::ecdsa::signature::Signer as _;
use rsa::pkcs1v15;
use rsa::signature::SignatureEncoding;
use rsa::{BoxedUint, RsaPrivateKey};
use serde_json::json;
use sha2::Sha256;

use super::*;
use vectors::*;

/// When the tokens of RFC 7515 expire.
const RFC_EXPIRY: f64 = 1_300_819_380.0;
const NOW: f64 = 1_700_000_000.0;
const SECRET: &[u8] = b"a secret that is long enough for it";

fn bytes(text: &str) -> Vec<u8> {
    Base64UrlUnpadded::decode_vec(text).unwrap()
}

fn sized<const N: usize>(text: &str) -> [u8; N] {
    bytes(text).try_into().unwrap()
}

fn hs256() -> VerifyingKey {
    VerifyingKey::from_secret(&bytes(HS256_KEY)).unwrap()
}

fn rs256() -> VerifyingKey {
    VerifyingKey::from_rsa(&bytes(RSA_N), &bytes(RSA_E)).unwrap()
}

fn es256() -> VerifyingKey {
    VerifyingKey::from_p256(&sized(EC_X), &sized(EC_Y)).unwrap()
}

fn eddsa() -> VerifyingKey {
    VerifyingKey::from_ed25519(&sized(ED_X)).unwrap()
}

fn all_keys() -> Vec<Key> {
    [hs256(), rs256(), es256(), eddsa()]
        .into_iter()
        .map(|key| Key { kid: None, key })
        .collect()
}

fn jwt(keys: Vec<Key>) -> Jwt {
    let rules = ClaimRules {
        issuers: Vec::new(),
        audiences: Vec::new(),
        leeway: 60.0,
        require_expiry: true,
        required: Vec::new(),
    };
    Jwt::new(Keys::new(keys), rules, Vec::new())
}

/// What the first two parts of a token say, encoded.
fn unsigned(header: &Value, claims: &Value) -> String {
    let encode = |part: &Value| Base64UrlUnpadded::encode_string(part.to_string().as_bytes());
    format!("{}.{}", encode(header), encode(claims))
}

fn with_signature(signed: String, signature: &[u8]) -> String {
    format!("{signed}.{}", Base64UrlUnpadded::encode_string(signature))
}

/// A token with this header, authenticated by these bytes as HS256 would be.
fn hmac_token(secret: &[u8], header: &Value, claims: &Value) -> String {
    let signed = unsigned(header, claims);
    let mac = hmac::Hmac::<Sha256>::new_from_slice(secret).unwrap();
    let tag = mac.chain_update(&signed).finalize().into_bytes();
    with_signature(signed, &tag)
}

fn rsa_token(header: &Value, claims: &Value) -> String {
    let number = |text| BoxedUint::from_be_slice_vartime(&bytes(text));
    let private =
        RsaPrivateKey::from_components(number(RSA_N), number(RSA_E), number(RSA_D), Vec::new());
    let key = pkcs1v15::SigningKey::<Sha256>::new(private.unwrap());
    let signed = unsigned(header, claims);
    let signature = key.sign(signed.as_bytes()).to_vec();
    with_signature(signed, &signature)
}

fn ec_token(header: &Value, claims: &Value) -> String {
    let key = p256::ecdsa::SigningKey::from_slice(&bytes(EC_D)).unwrap();
    let signed = unsigned(header, claims);
    let signature: p256::ecdsa::Signature = key.sign(signed.as_bytes());
    with_signature(signed, &signature.to_bytes())
}

fn ed_token(header: &Value, claims: &Value) -> String {
    let key = ed25519_dalek::SigningKey::from_bytes(&sized(ED_D));
    let signed = unsigned(header, claims);
    let signature = key.sign(signed.as_bytes()).to_bytes();
    with_signature(signed, &signature)
}

fn secret_key(kid: Option<&str>, secret: &[u8]) -> Key {
    let kid = kid.map(str::to_owned);
    let key = VerifyingKey::from_secret(secret).unwrap();
    Key { kid, key }
}

fn header(algorithm: &str) -> Value {
    json!({ "alg": algorithm, "typ": "JWT" })
}

fn good_claims() -> Value {
    json!({ "sub": "ann", "exp": NOW + 300.0 })
}

#[track_caller]
fn passes(jwt: &Jwt, token: &str, now: f64) {
    let outcome = jwt.identify(token.as_bytes(), now);
    assert!(outcome.is_ok(), "{outcome:?}: {token}");
}

#[track_caller]
fn refused(jwt: &Jwt, token: &str, error: TokenError) {
    let outcome = jwt.identify(token.as_bytes(), NOW);
    assert_eq!(outcome, Err(Refusal::Token(error)), "{token}");
}

#[test]
fn examples_of_rfc_7515() {
    let jwt = jwt(all_keys());
    for token in [HS256_TOKEN, RS256_TOKEN, ES256_TOKEN] {
        passes(&jwt, token, RFC_EXPIRY - 1.0);
        refused(&jwt, token, TokenError::Expired);
    }
}

#[test]
fn example_of_rfc_8037() {
    let parts = Parts::of(ED_TOKEN.as_bytes()).unwrap();
    let signature = decode(parts.signature).unwrap();
    let keys = Keys::new(all_keys());
    let verify = |message| keys.verify(Algorithm::EdDSA, None, message, &signature);
    assert_eq!(verify(parts.signed), Ok(()));
    assert_eq!(verify(b"something else"), Err(TokenError::BadSignature));
}

#[test]
fn unsecured_token_of_rfc_7519() {
    refused(
        &jwt(all_keys()),
        NONE_TOKEN,
        TokenError::UnsupportedAlgorithm,
    );
    let claims = unsigned(&header("none"), &good_claims());
    for token in [format!("{claims}."), with_signature(claims, b"x")] {
        refused(&jwt(all_keys()), &token, TokenError::UnsupportedAlgorithm);
    }
    for name in [
        "None", "NONE", "nOnE", "", "hs256", "HS512", "RS512", "PS256", "ES384",
    ] {
        let token = hmac_token(SECRET, &header(name), &good_claims());
        refused(&jwt(all_keys()), &token, TokenError::UnsupportedAlgorithm);
    }
}

#[test]
fn tokens_of_every_algorithm() {
    let jwt = jwt(all_keys());
    let claims = good_claims();
    let tokens = [
        hmac_token(&bytes(HS256_KEY), &header("HS256"), &claims),
        rsa_token(&header("RS256"), &claims),
        ec_token(&header("ES256"), &claims),
        ed_token(&header("EdDSA"), &claims),
    ];
    for token in tokens {
        let identity = jwt.identify(token.as_bytes(), NOW).unwrap();
        assert_eq!(identity.subject.as_deref(), Some("ann"));
        // Every byte counts: any change of one is refused.
        for place in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
            assert!(jwt.identify(&changed, NOW).is_err(), "{place} of {token}");
        }
        // And every part of it.
        for length in 0..token.len() {
            assert!(jwt.identify(&token.as_bytes()[..length], NOW).is_err());
        }
    }
}

#[test]
fn a_token_that_was_good_is_judged_again_by_its_claims() {
    let jwt = jwt(all_keys());
    let token = ec_token(&header("ES256"), &good_claims());
    for _ in 0..3 {
        passes(&jwt, &token, NOW);
    }
    let late = jwt.identify(token.as_bytes(), NOW + 400.0);
    assert_eq!(late, Err(Refusal::Token(TokenError::Expired)));
    passes(&jwt, &token, NOW);
    let (signed, _) = token.rsplit_once('.').unwrap();
    let forged = with_signature(signed.to_owned(), &[1; 64]);
    refused(&jwt, &forged, TokenError::BadSignature);
}

#[test]
fn keys_in_pem_are_the_same_keys() {
    let key = |algorithm, pem| Key {
        kid: None,
        key: VerifyingKey::from_pem(algorithm, pem).unwrap(),
    };
    let jwt = jwt(vec![
        key(Algorithm::RS256, RSA_PEM),
        key(Algorithm::ES256, EC_PEM),
        key(Algorithm::EdDSA, ED_PEM),
    ]);
    passes(&jwt, RS256_TOKEN, RFC_EXPIRY);
    passes(&jwt, ES256_TOKEN, RFC_EXPIRY);
    passes(&jwt, &ed_token(&header("EdDSA"), &good_claims()), NOW);
}

#[test]
fn the_key_decides_the_algorithm() {
    // The public key as a secret, in every form an attacker could have it.
    let forms = [RSA_PEM.as_bytes(), RSA_PEM.trim().as_bytes(), &bytes(RSA_N)];
    for secret in forms {
        let token = hmac_token(secret, &header("HS256"), &good_claims());
        let only_rsa = jwt(vec![Key {
            kid: None,
            key: rs256(),
        }]);
        refused(&only_rsa, &token, TokenError::UnsupportedAlgorithm);
        refused(&jwt(all_keys()), &token, TokenError::BadSignature);
        let named = json!({ "alg": "HS256", "kid": "rsa" });
        let token = hmac_token(secret, &named, &good_claims());
        let keys = vec![
            Key {
                kid: Some("rsa".into()),
                key: rs256(),
            },
            secret_key(Some("hs"), SECRET),
        ];
        refused(&jwt(keys), &token, TokenError::UnknownKey);
    }
    // A right signature under another name.
    let token = rsa_token(&header("ES256"), &good_claims());
    refused(&jwt(all_keys()), &token, TokenError::BadSignature);
    let token = ec_token(&header("EdDSA"), &good_claims());
    refused(&jwt(all_keys()), &token, TokenError::BadSignature);
}

#[test]
fn the_kid_selects() {
    let (old, new) = ([b'o'; 32], [b'n'; 32]);
    let keys = || vec![secret_key(Some("old"), &old), secret_key(Some("new"), &new)];
    let token = |secret: &[u8], kid: Option<&str>| {
        let header = match kid {
            Some(kid) => json!({ "alg": "HS256", "kid": kid }),
            None => json!({ "alg": "HS256" }),
        };
        hmac_token(secret, &header, &good_claims())
    };
    let jwt_of = jwt;
    let jwt = jwt_of(keys());
    passes(&jwt, &token(&old, Some("old")), NOW);
    passes(&jwt, &token(&new, Some("new")), NOW);
    passes(&jwt, &token(&old, None), NOW);
    passes(&jwt, &token(&new, None), NOW);
    refused(&jwt, &token(&new, Some("old")), TokenError::BadSignature);
    refused(&jwt, &token(&new, Some("next")), TokenError::UnknownKey);
    refused(&jwt, &token(&new, Some("")), TokenError::UnknownKey);
    refused(&jwt, &token(SECRET, None), TokenError::BadSignature);
    // A key without a name takes a token with any.
    let jwt = jwt_of(vec![secret_key(None, SECRET)]);
    passes(&jwt, &token(SECRET, Some("whatever")), NOW);
}

#[test]
fn a_token_is_tried_with_few_keys() {
    let keys = |count: usize| {
        let key = |place| secret_key(Some(&format!("{place}")), SECRET);
        jwt((0..count).map(key).collect())
    };
    let token = hmac_token(SECRET, &header("HS256"), &good_claims());
    passes(&keys(MAX_TRIED), &token, NOW);
    refused(&keys(MAX_TRIED + 1), &token, TokenError::UnknownKey);
}

#[test]
fn what_is_no_token() {
    let jwt = jwt(all_keys());
    let good = hmac_token(&bytes(HS256_KEY), &header("HS256"), &good_claims());
    for token in [
        "",
        ".",
        "..",
        "...",
        "a",
        "a.b",
        "a.b.c",
        "!!.!!.!!",
        "\u{e9}.\u{e9}.\u{e9}",
    ] {
        refused(&jwt, token, TokenError::Malformed);
    }
    for token in [
        format!("{good}."),
        format!("{good}=="),
        format!(".{good}"),
        format!("{good} {good}"),
        good.replace('.', ".."),
        // Five parts: an encrypted token.
        format!("{good}.{good}"),
    ] {
        refused(&jwt, &token, TokenError::Malformed);
    }
    assert!(jwt.identify(&[0xff; 100], NOW).is_err());
    assert!(jwt.identify(&[0; 100], NOW).is_err());
}

#[test]
fn a_huge_token_is_not_looked_at() {
    let jwt = jwt(all_keys());
    refused(&jwt, &"a".repeat(MAX_TOKEN + 1), TokenError::TooLong);
    refused(&jwt, &"a".repeat(MAX_TOKEN), TokenError::Malformed);
    // Deeply nested JSON ends at the parser's limit and not on the stack.
    let nested = format!("{}{}", "[".repeat(3000), "]".repeat(3000));
    let part = Base64UrlUnpadded::encode_string(nested.as_bytes());
    refused(
        &jwt,
        &format!("{}.x.x", &part[..4000]),
        TokenError::Malformed,
    );
}

#[test]
fn headers_that_are_refused() {
    let secret = bytes(HS256_KEY);
    let jwt = jwt(all_keys());
    let token = |header: Value| hmac_token(&secret, &header, &good_claims());
    let critical = json!({ "alg": "HS256", "crit": ["b64"], "b64": false });
    refused(&jwt, &token(critical), TokenError::CriticalExtension);
    refused(&jwt, &token(json!({ "typ": "JWT" })), TokenError::Malformed);
    refused(&jwt, &token(json!({ "alg": 256 })), TokenError::Malformed);
    refused(
        &jwt,
        &token(json!({ "alg": "HS256", "kid": 1 })),
        TokenError::Malformed,
    );
    refused(&jwt, &token(json!(["HS256"])), TokenError::Malformed);
    let signed = format!(
        "{}.{}",
        Base64UrlUnpadded::encode_string(br#"{"alg":"HS256","alg":"none"}"#),
        Base64UrlUnpadded::encode_string(good_claims().to_string().as_bytes())
    );
    refused(&jwt, &with_signature(signed, b""), TokenError::Malformed);
}

#[test]
fn signed_claims_that_are_no_claims() {
    let secret = bytes(HS256_KEY);
    for claims in [
        json!("text"),
        json!([]),
        json!(null),
        json!({ "exp": "tomorrow" }),
    ] {
        let token = hmac_token(&secret, &header("HS256"), &claims);
        refused(&jwt(all_keys()), &token, TokenError::Malformed);
    }
}

#[test]
fn subjects_that_cannot_be_passed_on() {
    let secret = bytes(HS256_KEY);
    let token = |sub: Value| {
        hmac_token(
            &secret,
            &header("HS256"),
            &json!({ "sub": sub, "exp": NOW + 1.0 }),
        )
    };
    let jwt = jwt(all_keys());
    for subject in [
        json!(""),
        json!(" a"),
        json!("a\r\nx-admin: 1"),
        json!("a\0"),
        json!(1),
    ] {
        refused(&jwt, &token(subject), TokenError::UnusableSubject);
    }
    for subject in ["ann", "j\u{fc}rgen", "auth0|5f7", "a b"] {
        passes(&jwt, &token(json!(subject)), NOW);
    }
}

#[test]
fn keys_that_are_refused() {
    let message = |result: Result<VerifyingKey, String>| result.err().unwrap();
    assert_eq!(
        message(VerifyingKey::from_pem(Algorithm::RS256, RSA_1024_PEM)),
        "expected an RSA key of 2048 to 4096 bits, found 1024"
    );
    assert_eq!(
        message(VerifyingKey::from_rsa(&[0xff; 1024], &[1, 0, 1])),
        "expected an RSA key of 2048 to 4096 bits, found 8192"
    );
    assert!(message(VerifyingKey::from_rsa(&bytes(RSA_N), &[1])).contains("RSA"));
    assert!(message(VerifyingKey::from_rsa(&bytes(RSA_N), &[0xff; 9])).contains("RSA"));
    assert!(message(VerifyingKey::from_rsa(&[], &[])).contains("found 0"));
    assert!(message(VerifyingKey::from_secret(&[0; 31])).contains("32 bytes"));
    assert!(message(VerifyingKey::from_p256(&[1; 32], &[1; 32])).contains("P-256"));
    // The neutral point: every message has a signature that it verifies.
    let mut neutral = [0; 32];
    neutral[0] = 1;
    assert!(message(VerifyingKey::from_ed25519(&neutral)).contains("weak"));
    for (algorithm, pem) in [
        (Algorithm::ES256, RSA_PEM),
        (Algorithm::EdDSA, EC_PEM),
        (Algorithm::RS256, ED_PEM),
        (Algorithm::RS256, "not PEM"),
        (Algorithm::RS256, ""),
        (Algorithm::HS256, RSA_PEM),
    ] {
        assert!(VerifyingKey::from_pem(algorithm, pem).is_err());
    }
}
