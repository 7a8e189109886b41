//! Every host function that a request phase may call.

use lockgate_sdk::prelude::*;
use lockgate_sdk::{random, time};

use crate::{Golden, expect};

pub fn walk(golden: &Golden, exchange: &Exchange) -> Result<Verdict, Error> {
    read(exchange)?;
    change(exchange)?;
    refuse(exchange)?;
    decide(golden, exchange)?;
    speak();
    Ok(Verdict::Next)
}

/// What is read goes into fields, where the origin shows it.
fn read(exchange: &Exchange) -> Result<(), Error> {
    let request = exchange.request();
    let show = |name: &str, value: &str| request.set_header(name, value);
    show("golden-method", &request.method())?;
    show("golden-scheme", &request.scheme())?;
    show("golden-authority", &request.authority())?;
    show("golden-path", &request.path())?;
    show("golden-client", &exchange.client_address())?;
    let id = exchange.attribute("request.id").unwrap_or_default();
    show("golden-request-id", &id)?;

    expect(
        request.header("golden-absent").is_none(),
        "an absent prefetched field",
    )?;
    expect(request.header("golden-never").is_none(), "an absent field")?;
    expect(
        request.headers("golden-never").is_empty(),
        "no value of an absent field",
    )?;
    let many: Vec<_> = request.headers("golden-many");
    show("golden-count", &many.len().to_string())?;
    let first = request.header_str("golden-many");
    show("golden-first", first.as_deref().unwrap_or("none"))?;
    let entries = request.entries();
    let is_listed = entries.iter().any(|(name, _)| name == "golden-method");
    expect(is_listed, "entries show what was set, in lower case")?;
    expect(
        exchange.attribute("golden.never").is_none(),
        "an unknown attribute",
    )?;
    expect(exchange.state().is_empty(), "no state at first")?;
    expect(exchange.response().status().is_none(), "no response yet")?;
    expect(exchange.response_bytes() == 0, "no byte of a response yet")
}

/// What is changed can be read at once.
fn change(exchange: &Exchange) -> Result<(), Error> {
    let request = exchange.request();
    request.set_header("golden-set", "first")?;
    request.set_header("Golden-Set", "second")?;
    expect(
        request.header_str("golden-set").as_deref() == Some("second"),
        "set replaces",
    )?;
    request.append_header("golden-set", "third")?;
    expect(request.headers("golden-set").len() == 2, "append adds")?;
    request.set_header("golden-many", "replaced")?;
    expect(
        request.header_str("golden-many").as_deref() == Some("replaced"),
        "a changed field is not answered from what was handed over",
    )?;
    request.remove_header("golden-remove")?;
    request.remove_header("golden-never")?;
    request.set_method("PUT")?;
    request.set_authority("golden.example")?;
    request.set_path("/golden/sent?walked=1")?;
    expect(request.method() == "PUT", "the method that was set")?;
    expect(
        request.authority() == "golden.example",
        "the authority that was set",
    )?;
    expect(
        request.path() == "/golden/sent?walked=1",
        "the path that was set",
    )
}

/// What the contract refuses, and by which name.
fn refuse(exchange: &Exchange) -> Result<(), Error> {
    let request = exchange.request();
    let head = |result, error, what| expect(result == Err::<(), HeadError>(error), what);
    let name = request.set_header("a b", "1");
    head(name, HeadError::Invalid, "a bad name is refused")?;
    let value = request.set_header("golden-bad", "a\nb");
    head(value, HeadError::Invalid, "a bad value is refused")?;
    let framing = request.set_header("content-length", "1");
    head(framing, HeadError::Forbidden, "the proxy owns framing")?;
    let early = exchange.response().set_status(200);
    head(early, HeadError::TooLate, "there is no response yet")?;

    let unknown = |result, what| expect(result == Err(RouteError::Unknown), what);
    unknown(exchange.route_to("golden-never"), "an undeclared cluster")?;
    unknown(exchange.set_route("golden-never"), "an undeclared route")?;
    unknown(
        exchange.mirror_to("golden-never", &[]),
        "an undeclared mirror",
    )?;

    // Not served in 0.1, and refused by a later version too: nothing of the
    // kind was declared or configured.
    let refused = |result: Result<(), RouteError>, what| expect(result.is_err(), what);
    refused(
        exchange.set_retry("golden-never"),
        "an undeclared retry policy",
    )?;
    refused(
        exchange.set_hash_key(b"golden"),
        "a cluster without hashing",
    )?;
    refused(
        exchange.set_subset(&[("golden", "never")]),
        "a cluster without labels",
    )
}

fn decide(golden: &Golden, exchange: &Exchange) -> Result<(), Error> {
    exchange.route_to(&golden.config.cluster)?;
    exchange.set_route(&golden.config.route)?;
    exchange.mirror_to(&golden.config.mirror, &[("golden-copy", b"1")])?;
    exchange.delay(Duration::from_millis(1));
    exchange.set_timeout(Timeout::Total, Duration::from_secs(60));
    exchange.set_timeout(Timeout::Try, Duration::from_secs(30));
    exchange.set_timeout(Timeout::Idle, Duration::from_secs(20));
    exchange.set_attribute("walked", "yes");
    exchange.set_state(b"from the request");
    expect(
        exchange.state() == b"from the request",
        "the state that was set",
    )
}

/// Of logs and of chance nothing comes back but that they were called.
fn speak() {
    log::trace!("golden trace");
    log::debug!("golden debug");
    log::info!("golden info", random = random::u64());
    log::warn!("golden warn", now = time::since_epoch().as_secs());
    log::error!("golden error", unit = random::f64());
}
