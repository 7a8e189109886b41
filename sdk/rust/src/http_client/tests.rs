use std::cell::{Cell, RefCell};

use serde_json::{Value, json};

use super::*;
use crate::prelude::*;
use crate::shared;
use crate::testing::{self, Grant, Harness, Outcome, SentCall};

/// Does in `on_request` what the test says.
struct Playing;

type Step = fn() -> Result<(), crate::Error>;

thread_local! {
    static STEP: Cell<Step> = const { Cell::new(|| Ok(())) };
}

impl Filter for Playing {
    type Config = ();

    fn create(_: ()) -> Result<Self, ConfigErrors> {
        Ok(Playing)
    }

    fn wants(&self) -> Wants {
        Wants::request()
    }

    fn on_request(&self, _: &Exchange) -> Result<Verdict, crate::Error> {
        STEP.get()().map(|()| Verdict::Next)
    }
}

#[test]
fn a_call_goes_out_as_it_was_built() {
    let outcome = play(|| {
        let answer = Call::post("/decide?a=1")
            .header("X-Id", "7")
            .json(&json!({ "path": "/" }))?
            .authority("auth.example")
            .timeout(SECOND)
            .send("idp")?;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.text()?, "/decide?a=1");
        Ok(())
    });
    let call = only(&outcome);
    assert_eq!((&*call.cluster, &*call.method), ("idp", "POST"));
    assert_eq!(call.path, "/decide?a=1");
    assert_eq!(call.authority, "auth.example");
    assert_eq!(call.headers.header("x-id"), Some("7"));
    assert_eq!(call.headers.headers("content-type"), ["application/json"]);
    assert_eq!(call.body, br#"{"path":"/"}"#);
    assert_eq!(call.timeout, Some(SECOND));
    assert_eq!(call.under_way, 1);
    let answer = call.answer.as_ref().unwrap();
    assert_eq!(answer.as_ref().unwrap().status, 200);
}

#[test]
fn what_a_call_does_not_say() {
    let outcome = play(|| {
        Call::get("/").send("idp")?;
        Call::new("PUT", "/")
            .header("Content-Type", "application/vnd.x+json")
            .json("text")?
            .send("idp")?;
        Ok(())
    });
    let [get, put] = outcome.calls.as_slice() else {
        panic!("two calls: {:?}", outcome.calls);
    };
    assert_eq!(get.authority, "idp");
    assert_eq!((get.headers.0.len(), get.body.len()), (0, 0));
    assert_eq!(get.timeout, None);
    assert_eq!(
        put.headers.headers("content-type"),
        ["application/vnd.x+json"]
    );
    assert_eq!(put.body, br#""text""#);
}

#[test]
fn two_calls_are_under_way_at_once() {
    let outcome = play(|| {
        let slow = Call::get("/a").start("idp");
        let fast = Call::get("/b").start("lists");
        assert_eq!(fast.wait()?.text()?, "/b");
        Call::get("/c").send("idp")?;
        assert_eq!(slow.wait()?.text()?, "/a");
        Call::get("/d").send("idp")?;
        Ok(())
    });
    assert_eq!(
        seen(&outcome),
        [
            ("/a", 1, true),
            ("/b", 2, true),
            ("/c", 2, true),
            ("/d", 1, true),
        ]
    );
}

#[test]
fn a_call_that_is_dropped_is_cancelled() {
    let outcome = play(|| {
        drop(Call::get("/a").start("idp"));
        Call::get("/b").send("idp")?;
        Ok(())
    });
    assert_eq!(seen(&outcome), [("/a", 1, false), ("/b", 1, true)]);
}

#[test]
fn one_call_may_be_started_often() {
    let outcome = play(|| {
        let call = Call::get("/a");
        let pending = ["idp", "lists"].map(|cluster| call.start(cluster));
        pending
            .into_iter()
            .try_for_each(|call| call.wait().map(drop))?;
        Ok(())
    });
    assert_eq!(seen(&outcome), [("/a", 1, true), ("/a", 2, true)]);
}

#[test]
fn what_was_not_granted_does_not_go_out() {
    let outcome = play(|| {
        let denied = Err(CallError::Denied);
        assert_eq!(Call::get("/").send("unknown"), denied);
        let call = Call::get("/").secret("x-key", "", "unknown");
        assert_eq!(call.send("idp"), denied);
        Ok(())
    });
    assert_eq!(outcome.calls, []);
}

#[test]
fn what_is_not_well_formed_does_not_go_out() {
    let outcome = play(|| {
        for call in [
            Call::new("", "/"),
            Call::new("CONNECT", "/"),
            Call::new("G T", "/"),
            Call::get(""),
            Call::get("a"),
            Call::get("/a b"),
            Call::get("/#a"),
            Call::get("/").authority(""),
            Call::get("/").authority("a b"),
            Call::get("/").header("", ""),
            Call::get("/").header(":path", "/b"),
            Call::get("/").header("x-a", "\r\n"),
            Call::get("/").header("Host", "a"),
            Call::get("/").header("content-length", "1"),
            Call::get("/").secret("host", "", "token"),
            Call::get("/").secret("x-key", "\n", "token"),
        ] {
            assert_eq!(call.send("idp"), Err(CallError::Invalid), "{call:?}");
        }
        Ok(())
    });
    assert_eq!(outcome.calls, []);
}

#[test]
fn a_secret_goes_out_and_is_told() {
    let outcome = play(|| {
        Call::get("/")
            .header("authorization", "old")
            .secret("Authorization", "Bearer ", "token")
            .send("idp")?;
        Ok(())
    });
    let call = only(&outcome);
    assert_eq!(call.headers.headers("authorization"), ["Bearer s3cret"]);
    let [secret] = call.secrets.as_slice() else {
        panic!("one secret: {:?}", call.secrets);
    };
    assert_eq!(
        (&*secret.field, &*secret.prefix, &*secret.secret),
        ("authorization", "Bearer ", "token")
    );
    assert_eq!(secret.value, b"Bearer s3cret");
    // The exchange's own request has none of it.
    assert!(outcome.secrets.is_empty());
}

#[test]
fn the_trace_goes_on_unless_the_call_has_its_own() {
    let mut harness = harness();
    STEP.set(|| {
        Call::get("/").send("idp")?;
        Call::get("/").header("Traceparent", "own").send("idp")?;
        Ok(())
    });
    let exchange = testing::Exchange::get("/").header("traceparent", "theirs");
    let outcome = harness.request(exchange);
    let traces = outcome
        .calls
        .iter()
        .map(|call| call.headers.headers("traceparent"));
    assert_eq!(traces.collect::<Vec<_>>(), [["theirs"], ["own"]]);
}

#[test]
fn no_more_than_a_number_of_calls_at_once() {
    let mut harness = harness();
    harness.set_max_calls(2);
    let outcome = play_with(&mut harness, || {
        let first = Call::get("/a").start("idp");
        let second = Call::get("/b").start("idp");
        let Err(CallError::Other(_)) = Call::get("/c").send("idp") else {
            panic!("one too many");
        };
        first.wait()?;
        Call::get("/d").send("idp")?;
        drop(second);
        Ok(())
    });
    assert_eq!(
        seen(&outcome),
        [("/a", 1, true), ("/b", 2, false), ("/d", 2, true)]
    );
}

#[test]
fn an_answer_that_is_too_large() {
    let mut harness = harness();
    harness.set_max_call_bytes(2);
    let outcome = play_with(&mut harness, || {
        assert_eq!(Call::get("/a").send("idp")?.body, b"/a");
        assert_eq!(Call::get("/ab").send("idp"), Err(CallError::TooLarge));
        Ok(())
    });
    assert_eq!(outcome.calls[1].answer, Some(Err(CallError::TooLarge)));
}

#[test]
fn clusters_fail_as_the_test_says() {
    let mut harness = harness();
    harness.answer_calls(|call| match &*call.cluster {
        "idp" => Err(CallError::Timeout),
        _ => Ok(Reply::new(500)),
    });
    play_with(&mut harness, || {
        assert_eq!(Call::get("/").send("idp"), Err(CallError::Timeout));
        assert_eq!(Call::get("/").send("lists")?.status, 500);
        Ok(())
    });
}

#[test]
fn nobody_answers_until_the_test_says_so() {
    let mut harness = Harness::<Playing>::new(Value::Null).unwrap();
    harness.grant_call("idp");
    let outcome = play_with(&mut harness, || {
        assert_eq!(Call::get("/").send("idp"), Err(CallError::Unavailable));
        Ok(())
    });
    assert_eq!(outcome.calls.len(), 1);
}

#[test]
fn a_cluster_may_remember_and_share() {
    let mut harness = harness();
    let mut called = 0;
    harness.answer_calls(move |_| {
        called += 1;
        shared::set("called", [called], None).unwrap();
        Ok(Reply::new(204))
    });
    play_with(&mut harness, || {
        Call::get("/").send("idp")?;
        Call::get("/").send("idp")?;
        Ok(())
    });
    assert_eq!(shared::get("called").unwrap().value, [2]);
}

#[test]
fn what_a_failed_call_of_the_filter_sent_stays_sent() {
    let mut harness = harness();
    let failed = play_once(&mut harness, || {
        let left = Call::get("/a").start("idp");
        Call::get("/b").send("unknown")?;
        left.wait()?;
        Ok(())
    });
    let error = failed.verdict.as_ref().unwrap_err().to_string();
    assert_eq!(
        error,
        "a call to a cluster failed: \
         the cluster or a secret is not configured, or not granted"
    );
    assert_eq!(seen(&failed), [("/a", 1, false)]);

    let next = play_with(&mut harness, || {
        Call::get("/c").send("idp")?;
        Ok(())
    });
    assert_eq!(seen(&next), [("/c", 1, true)]);
}

/// Calls in every phase, and waits there; keeps one call from the request on.
#[derive(Default)]
struct Everywhere {
    kept: RefCell<Option<Pending>>,
}

impl Filter for Everywhere {
    type Config = ();

    fn create(_: ()) -> Result<Self, ConfigErrors> {
        assert_refused();
        Ok(Everywhere::default())
    }

    fn wants(&self) -> Wants {
        assert_refused();
        let all = Wants::request().request_trailers();
        all.response().response_trailers().done()
    }

    fn on_request(&self, _: &Exchange) -> Result<Verdict, crate::Error> {
        Call::get("/request").send("idp")?;
        *self.kept.borrow_mut() = Some(Call::get("/kept").start("idp"));
        Ok(Verdict::buffer(10))
    }

    fn on_request_body(&self, _: &Exchange, _: Body) -> Result<BodyVerdict, crate::Error> {
        let kept = self.kept.take().unwrap();
        let Err(CallError::Other(message)) = kept.wait() else {
            panic!("waited for in a later phase");
        };
        assert!(message.contains("cancelled"), "{message}");
        Call::get("/request-body").send("idp")?;
        Ok(BodyVerdict::Keep)
    }

    fn on_request_trailers(&self, _: &Exchange) -> Result<(), crate::Error> {
        assert_refused();
        Ok(())
    }

    fn on_response(&self, exchange: &Exchange) -> Result<Verdict, crate::Error> {
        Call::get("/response").send("idp")?;
        match exchange.response().status() {
            Some(200) => Ok(Verdict::buffer(10)),
            _ => Ok(Verdict::transform(Waiting)),
        }
    }

    fn on_response_body(&self, _: &Exchange, _: Body) -> Result<BodyVerdict, crate::Error> {
        Call::get("/response-body").send("idp")?;
        Ok(BodyVerdict::Keep)
    }

    fn on_response_trailers(&self, _: &Exchange) -> Result<(), crate::Error> {
        assert_refused();
        Ok(())
    }

    fn on_done(&self, _: &Exchange) {
        assert_refused();
    }
}

struct Waiting;

impl Transform for Waiting {
    fn push(&mut self, _: &Exchange, chunk: Vec<u8>) -> Result<Vec<u8>, crate::Error> {
        assert_refused();
        Ok(chunk)
    }

    fn finish(&mut self, _: &Exchange) -> Result<Vec<u8>, crate::Error> {
        assert_refused();
        Ok(Vec::new())
    }
}

fn assert_refused() {
    let message = "this phase cannot wait for calls".to_owned();
    let refused = Err(CallError::Other(message));
    assert_eq!(Call::get("/refused").send("idp"), refused);
    // What is not granted is told first, in every phase.
    let denied = Err(CallError::Denied);
    assert_eq!(Call::get("/refused").send("unknown"), denied);
}

#[test]
fn four_phases_can_wait() {
    let mut harness = Harness::<Everywhere>::with_calls(Value::Null, &["idp"]).unwrap();
    harness.answer_calls(|_| Ok(Reply::new(200)));
    assert_refused();

    let outcome = harness.request(testing::Exchange::post("/"));
    assert_eq!(outcome.verdict, Ok(Verdict::buffer(10)));
    assert_eq!(seen(&outcome), [("/request", 1, true), ("/kept", 1, false)]);
    let outcome = harness.request_body("body");
    assert_eq!(outcome.sent(), b"body");
    assert_eq!(seen(&outcome), [("/request-body", 1, true)]);
    let outcome = harness.request_trailers(&[("x-a", "1")]);
    assert_eq!(outcome.verdict, Ok(()));
    assert_eq!(seen(&outcome), [("/refused", 1, false)]);

    let outcome = harness.response(200, &[]);
    assert_eq!(seen(&outcome), [("/response", 1, true)]);
    let outcome = harness.response_body("body");
    assert_eq!(seen(&outcome), [("/response-body", 1, true)]);
    let outcome = harness.response_trailers(&[("x-a", "1")]);
    assert_eq!(outcome.verdict, Ok(()));
    assert_eq!(seen(&outcome), [("/refused", 1, false)]);
    assert_eq!(seen(&harness.done()), [("/refused", 1, false)]);

    harness.response(404, &[]);
    let outcome = harness.response_body("body");
    assert_eq!(outcome.sent(), b"body");
    let twice = [("/refused", 1, false), ("/refused", 1, false)];
    assert_eq!(seen(&outcome), twice);
}

#[test]
fn an_answer_is_read() {
    let reply = Reply::text(200, r#"{ "active": true }"#);
    let answer = Answer::from(reply.header("X-A", b"\xff").header("x-a", "2"));
    assert_eq!(answer.header("X-A"), Some(b"\xff".as_slice()));
    assert_eq!(answer.header_str("x-a"), None);
    assert!(
        answer
            .header_str("Content-Type")
            .unwrap()
            .starts_with("text/")
    );
    assert_eq!(answer.header("x-b"), None);
    assert_eq!(answer.headers[1].0, "x-a");

    assert_eq!(answer.text().unwrap(), r#"{ "active": true }"#);
    assert_eq!(answer.json::<Value>().unwrap(), json!({ "active": true }));
    let error = answer.json::<Vec<u8>>().unwrap_err().to_string();
    assert!(
        error.starts_with("cannot read the answer to a call: "),
        "{error}"
    );
    let answer = Answer::from(Reply::new(200).body(b"\xff"));
    assert!(answer.text().is_err());
    assert!(answer.json::<Value>().is_err());
}

#[test]
fn what_has_no_json_is_an_error() {
    let keys = std::collections::BTreeMap::from([((1, 2), 3)]);
    let error = Call::post("/").json(&keys).unwrap_err().to_string();
    assert!(error.starts_with("cannot write a call's JSON: "), "{error}");
}

const SECOND: Duration = Duration::from_secs(1);

/// Two clusters that answer with the path.
fn harness() -> Harness<Playing> {
    let mut harness = Harness::new(Value::Null).unwrap();
    harness.grant_call("idp");
    harness.grant_call("lists");
    harness.grant_secret("token", b"s3cret", Grant::Use);
    harness.answer_calls(|call| Ok(Reply::text(200, &*call.path)));
    harness
}

#[track_caller]
fn play(step: Step) -> Outcome {
    play_with(&mut harness(), step)
}

#[track_caller]
fn play_with(harness: &mut Harness<Playing>, step: Step) -> Outcome {
    let outcome = play_once(harness, step);
    assert!(outcome.is_next(), "{:?}", outcome.verdict);
    outcome
}

fn play_once(harness: &mut Harness<Playing>, step: Step) -> Outcome {
    STEP.set(step);
    harness.request(testing::Exchange::get("/"))
}

#[track_caller]
fn only(outcome: &Outcome) -> &SentCall {
    match outcome.calls.as_slice() {
        [call] => call,
        calls => panic!("one call: {calls:?}"),
    }
}

/// The path of each call, how many were under way, and whether it was waited for.
fn seen<V>(outcome: &Outcome<V>) -> Vec<(&str, usize, bool)> {
    let calls = outcome.calls.iter();
    calls
        .map(|call| (&*call.path, call.under_way, call.answer.is_some()))
        .collect()
}
