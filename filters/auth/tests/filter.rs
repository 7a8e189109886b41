//! The filter as the proxy sees it: a request goes in, a verdict comes out.

use std::time::Duration;

use base64ct::{Base64, Base64UrlUnpadded, Encoding};
use hmac::{Hmac, KeyInit, Mac};
use lockgate_auth::Auth;
use lockgate_sdk::testing::{Exchange, Grant, Harness, Outcome};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const NOW: u64 = 1_700_000_000;
const SECRET: &str = "a secret that is long enough for it";

fn harness(config: Value) -> Harness<Auth> {
    let mut harness = Harness::new(config).unwrap();
    harness.set_now(Duration::from_secs(NOW));
    harness
}

/// Every way, with this over it.
fn all_ways(more: Value) -> Harness<Auth> {
    let digest = Sha256::digest(b"a pinch of saltopen sesame");
    let mut config = json!({
        "api_keys": [
            { "name": "billing", "key": "billing-key" },
            { "name": "report", "key_sha256": hex(&Sha256::digest(b"report-key")) },
        ],
        "basic": [{ "user": "Aladdin", "salt": "a pinch of salt", "password_sha256": hex(&digest) }],
        "jwt": { "keys": [{ "alg": "HS256", "secret": SECRET }] },
    });
    let more = more.as_object().unwrap().clone();
    config.as_object_mut().unwrap().extend(more);
    harness(config)
}

fn hex(bytes: &[u8]) -> String {
    base16ct::lower::encode_string(bytes)
}

fn token(claims: Value) -> String {
    let encode = |part: Value| Base64UrlUnpadded::encode_string(part.to_string().as_bytes());
    let signed = format!("{}.{}", encode(json!({ "alg": "HS256" })), encode(claims));
    let mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    let tag = mac.chain_update(&signed).finalize().into_bytes();
    format!("{signed}.{}", Base64UrlUnpadded::encode_string(&tag))
}

fn bearer(claims: Value) -> Exchange {
    let value = format!("Bearer {}", token(claims));
    Exchange::get("/").header("authorization", value)
}

fn basic(credentials: &str) -> Exchange {
    let value = format!("Basic {}", Base64::encode_string(credentials.as_bytes()));
    Exchange::get("/").header("authorization", value)
}

fn api_key(key: &str) -> Exchange {
    Exchange::get("/").header("x-api-key", key)
}

fn challenges(outcome: &Outcome) -> Vec<&str> {
    let headers = &outcome.reply().headers;
    headers
        .iter()
        .filter(|(name, _)| name == "www-authenticate")
        .map(|(_, value)| std::str::from_utf8(value).unwrap())
        .collect()
}

#[track_caller]
fn passes(outcome: &Outcome, method: &str, subject: Option<&str>) {
    assert!(outcome.is_next(), "{:?}", outcome.verdict);
    assert_eq!(outcome.attribute("method"), Some(method));
    assert_eq!(outcome.attribute("subject"), subject);
}

#[track_caller]
fn answers(outcome: &Outcome, status: u16, refusal: &str) {
    assert_eq!(outcome.reply().status, status);
    assert_eq!(outcome.attribute("refusal"), Some(refusal));
    assert_eq!(outcome.attribute("subject"), None);
}

#[test]
fn a_key_may_be_a_secret_that_changes() {
    let config = json!({ "api_keys": [
        { "name": "alice", "secret": "alice-key" },
        { "name": "billing", "key": "billing-key" },
    ]});
    let secrets: [(&str, &[u8], _); 1] = [("alice-key", b"one", Grant::Use)];
    let mut auth = Harness::<Auth>::with_secrets(config, &secrets).unwrap();
    passes(&auth.request(api_key("one")), "api_key", Some("alice"));
    let other = auth.request(api_key("billing-key"));
    passes(&other, "api_key", Some("billing"));
    for wrong in ["two", "alice-key", ""] {
        answers(&auth.request(api_key(wrong)), 401, "wrong credentials");
    }
    auth.grant_secret("alice-key", b"two", Grant::Use);
    answers(&auth.request(api_key("one")), 401, "wrong credentials");
    passes(&auth.request(api_key("two")), "api_key", Some("alice"));
}

#[test]
fn a_secret_is_not_given_twice() {
    let config = json!({ "api_keys": [
        { "name": "alice", "secret": "key" },
        { "name": "bob", "secret": "key" },
    ]});
    let secrets: [(&str, &[u8], _); 1] = [("key", b"one", Grant::Use)];
    let errors = Harness::<Auth>::with_secrets(config, &secrets)
        .err()
        .unwrap();
    assert_eq!(errors.to_string(), "/api_keys/1: this key is given twice");
}

#[test]
fn any_way_is_enough() {
    let mut auth = all_ways(json!({}));
    passes(
        &auth.request(api_key("billing-key")),
        "api_key",
        Some("billing"),
    );
    passes(
        &auth.request(api_key("report-key")),
        "api_key",
        Some("report"),
    );
    let outcome = auth.request(basic("Aladdin:open sesame"));
    passes(&outcome, "basic", Some("Aladdin"));
    let outcome = auth.request(bearer(json!({ "sub": "ann", "exp": NOW + 60 })));
    passes(&outcome, "jwt", Some("ann"));
    let outcome = auth.request(bearer(json!({ "exp": NOW + 60 })));
    passes(&outcome, "jwt", None);
}

#[test]
fn a_good_way_outweighs_a_bad_one() {
    let mut auth = all_ways(json!({}));
    let exchange = basic("Aladdin:wrong").header("x-api-key", "billing-key");
    passes(&auth.request(exchange), "api_key", Some("billing"));
    let exchange = basic("Aladdin:open sesame").header("x-api-key", "wrong");
    passes(&auth.request(exchange), "basic", Some("Aladdin"));
}

#[test]
fn nothing_presented_is_challenged_with_every_way() {
    let mut auth = all_ways(json!({ "realm": "the \"shop\"" }));
    let outcome = auth.request(Exchange::get("/"));
    answers(&outcome, 401, "no credentials");
    let expected = [
        r#"ApiKey realm="the \"shop\"", header="x-api-key""#,
        r#"Basic realm="the \"shop\"", charset="UTF-8""#,
        r#"Bearer realm="the \"shop\"""#,
    ];
    assert_eq!(challenges(&outcome), expected);
    let other_scheme = Exchange::get("/").header("authorization", "Negotiate abc");
    answers(&auth.request(other_scheme), 401, "no credentials");
    let empty = Exchange::get("/").header("authorization", "");
    answers(&auth.request(empty), 401, "no credentials");
}

#[test]
fn wrong_credentials() {
    let mut auth = all_ways(json!({}));
    for exchange in [
        api_key("other"),
        api_key(""),
        basic("Aladdin:wrong"),
        basic("nobody:open sesame"),
        Exchange::get("/").header("authorization", "Basic ????"),
    ] {
        let outcome = auth.request(exchange);
        answers(&outcome, 401, "wrong credentials");
        assert_eq!(challenges(&outcome).len(), 3);
        assert!(!challenges(&outcome).iter().any(|c| c.contains("error")));
    }
}

#[test]
fn a_bad_token_is_named_in_its_challenge() {
    let mut auth = all_ways(json!({}));
    let outcome = auth.request(bearer(json!({ "exp": NOW - 61 })));
    answers(&outcome, 401, "the token has expired");
    assert_eq!(
        challenges(&outcome)[2],
        "Bearer realm=\"lockgate\", error=\"invalid_token\", \
         error_description=\"the token has expired\""
    );
    assert!(!challenges(&outcome)[1].contains("error"));
    let outcome = auth.request(Exchange::get("/").header("authorization", "Bearer abc"));
    answers(&outcome, 401, "the token is malformed");
}

#[test]
fn a_good_token_without_a_required_claim_is_forbidden() {
    let mut auth = harness(json!({ "jwt": {
        "keys": [{ "alg": "HS256", "secret": SECRET }],
        "required_claims": { "scope": "write", "tenant": ["a", "b"] },
    }}));
    let claims = |scope: &str, tenant: &str| json!({ "sub": "ann", "exp": NOW + 60, "scope": scope, "tenant": tenant });
    let outcome = auth.request(bearer(claims("read write", "b")));
    passes(&outcome, "jwt", Some("ann"));
    for claims in [
        claims("read", "b"),
        claims("write", "c"),
        json!({ "exp": NOW + 60 }),
    ] {
        let outcome = auth.request(bearer(claims));
        answers(&outcome, 403, "a required claim is missing");
        let expected = "Bearer realm=\"lockgate\", error=\"insufficient_scope\"";
        assert_eq!(challenges(&outcome), [expected]);
    }
    // A bad token does not learn what else it would need.
    answers(
        &auth.request(bearer(json!({ "exp": 1 }))),
        401,
        "the token has expired",
    );
}

#[test]
fn repeated_fields_are_refused_even_beside_a_good_way() {
    let mut auth = all_ways(json!({}));
    let good = || basic("Aladdin:open sesame");
    let repeated = "a field with credentials occurs twice";
    for exchange in [
        good().header("authorization", "Basic eDp4"),
        good()
            .header("Authorization", "Bearer x")
            .header("x-api-key", "billing-key"),
        api_key("billing-key").header("X-API-Key", "billing-key"),
    ] {
        answers(&auth.request(exchange), 400, repeated);
    }
}

#[test]
fn the_identity_header_is_always_the_verified_one() {
    let mut auth = all_ways(json!({ "identity_header": "X-User" }));
    let forge = |exchange: Exchange| exchange.header("x-user", "admin").header("X-User", "root");
    let outcome = auth.request(forge(api_key("billing-key")));
    assert_eq!(outcome.request.headers("x-user"), ["billing"]);
    let outcome = auth.request(forge(bearer(json!({ "sub": "ann", "exp": NOW + 60 }))));
    assert_eq!(outcome.request.headers("x-user"), ["ann"]);
    // Nobody's name is not the name that was sent along.
    let outcome = auth.request(forge(bearer(json!({ "exp": NOW + 60 }))));
    passes(&outcome, "jwt", None);
    assert_eq!(outcome.request.headers("x-user"), [""; 0]);
    // A name that would become two fields is refused.
    let outcome = auth.request(bearer(json!({ "sub": "a\r\nx-user: b", "exp": NOW + 60 })));
    answers(&outcome, 401, "the subject cannot be passed on");
}

#[test]
fn credentials_stay_or_are_removed_as_configured() {
    let exchange = || basic("Aladdin:open sesame").header("x-api-key", "wrong");
    let outcome = all_ways(json!({})).request(exchange());
    assert!(outcome.request.header("authorization").is_some());
    assert!(outcome.request.header("x-api-key").is_some());
    let outcome = all_ways(json!({ "remove_credentials": true })).request(exchange());
    passes(&outcome, "basic", Some("Aladdin"));
    assert_eq!(outcome.request.header("authorization"), None);
    assert_eq!(outcome.request.header("x-api-key"), None);
}

#[test]
fn claims_become_attributes() {
    let mut auth = all_ways(json!({ "attributes": ["email", "groups", "absent"] }));
    let claims = json!({
        "sub": "ann", "exp": NOW + 60, "email": "ann@example.com", "groups": ["a", "b"]
    });
    let outcome = auth.request(bearer(claims));
    passes(&outcome, "jwt", Some("ann"));
    assert_eq!(outcome.attribute("claim.email"), Some("ann@example.com"));
    assert_eq!(outcome.attribute("claim.groups"), Some(r#"["a","b"]"#));
    assert_eq!(outcome.attribute("claim.absent"), None);
    assert_eq!(outcome.attribute("claim.sub"), None);
}

#[test]
fn fields_and_scheme_can_be_others() {
    let mut auth = harness(json!({
        "api_keys": [{ "name": "billing", "key": "billing-key" }],
        "api_key_header": "X-Service-Key",
        "jwt": {
            "keys": [{ "alg": "HS256", "secret": SECRET }],
            "header": "X-Token",
            "scheme": "",
        },
    }));
    let outcome = auth.request(Exchange::get("/").header("x-service-key", "billing-key"));
    passes(&outcome, "api_key", Some("billing"));
    let claims = json!({ "sub": "ann", "exp": NOW + 60 });
    let outcome = auth.request(Exchange::get("/").header("x-token", token(claims.clone())));
    passes(&outcome, "jwt", Some("ann"));
    let outcome = auth.request(bearer(claims));
    answers(&outcome, 401, "no credentials");
    let expected = [
        r#"ApiKey realm="lockgate", header="x-service-key""#,
        r#"Bearer realm="lockgate", header="x-token""#,
    ];
    assert_eq!(challenges(&outcome), expected);
}

#[test]
fn leeway_is_as_configured() {
    let mut auth = harness(json!({ "jwt": {
        "keys": [{ "alg": "HS256", "secret": SECRET }], "leeway": "5s", "require_expiry": false,
    }}));
    passes(
        &auth.request(bearer(json!({ "exp": NOW - 4 }))),
        "jwt",
        None,
    );
    passes(&auth.request(bearer(json!({}))), "jwt", None);
    let outcome = auth.request(bearer(json!({ "exp": NOW - 5 })));
    answers(&outcome, 401, "the token has expired");
}
