//! The configuration as it is written. `check` makes the filter of it.

use lockgate_sdk::duration::Span;
use lockgate_sdk::matching::Match;
use lockgate_sdk::prelude::*;

/// Delays some requests and answers some with a failure.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Which requests. Without it, every request.
    #[serde(default, rename = "match")]
    pub condition: Match,
    /// Hold some requests for a while before they go on.
    pub delay: Option<DelayConfig>,
    /// Answer some requests with a failure, or break their connection.
    pub abort: Option<AbortConfig>,
    /// What a request may ask for itself, in fields of its own. Without it,
    /// nothing.
    pub headers: Option<HeadersConfig>,
    /// Makes the draw a function of this number and the request's id, so that a
    /// test repeats. Without it, the draw is random.
    pub seed: Option<u64>,
}

/// How long, and how often: `fixed`, or `min` and `max`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DelayConfig {
    /// Always this long, such as `250ms`.
    pub fixed: Option<Span>,
    /// At least this long; goes with `max`.
    pub min: Option<Span>,
    /// At most this long; every length from `min` on is as likely.
    pub max: Option<Span>,
    /// How many of the matching requests, in percent. Default: 100.
    #[serde(default = "always")]
    #[schemars(range(min = 0, max = 100))]
    pub percent: f64,
}

/// What failure, and how often: one of `status`, `grpc_status` and `reset`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AbortConfig {
    /// Answer with this HTTP status, 200 to 599.
    #[schemars(range(min = 200, max = 599))]
    pub status: Option<u16>,
    /// Answer with this gRPC status, 1 to 16, in a head without a body.
    #[schemars(range(min = 1, max = 16))]
    pub grpc_status: Option<u8>,
    /// `true`: close the connection or reset the stream without an answer.
    #[serde(default)]
    pub reset: bool,
    /// The text of the answer; goes with `status`. Default: `fault injected`.
    pub body: Option<String>,
    /// How many of the matching requests, in percent. Default: 100.
    #[serde(default = "always")]
    #[schemars(range(min = 0, max = 100))]
    pub percent: f64,
}

/// What a request may ask for itself.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HeadersConfig {
    /// A request may ask for a delay with `x-lockgate-fault-delay: 250ms`, and
    /// gets no longer one than this. Without it, none.
    pub max_delay: Option<Span>,
    /// A request may ask for a failure with `x-lockgate-fault-abort: 503`
    /// (or `grpc 14`, or `reset`). Default: false.
    #[serde(default)]
    pub abort: bool,
    /// How many of the asking requests get it, in percent. Default: 100.
    #[serde(default = "always")]
    #[schemars(range(min = 0, max = 100))]
    pub percent: f64,
}

fn always() -> f64 {
    100.0
}
