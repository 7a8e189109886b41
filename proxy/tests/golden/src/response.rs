//! Every host function that a response phase may call.

use lockgate_sdk::prelude::*;

use crate::{Golden, expect};

pub fn walk(golden: &Golden, exchange: &Exchange) -> Result<Verdict, Error> {
    let response = exchange.response();
    let status = response
        .status()
        .ok_or("a response phase without a response")?;
    golden.last_status.set(f64::from(status), &[]);
    if exchange.request().path().contains("replace") {
        return Ok(Reply::text(503, "golden replacement\n").into());
    }
    read(exchange, status)?;
    change(exchange)?;
    Ok(Verdict::Next)
}

fn read(exchange: &Exchange, status: u16) -> Result<(), Error> {
    let response = exchange.response();
    let show = |name: &str, value: &str| response.set_header(name, value);
    show("golden-status", &status.to_string())?;
    show("golden-local", &response.is_local().to_string())?;
    show("golden-state", &String::from_utf8_lossy(&exchange.state()))?;
    let origin = response.header_str("golden-origin");
    show("golden-saw", origin.as_deref().unwrap_or("none"))?;
    let cluster = exchange.attribute("upstream.cluster");
    show("golden-cluster", cluster.as_deref().unwrap_or("none"))?;
    show("golden-asked", &exchange.request().path())?;
    let entries = response.entries();
    let is_listed = entries.iter().any(|(name, _)| name == "golden-status");
    expect(is_listed, "entries show what was set, in lower case")
}

fn change(exchange: &Exchange) -> Result<(), Error> {
    let response = exchange.response();
    response.append_header("golden-status", "again")?;
    expect(response.headers("golden-status").len() == 2, "append adds")?;
    response.remove_header("golden-remove")?;
    response.set_status(298)?;
    expect(response.status() == Some(298), "the status that was set")?;
    let request = exchange.request();
    let is_late = request.set_header("golden-late", "1") == Err(HeadError::TooLate);
    expect(is_late, "the request was sent")?;
    let is_late = exchange.set_route("golden-never").is_err();
    expect(is_late, "the route was taken")
}
