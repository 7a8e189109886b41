use serde_json::json;

use super::*;
use crate::prelude::*;
use crate::testing::{self, Grant, Harness, Outcome};

/// Puts `secret` into `field`, after `prefix`.
#[derive(Deserialize, JsonSchema)]
struct Config {
    field: String,
    prefix: String,
    secret: String,
    /// In `on_response` instead.
    #[serde(default)]
    late: bool,
    /// And then sets the field to this.
    then: Option<String>,
}

struct Putting(Config);

impl Filter for Putting {
    type Config = Config;

    fn create(config: Config) -> Result<Self, ConfigErrors> {
        Ok(Putting(config))
    }

    fn wants(&self) -> Wants {
        Wants::request().request_field("authorization").response()
    }

    fn on_request(&self, exchange: &Exchange) -> Result<Verdict, crate::Error> {
        if !self.0.late {
            self.put(exchange)?;
            let request = exchange.request();
            assert_eq!(request.header(&self.0.field).as_deref(), Some(&b""[..]));
            match self.0.then.as_deref() {
                None => {}
                Some("") => request.remove_header(&self.0.field)?,
                Some(then) => request.set_header(&self.0.field, then)?,
            }
        }
        Ok(Verdict::Next)
    }

    fn on_response(&self, exchange: &Exchange) -> Result<Verdict, crate::Error> {
        self.put(exchange)?;
        Ok(Verdict::Next)
    }
}

impl Putting {
    fn put(&self, exchange: &Exchange) -> Result<(), SecretError> {
        let Config {
            field,
            prefix,
            secret,
            ..
        } = &self.0;
        put(&exchange.request(), field, prefix, secret)
    }
}

#[test]
fn a_secret_is_put_and_not_seen() {
    let outcome = request(json!({
        "field": "Authorization", "prefix": "Bearer ", "secret": "token",
    }));
    assert!(outcome.is_next(), "{:?}", outcome.verdict);
    assert_eq!(outcome.request.headers("authorization"), [""]);
    let [secret] = outcome.secrets.as_slice() else {
        panic!("one secret: {:?}", outcome.secrets);
    };
    assert_eq!(secret.field, "authorization");
    assert_eq!(secret.value, b"Bearer s3cret");
}

#[test]
fn what_is_set_or_removed_afterwards_counts() {
    for (then, wanted) in [("other", vec!["other"]), ("", vec![])] {
        let outcome = request(json!({
            "field": "x-key", "prefix": "", "secret": "token", "then": then,
        }));
        assert_eq!(outcome.request.headers("x-key"), wanted);
        assert!(outcome.secrets.is_empty());
    }
}

#[test]
fn what_may_not_be_put() {
    check(
        json!({ "field": "x-key", "prefix": "", "secret": "unknown" }),
        "cannot use a secret: the secret is not configured, or not granted for that",
    );
    check(
        json!({ "field": "host", "prefix": "", "secret": "token" }),
        "cannot put a secret: the proxy owns this field",
    );
    check(
        json!({ "field": "x-key", "prefix": "\n", "secret": "token" }),
        "cannot put a secret: not a legal name or value",
    );

    let mut harness = harness(json!({
        "field": "x-key", "prefix": "", "secret": "token", "late": true,
    }));
    harness.request(testing::Exchange::get("/"));
    let error = harness.response(200, &[]).verdict.unwrap_err();
    assert!(error.to_string().contains("cannot be changed"), "{error}");
}

#[test]
fn a_failed_call_puts_nothing() {
    let config = json!({ "field": "x-key", "prefix": "", "secret": "token", "then": "\n" });
    let outcome = request(config);
    assert!(outcome.verdict.is_err());
    assert!(outcome.secrets.is_empty());
}

#[test]
fn a_secret_is_compared() {
    let _harness = any();
    assert_eq!(matches("token", "s3cret"), Ok(true));
    assert_eq!(matches("token", "s3cre"), Ok(false));
    assert_eq!(matches("unknown", "s3cret"), Err(SecretError::Denied));
}

/// RFC 4231, test case 2.
#[test]
fn a_secret_signs() {
    let mut harness = any();
    harness.grant_secret("key", b"Jefe", Grant::Use);
    let mac = sign("key", "what do ya want for nothing?").unwrap();
    let hex: String = mac.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(
        hex,
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    );
    assert_eq!(sign("unknown", ""), Err(SecretError::Denied));
}

#[test]
fn only_what_may_be_seen_is_revealed() {
    let mut harness = any();
    assert_eq!(reveal("token"), Err(SecretError::Denied));
    harness.grant_secret("token", b"changed", Grant::Reveal);
    assert_eq!(reveal("token"), Ok(b"changed".to_vec()));
    assert_eq!(matches("token", "changed"), Ok(true));
}

fn check(config: serde_json::Value, wanted: &str) {
    let error = request(config).verdict.unwrap_err();
    assert_eq!(error.to_string(), wanted);
}

fn request(config: serde_json::Value) -> Outcome {
    harness(config).request(testing::Exchange::get("/").header("authorization", "old"))
}

fn any() -> Harness<Putting> {
    harness(json!({ "field": "x-key", "prefix": "", "secret": "token" }))
}

fn harness(config: serde_json::Value) -> Harness<Putting> {
    let mut harness = Harness::new(config).unwrap();
    harness.grant_secret("token", b"s3cret", Grant::Use);
    harness
}
