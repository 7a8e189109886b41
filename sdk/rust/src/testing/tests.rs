//! The simulated proxy keeps to the contract.

use serde_json::json;

use super::{Exchange, Harness};
use crate::prelude::*;
use crate::{random, time};

/// What a test's filter does; `wants` is the same for all.
type Act = fn(&crate::Exchange) -> Result<Verdict, Error>;

/// `act` cannot come from a configuration, so it stands behind a number.
const ACTS: [Act; 5] = [change_and_read, change_and_fail, decide, refused, chance];

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    act: usize,
}

struct Acting(Act);

impl Filter for Acting {
    type Config = Config;

    fn create(config: Config) -> Result<Self, ConfigErrors> {
        let act = ACTS.get(config.act);
        let act = act.ok_or_else(|| ConfigError::at("/act", "no such act"))?;
        Ok(Acting(*act))
    }

    fn wants(&self) -> Wants {
        Wants::request()
            .request_fields([":method", ":authority", ":path", "x-a"])
            .response_fields([":status", "x-b"])
            .response()
            .done()
            .cluster("known")
            .route("known")
    }

    fn on_request(&self, exchange: &crate::Exchange) -> Result<Verdict, Error> {
        (self.0)(exchange)
    }

    fn on_response(&self, exchange: &crate::Exchange) -> Result<Verdict, Error> {
        let response = exchange.response();
        assert_eq!(response.status(), Some(200));
        assert_eq!(response.header_str("x-b").as_deref(), Some("1"));
        response.set_status(201)?;
        response.append_header("x-b", "2")?;
        assert_eq!(response.status(), Some(201));
        assert_eq!(response.headers("x-b").len(), 2);
        let is_late = exchange.request().set_header("x-a", "") == Err(HeadError::TooLate);
        assert!(is_late);
        exchange.set_state(&[exchange.state(), b" response".to_vec()].concat());
        Ok(Verdict::Next)
    }

    fn on_done(&self, exchange: &crate::Exchange) {
        let state = exchange.state();
        log::info!("over", state = String::from_utf8_lossy(&state));
    }
}

fn change_and_read(exchange: &crate::Exchange) -> Result<Verdict, Error> {
    let request = exchange.request();
    assert_eq!(request.path(), "/a?b");
    request.set_path("/c")?;
    request.set_method("PUT")?;
    request.set_authority("example.org")?;
    request.set_header("x-a", "new")?;
    request.append_header("X-A", "newer")?;
    assert_eq!((&*request.path(), &*request.method()), ("/c", "PUT"));
    assert_eq!(request.authority(), "example.org");
    assert_eq!(request.header_str("host").as_deref(), Some("example.org"));
    assert_eq!(request.header_str("x-a").as_deref(), Some("new"));
    assert_eq!(request.headers("x-a").len(), 2);
    request.remove_header("x-a")?;
    assert_eq!(request.header("x-a"), None);
    exchange.set_state(b"request");
    Ok(Verdict::Next)
}

fn change_and_fail(exchange: &crate::Exchange) -> Result<Verdict, Error> {
    exchange.request().set_header("x-a", "changed")?;
    exchange.set_attribute("changed", "yes");
    exchange.set_state(b"changed");
    exchange.route_to("known")?;
    exchange.delay(Duration::from_secs(1));
    log::error!("failing");
    exchange.route_to("unknown")?;
    Ok(Verdict::Next)
}

fn decide(exchange: &crate::Exchange) -> Result<Verdict, Error> {
    exchange.route_to("known")?;
    exchange.set_route("known")?;
    exchange.mirror_to("known", &[("x-copy", b"1")])?;
    exchange.set_timeout(Timeout::Try, Duration::from_secs(1));
    exchange.set_attribute("who", &exchange.client_address());
    Ok(Verdict::Leave)
}

fn refused(exchange: &crate::Exchange) -> Result<Verdict, Error> {
    let request = exchange.request();
    let refusals = [
        (request.set_header("a b", ""), HeadError::Invalid),
        (request.set_header("a", "\r"), HeadError::Invalid),
        (request.set_header("Host", "a"), HeadError::Forbidden),
        (
            request.remove_header("content-length"),
            HeadError::Forbidden,
        ),
        (request.set_path("a"), HeadError::Invalid),
        (request.set_method("CONNECT"), HeadError::Forbidden),
        (exchange.response().set_status(200), HeadError::TooLate),
    ];
    for (result, error) in refusals {
        assert_eq!(result, Err(error));
    }
    assert_eq!(exchange.set_route("unknown"), Err(RouteError::Unknown));
    assert_eq!(exchange.set_retry("unknown"), Err(RouteError::Unknown));
    Ok(Verdict::Next)
}

fn chance(exchange: &crate::Exchange) -> Result<Verdict, Error> {
    let drawn = random::u64();
    let second = time::since_epoch().as_secs();
    log::debug!("drawn at {second}", drawn = drawn);
    exchange.set_attribute("drawn", &drawn.to_string());
    Ok(Verdict::Next)
}

#[test]
fn changes_are_seen_at_once_and_kept() {
    let mut harness = acting(0);
    let outcome = harness.request(Exchange::get("/a?b").header("x-a", "old"));
    assert!(outcome.is_next());
    assert_eq!((&*outcome.path, &*outcome.method), ("/c", "PUT"));
    assert_eq!(outcome.request.header("x-a"), None);

    let outcome = harness.response(200, &[("x-b", "1")]);
    assert_eq!(outcome.status, Some(201));
    assert_eq!(outcome.response.headers("x-b"), ["1", "2"]);

    let outcome = harness.done();
    let state = ("state".to_owned(), "request response".to_owned());
    assert_eq!(outcome.logs[0].fields, [state]);
}

#[test]
fn a_failed_call_is_rolled_back() {
    let outcome = acting(1).request(Exchange::get("/").header("x-a", "old"));
    let error = outcome.verdict.as_ref().unwrap_err();
    assert!(error.to_string().contains("not declared"), "{error}");
    assert_eq!(outcome.request.header("x-a"), Some("old"));
    assert_eq!((outcome.cluster, outcome.delay), (None, Duration::ZERO));
    assert_eq!(outcome.attributes.len() + outcome.state.len(), 0);
    assert_eq!(outcome.logs.len(), 1);
}

#[test]
fn decisions() {
    let outcome = acting(2).request(Exchange::get("/").client("192.0.2.7"));
    assert_eq!(outcome.verdict, Ok(Verdict::Leave));
    assert_eq!(outcome.cluster.as_deref(), Some("known"));
    assert_eq!(outcome.route.as_deref(), Some("known"));
    assert_eq!(outcome.mirrors[0].cluster, "known");
    assert_eq!(outcome.timeouts, [(Timeout::Try, Duration::from_secs(1))]);
    assert_eq!(outcome.attribute("who"), Some("192.0.2.7"));
}

#[test]
fn refusals() {
    assert!(acting(3).request(Exchange::get("/")).is_next());
}

#[test]
fn time_and_chance_are_set() {
    let draw = |seed| {
        let mut harness = acting(4);
        harness.set_seed(seed);
        harness.set_now(Duration::from_secs(5));
        let outcome = harness.request(Exchange::get("/"));
        assert_eq!(outcome.logs[0].message, "drawn at 5");
        outcome.attributes
    };
    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1), draw(2));
}

#[test]
fn what_is_below_the_level_is_not_logged() {
    let mut harness = acting(4);
    harness.set_log_level(log::Level::Info);
    assert!(harness.request(Exchange::get("/")).logs.is_empty());
}

#[test]
fn mistakes_of_a_configuration_have_their_places() {
    let mistake = |config| Harness::<Acting>::new(config).err().unwrap().0;
    assert_eq!(mistake(json!({ "act": 9 }))[0].at, "/act");
    assert_eq!(mistake(json!({ "act": "1" }))[0].at, "/act");
    assert_eq!(mistake(json!({ "act": 1, "a/b": 1 }))[0].at, "/a~1b");
    assert_eq!(mistake(json!({}))[0].at, "");
    assert!(!mistake(json!({}))[0].message.contains("line"));
}

fn acting(act: usize) -> Harness<Acting> {
    Harness::new(json!({ "act": act })).unwrap()
}
