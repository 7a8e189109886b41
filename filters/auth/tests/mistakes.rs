//! Configurations that are refused: every mistake at once, each at its place.

use lockgate_auth::{Auth, Config};
use lockgate_sdk::testing::Harness;
use serde_json::{Value, json};

const SECRET: &str = "a secret that is long enough for it";

/// The places of the mistakes, and words of their messages.
#[track_caller]
fn check(config: Value, expected: &[(&str, &str)]) {
    let errors = Harness::<Auth>::new(config.clone()).err().expect("refused");
    let places: Vec<_> = errors.iter().map(|error| error.at.as_str()).collect();
    let wanted: Vec<_> = expected.iter().map(|(at, _)| *at).collect();
    assert_eq!(places, wanted, "{errors}");
    for (error, (_, words)) in errors.iter().zip(expected) {
        assert!(error.message.contains(words), "{error}");
    }
}

fn jwt(jwt: Value) -> Value {
    json!({ "jwt": jwt })
}

#[test]
fn somebody_must_be_able_to_pass() {
    check(json!({}), &[("", "nobody could pass")]);
    check(
        json!({ "api_keys": [], "basic": [] }),
        &[("", "nobody could pass")],
    );
    check(jwt(json!({})), &[("/jwt", "at least one key")]);
    check(
        jwt(json!({ "jwks": { "keys": [] } })),
        &[("/jwt", "at least one key")],
    );
    let unsupported = json!({ "jwks": { "keys": [{ "kty": "EC", "crv": "P-521" }] } });
    check(jwt(unsupported), &[("/jwt", "at least one key")]);
}

#[test]
fn every_mistake_at_once() {
    let digest = "ab".repeat(32);
    check(
        json!({
            "realm": "a\nb",
            "api_keys": [
                { "name": "", "key": "k" },
                { "name": "a" },
                { "name": "b", "key": "k2", "key_sha256": digest },
                { "name": "c", "key_sha256": "abc" },
                { "name": "d", "key": " k" },
                { "name": "e", "key": "k" },
                { "name": "f", "secret": "f-key" },
                { "name": "g", "secret": "f-key", "key": "k3" },
            ],
            "basic": [
                { "user": "a:b", "salt": "short", "password_sha256": "x" },
                { "user": "u", "salt": "long enough", "password_sha256": digest },
                { "user": "u", "salt": "long enough", "password_sha256": digest },
            ],
            "attributes": ["email"],
            "identity_header": "content-length",
        }),
        &[
            ("/realm", "printable"),
            ("/api_keys/0/name", "expected a name"),
            ("/api_keys/1", "`key`, `key_sha256` or `secret`"),
            ("/api_keys/2", "only one"),
            ("/api_keys/3/key_sha256", "64 hexadecimal"),
            ("/api_keys/4/key", "a header field can carry"),
            ("/api_keys/5", "twice"),
            (
                "/api_keys/6/secret",
                "`grants: { secrets: [f-key] }` would allow",
            ),
            ("/api_keys/7", "only one"),
            ("/basic/0/user", "colon"),
            ("/basic/0/salt", "8 characters"),
            ("/basic/0/password_sha256", "64 hexadecimal"),
            ("/basic/2/user", "`u` is given twice"),
            ("/attributes", "needs `jwt`"),
            ("/identity_header", "the proxy owns"),
        ],
    );
}

#[test]
fn fields() {
    let keys = json!([{ "name": "a", "key": "k" }]);
    check(
        json!({ "api_keys": keys, "api_key_header": "x key", "identity_header": "x:y" }),
        &[
            ("/api_key_header", "found `x key`"),
            ("/identity_header", "found `x:y`"),
        ],
    );
    check(
        json!({ "api_keys": keys, "identity_header": "X-Api-Key" }),
        &[("/identity_header", "carries a credential")],
    );
}

#[test]
fn keys_of_tokens() {
    check(
        jwt(json!({ "keys": [
            { "alg": "HS256", "secret": "short" },
            { "alg": "HS256" },
            { "alg": "RS256" },
            { "alg": "RS256", "secret": SECRET },
            { "alg": "ES256", "public_key_pem": "nothing" },
            { "alg": "HS256", "public_key_pem": "nothing" },
            { "alg": "HS256", "secret": SECRET, "public_key_pem": "nothing" },
            { "alg": "EdDSA", "public_key_pem": "-----BEGIN PRIVATE KEY-----" },
        ]})),
        &[
            ("/jwt/keys/0/secret", "at least 32 bytes, found 5"),
            ("/jwt/keys/1", "HS256 needs `secret`"),
            ("/jwt/keys/2", "RS256 needs `public_key_pem`"),
            ("/jwt/keys/3/secret", "RS256 has no secret"),
            ("/jwt/keys/4/public_key_pem", "public key for ES256"),
            ("/jwt/keys/5/public_key_pem", "HS256 has no public key"),
            ("/jwt/keys/6", "only one"),
            ("/jwt/keys/7/public_key_pem", "private key"),
        ],
    );
    let set = json!({ "keys": [
        { "kty": "oct", "k": "c2hvcnQ" },
        { "kty": "RSA", "use": "enc" },
        { "kty": "EC", "crv": "P-256", "x": "AQAB", "y": "AQAB", "d": "AQAB" },
    ]});
    check(
        jwt(json!({ "jwks": set })),
        &[
            ("/jwt/jwks/keys/0/k", "32 bytes"),
            ("/jwt/jwks/keys/2/d", "private key"),
        ],
    );
}

#[test]
fn the_choice_of_a_key() {
    let key = |kid: Option<&str>| json!({ "kid": kid, "alg": "HS256", "secret": SECRET });
    check(
        jwt(json!({ "keys": [key(Some("a")), key(Some("a"))] })),
        &[("/jwt/keys/1/kid", "has the kid `a` too")],
    );
    check(
        jwt(json!({ "keys": [key(None), key(None), key(None)] })),
        &[("/jwt/keys/2", "have no kid")],
    );
    check(
        jwt(json!({ "keys": [key(None)], "algorithms": ["ES256"] })),
        &[
            ("/jwt/algorithms/0", "no key for ES256"),
            ("/jwt/keys/0/alg", "does not list HS256"),
        ],
    );
}

#[test]
fn rules_of_tokens() {
    check(
        jwt(json!({
            "keys": [{ "alg": "HS256", "secret": SECRET }],
            "issuer": "",
            "audience": [],
            "required_claims": { "a/b": {}, "c": null, "d": [], "ok": [1, true, "x"] },
            "scheme": "Basic",
            "header": "",
        })),
        &[
            ("/jwt/header", "name of a header field"),
            ("/jwt/scheme", "carries passwords"),
            ("/jwt/issuer", "not empty"),
            ("/jwt/audience", "not empty"),
            ("/jwt/required_claims/a~1b", "expected a string"),
            ("/jwt/required_claims/c", "expected a string"),
            ("/jwt/required_claims/d", "expected a string"),
        ],
    );
}

#[test]
fn shapes() {
    check(
        json!({ "api_key": [] }),
        &[("/api_key", "unknown field `api_key`")],
    );
    check(
        jwt(json!({ "keys": [{ "alg": "none" }] })),
        &[("/jwt/keys/0/alg", "`none`")],
    );
    check(
        jwt(json!({ "secret": SECRET })),
        &[("/jwt/secret", "unknown field")],
    );
    check(
        jwt(json!({ "leeway": "60" })),
        &[("/jwt/leeway", "`60` is not a time")],
    );
    check(json!({ "realm": 1 }), &[("/realm", "invalid type")]);
}

/// What the schema says of the property at this pointer.
fn property(pointer: &str) -> Value {
    let schema: Value = serde_json::from_str(&lockgate_sdk::schema::<Config>()).unwrap();
    schema.pointer(pointer).expect(pointer).clone()
}

#[test]
fn the_schema_marks_secrets_and_the_trusted_field() {
    for pointer in [
        "/$defs/ApiKey/properties/key",
        "/$defs/ApiKey/properties/key_sha256",
        "/$defs/User/properties/salt",
        "/$defs/User/properties/password_sha256",
        "/$defs/Key/properties/secret",
        "/$defs/Jwk/properties/k",
        "/$defs/Jwk/properties/d",
    ] {
        assert_eq!(property(pointer)["writeOnly"], json!(true), "{pointer}");
    }
    let trusted = property("/properties/identity_header");
    assert_eq!(trusted["x-lockgate-trusted-header"], json!(true));
}
