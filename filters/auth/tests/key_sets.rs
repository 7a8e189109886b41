//! Key sets that are fetched: by the job, and for a token whose key nobody knows.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use base64ct::{Base64UrlUnpadded, Encoding};
use ed25519_dalek::{Signer, SigningKey};
use lockgate_auth::{Auth, Refresh};
use lockgate_sdk::http_client::CallError;
use lockgate_sdk::testing::{Exchange, Fate, Harness, JobHarness, Outcome};
use lockgate_sdk::{Reply, Rest, Verdict, shared};
use serde_json::{Value, json};

const NOW: Duration = Duration::from_secs(1_700_000_000);
const MINUTE: Duration = Duration::from_secs(60);

/// An issuer, and the filter that asks it.
struct Bench {
    auth: Harness<Auth>,
    job: JobHarness<Refresh>,
    published: Rc<RefCell<Option<Vec<u8>>>>,
    asked: Rc<Cell<usize>>,
}

impl Bench {
    fn new() -> Self {
        let config = json!({ "jwt": { "jwks": { "cluster": "idp", "path": "/keys" } } });
        let mut auth = Harness::<Auth>::with_calls(config, &["idp"]).unwrap();
        auth.set_now(NOW);
        let published = Rc::new(RefCell::new(None::<Vec<u8>>));
        let asked = Rc::new(Cell::new(0));
        let (answers, count) = (published.clone(), asked.clone());
        auth.answer_calls(move |call| {
            assert_eq!(
                (call.cluster.as_str(), call.path.as_str()),
                ("idp", "/keys")
            );
            count.set(count.get() + 1);
            match &*answers.borrow() {
                Some(body) => Ok(Reply::new(200).body(body.clone())),
                None => Err(CallError::Unavailable),
            }
        });
        Self {
            job: auth.job().unwrap(),
            auth,
            published,
            asked,
        }
    }

    fn publish(&self, kids: &[&str]) {
        let keys: Vec<_> = kids.iter().map(|kid| jwk(kid)).collect();
        let set = json!({ "keys": keys }).to_string();
        *self.published.borrow_mut() = Some(set.into_bytes());
    }

    fn request(&mut self, kid: &str) -> Outcome {
        let value = format!("Bearer {}", token(kid));
        let exchange = Exchange::get("/").header("authorization", value);
        self.auth.request(exchange)
    }

    #[track_caller]
    fn passes(&mut self, kid: &str) {
        let outcome = self.request(kid);
        assert!(outcome.is_next(), "{:?}", outcome.verdict);
    }

    #[track_caller]
    fn is_refused(&mut self, kid: &str, status: u16, refusal: &str) {
        let outcome = self.request(kid);
        assert_eq!(outcome.reply().status, status);
        assert_eq!(outcome.attribute("refusal"), Some(refusal));
    }
}

/// The key of this name.
fn key(kid: &str) -> SigningKey {
    let mut seed = [7; 32];
    seed[..kid.len()].copy_from_slice(kid.as_bytes());
    SigningKey::from_bytes(&seed)
}

fn jwk(kid: &str) -> Value {
    let x = Base64UrlUnpadded::encode_string(key(kid).verifying_key().as_bytes());
    json!({ "kty": "OKP", "crv": "Ed25519", "kid": kid, "x": x })
}

fn token(kid: &str) -> String {
    let encode = |part: Value| Base64UrlUnpadded::encode_string(part.to_string().as_bytes());
    let header = encode(json!({ "alg": "EdDSA", "kid": kid }));
    let claims = encode(json!({ "sub": "ann", "exp": NOW.as_secs() + 86_400 }));
    let signed = format!("{header}.{claims}");
    let signature = key(kid).sign(signed.as_bytes()).to_bytes();
    format!("{signed}.{}", Base64UrlUnpadded::encode_string(&signature))
}

const UNKNOWN: &str = "the key is not known";

#[test]
fn the_job_fetches_and_the_filter_follows() {
    let mut bench = Bench::new();
    bench.publish(&["a"]);
    assert_eq!(bench.job.run().verdict, Ok(Rest::For(5 * MINUTE)));
    bench.passes("a");
    assert_eq!(bench.asked.get(), 1);
    // A token that was found good is looked at anew with another set.
    bench.publish(&["b"]);
    bench.passes("a");
    bench.job.run().verdict.unwrap();
    bench.is_refused("a", 401, UNKNOWN);
    bench.passes("b");
}

#[test]
fn a_job_without_a_set_to_fetch_rests_for_good() {
    let config = json!({ "api_keys": [{ "name": "a", "key": "k" }] });
    let auth = Harness::<Auth>::new(config).unwrap();
    let mut job = auth.job::<Refresh>().unwrap();
    assert_eq!(job.run().verdict, Ok(Rest::ForGood));
}

#[test]
fn an_unknown_key_asks_at_most_once_a_minute() {
    let mut bench = Bench::new();
    bench.publish(&["a"]);
    bench.job.run().verdict.unwrap();
    for _ in 0..3 {
        bench.is_refused("b", 401, UNKNOWN);
    }
    assert_eq!(bench.asked.get(), 2);
    bench.publish(&["a", "b"]);
    bench.auth.set_now(NOW + MINUTE - Duration::from_nanos(1));
    bench.is_refused("b", 401, UNKNOWN);
    bench.auth.set_now(NOW + MINUTE);
    bench.passes("b");
    bench.passes("a");
    assert_eq!(bench.asked.get(), 3);
}

#[test]
fn while_another_asks_a_request_waits_and_looks_again() {
    let mut bench = Bench::new();
    bench.publish(&["a"]);
    bench.job.run().verdict.unwrap();
    shared::set("jwks asking idp/keys", "", Some(MINUTE)).unwrap();
    let outcome = bench.request("b");
    assert!(matches!(
        outcome.verdict,
        Ok(Verdict::Buffer { limit: 0, .. })
    ));
    assert_eq!(outcome.delay, Duration::from_secs(3));
    assert_eq!(bench.asked.get(), 1);
    // The other one is back.
    bench.publish(&["a", "b"]);
    bench.job.run().verdict.unwrap();
    let outcome = bench.auth.request_body("body");
    assert!(matches!(outcome.verdict, Ok(Fate::Sent(_))), "{outcome:?}");
    assert_eq!(outcome.attribute("subject"), Some("ann"));
    // Still somebody asks.
    bench.request("c");
    let outcome = bench.auth.request_body("body");
    let Ok(Fate::Answered(reply)) = outcome.verdict else {
        panic!("{outcome:?}");
    };
    assert_eq!(reply.status, 503);
    // Whoever asked is gone.
    bench.publish(&["a", "c"]);
    bench.request("c");
    shared::remove("jwks asking idp/keys");
    let outcome = bench.auth.request_body("body");
    assert!(matches!(outcome.verdict, Ok(Fate::Sent(_))), "{outcome:?}");
    assert_eq!(bench.asked.get(), 3);
}

#[test]
fn an_issuer_that_does_not_answer_makes_no_token_bad() {
    let mut bench = Bench::new();
    bench.publish(&["a"]);
    bench.job.run().verdict.unwrap();
    *bench.published.borrow_mut() = None;
    for _ in 0..3 {
        bench.is_refused("b", 503, "the issuer does not tell its keys");
    }
    assert_eq!(bench.asked.get(), 2);
}

#[test]
fn the_last_good_set_stays() {
    let mut bench = Bench::new();
    bench.publish(&["a"]);
    bench.job.run().verdict.unwrap();
    let unusable = json!({ "keys": [{ "kty": "oct", "k": "c".repeat(64) }] }).to_string();
    for bad in [Some(unusable.into_bytes()), Some(b"<html>".to_vec()), None] {
        *bench.published.borrow_mut() = bad;
        let failed = bench.job.run().verdict.unwrap_err().to_string();
        let told = "no key set from `/keys` of the cluster `idp`: ";
        assert!(failed.starts_with(told), "{failed}");
        bench.passes("a");
    }
}

#[test]
fn without_any_set_the_answer_is_to_come_back() {
    let mut bench = Bench::new();
    bench.job.run().verdict.unwrap_err();
    bench.is_refused("a", 503, "the issuer does not tell its keys");
    let nothing = bench.auth.request(Exchange::get("/"));
    assert_eq!(nothing.reply().status, 401);
    bench.publish(&["a"]);
    bench.job.run().verdict.unwrap();
    bench.passes("a");
}

#[test]
fn of_two_answers_the_one_asked_for_last_is_kept() {
    let mut bench = Bench::new();
    bench.publish(&["b"]);
    bench.job.run().verdict.unwrap();
    // One that was asked for before, and came later.
    bench.publish(&["a"]);
    bench.auth.set_now(NOW - Duration::from_secs(5));
    bench.job.run().verdict.unwrap();
    bench.passes("b");
    // Unless the clock went wrong.
    bench.auth.set_now(NOW - Duration::from_secs(3600));
    bench.job.run().verdict.unwrap();
    bench.passes("a");
}

#[test]
fn a_set_that_does_not_fit_is_told() {
    let mut bench = Bench::new();
    bench.publish(&["a"]);
    bench.auth.set_largest_entry(100);
    let failed = bench.job.run().verdict.unwrap_err().to_string();
    assert!(failed.contains("`limits.max_shared_entry`"), "{failed}");
}

#[test]
fn mistakes_of_a_set_have_their_places() {
    let check = |jwks: Value, expected: &[&str]| {
        let config = json!({ "jwt": { "jwks": jwks } });
        let errors = Harness::<Auth>::with_calls(config, &["idp"]).err().unwrap();
        let places: Vec<_> = errors.iter().map(|error| error.at.as_str()).collect();
        assert_eq!(places, expected, "{errors}");
    };
    check(json!({}), &["/jwt/jwks"]);
    check(json!({ "cluster": "idp" }), &["/jwt/jwks"]);
    check(
        json!({ "cluster": "idp", "path": "keys" }),
        &["/jwt/jwks/path"],
    );
    check(
        json!({ "cluster": "idp", "path": "/", "refresh": "10ms" }),
        &["/jwt/jwks/refresh"],
    );
    check(
        json!({ "cluster": "idp", "path": "/", "keys": [] }),
        &["/jwt/jwks"],
    );
    check(
        json!({ "keys": [jwk("a")], "path": "/", "refresh": "1m" }),
        &["/jwt/jwks/path", "/jwt/jwks/refresh"],
    );
    check(
        json!({ "cluster": "other", "path": "/" }),
        &["/jwt/jwks/cluster"],
    );
}
