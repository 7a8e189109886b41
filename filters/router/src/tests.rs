//! The filter as a whole, against the simulated proxy.

mod actions;
mod matching;
mod model;
mod readme;

use lockgate_sdk::testing::{Exchange, Harness, Outcome};
use serde_json::{Value, json};

use crate::Router;

/// A router with these routes.
fn router(routes: Value) -> Harness<Router> {
    Harness::new(json!({ "routes": routes })).unwrap()
}

/// What a router with one route, called `it`, does with a request.
fn send(route: Value, exchange: Exchange) -> Outcome {
    let mut route = route;
    route["name"] = "it".into();
    router(json!([route])).request(exchange)
}
