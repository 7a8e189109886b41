//! The simulated proxy does with bodies and trailers what the contract says.

use serde_json::{Value, json};

use super::Fate;
use crate::prelude::*;
use crate::testing::{self, Harness, Outcome};

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Ask {
    Nothing,
    Buffer(u32),
    Peek(u32),
    Transform,
}

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Act {
    Keep,
    Replace,
    Respond,
    Reset,
    Fail,
}

/// Asks for bodies in both directions and then does the same to both.
#[derive(Deserialize, JsonSchema)]
struct Acting {
    ask: Ask,
    act: Act,
}

impl Filter for Acting {
    type Config = Acting;

    fn create(config: Acting) -> Result<Self, ConfigErrors> {
        Ok(config)
    }

    fn wants(&self) -> Wants {
        Wants::request().response().cluster("known")
    }

    fn on_request(&self, _: &Exchange) -> Result<Verdict, Error> {
        Ok(self.asked())
    }

    fn on_request_body(&self, exchange: &Exchange, body: Body) -> Result<BodyVerdict, Error> {
        exchange.request().set_header("x-seen", "yes")?;
        exchange.request().set_path("/seen")?;
        exchange.route_to("known")?;
        assert_eq!(exchange.request_bytes(), 5);
        self.act(exchange, body)
    }

    fn on_response(&self, _: &Exchange) -> Result<Verdict, Error> {
        Ok(self.asked())
    }

    fn on_response_body(&self, exchange: &Exchange, body: Body) -> Result<BodyVerdict, Error> {
        exchange.response().set_header("x-seen", "yes")?;
        exchange.response().set_status(201)?;
        assert_eq!(exchange.response_bytes(), 5);
        assert_eq!(exchange.request().set_path("/"), Err(HeadError::TooLate));
        assert_eq!(exchange.route_to("known"), Err(RouteError::TooLate));
        self.act(exchange, body)
    }
}

impl Acting {
    fn asked(&self) -> Verdict {
        match self.ask {
            Ask::Nothing => Verdict::Next,
            Ask::Buffer(limit) => Verdict::buffer(limit),
            Ask::Peek(limit) => Verdict::peek(limit),
            Ask::Transform => Verdict::transform(Exclaim { pushed: 0 }),
        }
    }

    fn act(&self, exchange: &Exchange, body: Body) -> Result<BodyVerdict, Error> {
        exchange.set_state(&body.bytes);
        exchange.set_attribute("complete", &body.complete.to_string());
        exchange.delay(Duration::from_secs(1));
        let late = exchange.trailers().set_header("x-a", "");
        assert_eq!(late, Err(HeadError::TooLate));
        match self.act {
            Act::Keep => Ok(BodyVerdict::Keep),
            Act::Replace => Ok(BodyVerdict::Replace(b"new".to_vec())),
            Act::Respond => Ok(Reply::new(400).into()),
            Act::Reset => Ok(BodyVerdict::Reset),
            Act::Fail => Err("failed".into()),
        }
    }
}

/// Ends each chunk and the body with a sign, and tries what it may not.
struct Exclaim {
    pushed: u8,
}

impl Transform for Exclaim {
    fn push(&mut self, exchange: &Exchange, mut chunk: Vec<u8>) -> Result<Vec<u8>, Error> {
        self.pushed += 1;
        exchange.set_state(&[self.pushed]);
        if chunk == b"fail" {
            return Err("failed".into());
        }
        assert_eq!(exchange.request().path(), "/");
        exchange.set_attribute("last", &String::from_utf8_lossy(&chunk));
        refuse_everything(exchange);
        chunk.push(b'!');
        Ok(chunk)
    }

    fn finish(&mut self, exchange: &Exchange) -> Result<Vec<u8>, Error> {
        refuse_everything(exchange);
        Ok(format!("#{}", self.pushed).into_bytes())
    }
}

fn refuse_everything(exchange: &Exchange) {
    let late = Err(HeadError::TooLate);
    assert_eq!(exchange.request().set_header("x-a", ""), late);
    assert_eq!(exchange.response().set_header("x-a", ""), late);
    assert_eq!(exchange.route_to("known"), Err(RouteError::TooLate));
    exchange.delay(Duration::from_secs(1));
}

#[test]
fn a_collected_body() {
    let sent = |bytes: &str| Fate::Sent(bytes.into());
    check(json!({ "buffer": 5 }), "keep", Ok(sent("whole")));
    check(json!({ "buffer": 5 }), "replace", Ok(sent("new")));
    let answered = Fate::Answered(Reply::new(400));
    check(json!({ "buffer": 9 }), "respond", Ok(answered));
    check(json!({ "buffer": 9 }), "reset", Ok(Fate::Reset));
    check(json!({ "buffer": 9 }), "fail", Err("failed"));
    check(json!({ "peek": 5 }), "replace", Ok(sent("new")));
}

#[test]
fn a_body_that_is_too_long() {
    let mut harness = acting(json!({ "buffer": 4 }), "keep");
    let fate = request_body(&mut harness).verdict;
    assert_eq!(fate, Ok(Fate::Rejected(413)));
    let fate = response_body(&mut harness).verdict;
    assert_eq!(fate, Ok(Fate::Rejected(502)));
}

#[test]
fn the_beginning_of_a_body() {
    let outcome = request_body(&mut acting(json!({ "peek": 2 }), "keep"));
    assert_eq!(outcome.sent(), b"whole");
    assert_eq!(outcome.state, b"wh");
    assert_eq!(outcome.attribute("complete"), Some("false"));

    let outcome = request_body(&mut acting(json!({ "peek": 2 }), "replace"));
    let error = outcome.verdict.as_ref().unwrap_err().to_string();
    assert!(error.contains("cannot be replaced"), "{error}");
    assert_eq!(outcome.request.header("x-seen"), None);

    let outcome = request_body(&mut acting(json!({ "peek": 2 }), "respond"));
    assert_eq!(outcome.reply().status, 400);
}

#[test]
fn no_body_is_an_empty_one() {
    let mut harness = acting(json!({ "buffer": 5 }), "replace");
    let get = testing::Exchange::get("/").bytes(5, 0);
    assert_eq!(harness.request(get).verdict, Ok(Verdict::buffer(5)));
    let outcome = harness.request_body("");
    assert_eq!(outcome.attribute("complete"), Some("true"));
    assert_eq!(outcome.sent(), b"new");
}

#[test]
fn a_body_that_nobody_asked_for_passes() {
    let mut harness = acting(json!("nothing"), "replace");
    assert_eq!(request_body(&mut harness).sent(), b"whole");
    assert_eq!(response_body(&mut harness).sent(), b"whole");
}

#[test]
fn a_body_is_asked_for_anew() {
    let mut harness = acting(json!({ "buffer": 5 }), "replace");
    assert_eq!(request_body(&mut harness).sent(), b"new");
    assert_eq!(harness.request_body("again").sent(), b"again");
    // It belongs to the exchange before.
    harness.response(200, &[]);
    harness.request(testing::Exchange::get("/"));
    assert_eq!(harness.response_body("whole").sent(), b"whole");
}

#[test]
fn a_transformed_body() {
    let mut harness = acting(json!("transform"), "keep");
    let outcome = harness.request(testing::Exchange::post("/"));
    let shown = format!("{:?}", outcome.verdict);
    assert_eq!(shown, "Ok(Transform(..))");
    let outcome = harness.request_chunks(&[b"ab", b"", b"c"]);
    assert_eq!(outcome.sent(), b"ab!c!#2");
    assert_eq!(outcome.attribute("last"), Some("c"));
    assert_eq!(outcome.delay, Duration::ZERO);

    harness.response(200, &[]);
    assert_eq!(harness.response_body("").sent(), b"#0");
}

#[test]
fn a_failed_transform_keeps_what_went_well() {
    let mut harness = acting(json!("transform"), "keep");
    harness.request(testing::Exchange::post("/"));
    let outcome = harness.request_chunks(&[b"ab", b"fail", b"c"]);
    assert_eq!(outcome.verdict, Err("failed".into()));
    assert_eq!(outcome.attribute("last"), Some("ab"));
    assert_eq!(outcome.state, [1]);
}

#[test]
fn transforms_equal_nothing() {
    let transform = || Verdict::transform(Exclaim { pushed: 0 });
    assert_ne!(transform(), transform());
    assert_ne!(transform(), Verdict::Next);
    assert_ne!(Verdict::buffer(1), Verdict::buffer(2));
    assert_ne!(Verdict::buffer(1), Verdict::peek(1));
    assert_eq!(Verdict::peek(1), Verdict::peek(1));
}

/// Answers with what it can reach in a trailer phase.
struct Trailing;

impl Filter for Trailing {
    type Config = ();

    fn create(_: ()) -> Result<Self, ConfigErrors> {
        Ok(Trailing)
    }

    fn wants(&self) -> Wants {
        Wants::request().request_trailers().response_trailers()
    }

    fn on_request(&self, exchange: &Exchange) -> Result<Verdict, Error> {
        let trailers = exchange.trailers();
        assert_eq!(
            (trailers.header("x-a"), trailers.entries().len()),
            (None, 0)
        );
        assert_eq!(trailers.remove_header("x-a"), Err(HeadError::TooLate));
        Ok(Verdict::Next)
    }

    fn on_request_trailers(&self, exchange: &Exchange) -> Result<(), Error> {
        refuse_everything(exchange);
        let trailers = exchange.trailers();
        let forbidden = trailers.set_header("Content-Length", "1");
        assert_eq!(forbidden, Err(HeadError::Forbidden));
        let invalid = trailers.set_header("x-a", "\n");
        assert_eq!(invalid, Err(HeadError::Invalid));
        let status = trailers.header_str("GRPC-Status").unwrap_or_default();
        trailers.set_header("x-status", &*status)?;
        trailers.remove_header("grpc-status")?;
        exchange.set_attribute("entries", &trailers.entries().len().to_string());
        Ok(())
    }

    fn on_response_trailers(&self, exchange: &Exchange) -> Result<(), Error> {
        exchange.trailers().remove_header("x-a")?;
        Err("failed".into())
    }
}

#[test]
fn trailers() {
    let mut harness = Harness::<Trailing>::new(Value::Null).unwrap();
    assert!(harness.request(testing::Exchange::post("/")).is_next());
    let outcome = harness.request_trailers(&[("Grpc-Status", "5"), ("x-a", "1")]);
    assert_eq!(outcome.verdict, Ok(()));
    assert_eq!(outcome.trailers.header("x-status"), Some("5"));
    assert_eq!(outcome.trailers.header("grpc-status"), None);
    assert_eq!(outcome.attribute("entries"), Some("2"));
    assert_eq!(outcome.delay, Duration::ZERO);

    assert_eq!(harness.response(200, &[]).trailers.0, []);
    let outcome = harness.response_trailers(&[("x-a", "1")]);
    assert_eq!(outcome.verdict, Err("failed".into()));
    assert_eq!(outcome.trailers.0, [("x-a".to_owned(), b"1".to_vec())]);
}

#[test]
fn trailers_that_nobody_asked_for_pass() {
    let mut harness = acting(json!("nothing"), "keep");
    harness.request(testing::Exchange::post("/"));
    let outcome = harness.request_trailers(&[("x-a", "1")]);
    assert_eq!(outcome.trailers.header("x-a"), Some("1"));
}

/// Plays `whole` both ways and looks at what is left of the head.
#[track_caller]
fn check(ask: Value, act: &str, wanted: Result<Fate, &str>) {
    let mut harness = acting(ask, act);
    let wanted = wanted.map_err(Error::from);
    let seen = wanted.is_ok().then_some("yes");

    let outcome = request_body(&mut harness);
    assert_eq!(outcome.verdict, wanted, "{act}");
    assert_eq!(outcome.request.header("x-seen"), seen);
    assert_eq!(outcome.cluster.is_some(), seen.is_some());
    assert_eq!(outcome.delay.is_zero(), seen.is_none());
    assert_eq!(
        outcome.state,
        if seen.is_some() { "whole" } else { "" }.as_bytes()
    );

    let outcome = response_body(&mut harness);
    assert_eq!(outcome.verdict, wanted, "{act}");
    assert_eq!(outcome.response.header("x-seen"), seen);
    assert_eq!(outcome.status, Some(if seen.is_some() { 201 } else { 200 }));
}

fn acting(ask: Value, act: &str) -> Harness<Acting> {
    Harness::new(json!({ "ask": ask, "act": act })).unwrap()
}

fn request_body(harness: &mut Harness<Acting>) -> Outcome<Fate> {
    harness.request(testing::Exchange::post("/"));
    harness.request_body("whole")
}

fn response_body(harness: &mut Harness<Acting>) -> Outcome<Fate> {
    harness.response(200, &[]);
    harness.response_body("whole")
}
