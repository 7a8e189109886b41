//! The keys of a retry policy, and of a cluster's budget for retries.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, IntoDeserializer};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Items;
use super::units::{HOUR, KIB, MIB, Size, Time};

/// When a request is tried again. Without a policy it is where no connection was made, or
/// one died before anything of an answer came: with other endpoints, three tries in all, if
/// nothing of it was sent or its method is idempotent and it has no body.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "RetryPolicy")]
pub(in crate::config) struct RawRetryPolicy {
    /// Unique among retry policies: what clusters, routes and filters call it by.
    #[schemars(required, with = "String", extend("x-wanted" = "a name"))]
    pub(in crate::config) name: Option<String>,
    /// What a try ends with that another may follow: `connect_failure`, `refused_stream`
    /// (of HTTP/2: the origin says that it has not looked at it), `reset` (the connection
    /// died before an answer), `try_timeout` (no answer in time), `gateway_error` (502, 503
    /// and 504), `5xx`, a status, or `grpc: [unavailable]` for gRPC's in the head of an
    /// answer.
    #[schemars(with = "Vec<RawRetryOn>", length(min = 1))]
    #[serde(default = "on")]
    pub(in crate::config) on: Items<RawRetryOn>,
    /// Tries in all, the first among them.
    #[schemars(range(min = 1, max = 10))]
    #[serde(default = "attempts")]
    pub(in crate::config) attempts: u32,
    /// For one try, to the head of its answer. Without this key it is the cluster's.
    #[schemars(with = "Time<1, { 24 * HOUR }>")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::config) try_timeout: Option<Time<1, { 24 * HOUR }>>,
    /// The wait before a retry.
    #[serde(default)]
    pub(in crate::config) backoff: RawBackoff,
    /// How much of an answer's `Retry-After` is waited for, before the backoff.
    #[serde(default = "a_second")]
    pub(in crate::config) retry_after: Time<0, HOUR>,
    /// Whose requests: those of `idempotent` methods, which may be sent twice (GET, HEAD,
    /// OPTIONS, TRACE, PUT, DELETE), or of `any`. What no origin has looked at is tried
    /// again with each.
    #[serde(default)]
    pub(in crate::config) methods: RawRetryMethods,
    /// The body that is kept to be sent again. A request with a larger one is not tried
    /// again once any of it was sent.
    #[serde(default = "max_body")]
    pub(in crate::config) max_body: Size<0, { 16 * MIB }>,
    /// A second try beside a first that takes long. Without this key there is none.
    #[schemars(with = "RawHedge")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::config) hedge: Option<RawHedge>,
}

/// A second try beside a first that takes long, at another endpoint: the answer that comes
/// first is passed on, and the other try is broken off. For requests that may be sent twice
/// (`methods`), are whole by then and no larger than `max_body`. It is one of `attempts`, and
/// paid from the cluster's `retry_budget`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Hedge")]
pub(in crate::config) struct RawHedge {
    /// So long after the first try began, if there is no answer. `p95` is what 95 of a hundred
    /// first tries lately took at most (`p50` to `p99`): each worker learns it of the cluster's
    /// requests by this policy, and hedges once it has seen a hundred.
    #[schemars(required, with = "RawAfter")]
    pub(in crate::config) after: Option<RawAfter>,
    /// With `p95` and the like: not sooner than this. Without this key it is 1ms.
    #[schemars(with = "Time<1, HOUR>")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::config) least: Option<Time<1, HOUR>>,
}

/// A time, or what so many of a hundred took at most.
#[derive(Debug, Clone, Copy)]
pub(in crate::config) enum RawAfter {
    Time(Time<1, HOUR>),
    Percentile(u8),
}

impl fmt::Display for RawAfter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RawAfter::Time(time) => time.fmt(f),
            RawAfter::Percentile(percent) => write!(f, "p{percent}"),
        }
    }
}

impl Serialize for RawAfter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RawAfter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        match text.strip_prefix('p').map(str::parse) {
            Some(Ok(percent)) => Ok(Self::Percentile(percent)),
            Some(Err(_)) => Err(D::Error::custom("no percentile")),
            None => Time::deserialize(text.into_deserializer()).map(Self::Time),
        }
    }
}

impl JsonSchema for RawAfter {
    fn schema_name() -> Cow<'static, str> {
        "After".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^([0-9]+(ms|s|m|h)|p[5-9][0-9])$",
            "x-wanted": "a duration from 1ms to 1h, such as `50ms`, or `p50` to `p99`",
        })
    }
}

fn on() -> Items<RawRetryOn> {
    use RawRetryWord::{ConnectFailure, RefusedStream, Reset};
    let words = [ConnectFailure, RefusedStream, Reset];
    words.map(|word| Some(RawRetryOn::Word(word))).into()
}

fn attempts() -> u32 {
    3
}

fn a_second() -> Time<0, HOUR> {
    Time(1_000)
}

fn max_body() -> Size<0, { 16 * MIB }> {
    Size(64 * KIB)
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub(in crate::config) enum RawRetryOn {
    Word(RawRetryWord),
    Status(u16),
    Grpc(RawRetryGrpc),
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum RawRetryWord {
    ConnectFailure,
    RefusedStream,
    Reset,
    TryTimeout,
    GatewayError,
    #[serde(rename = "5xx")]
    ServerError,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct RawRetryGrpc {
    pub(in crate::config) grpc: Items<RawGrpcStatus>,
}

/// In the order of their numbers, from 1 on.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum RawGrpcStatus {
    Cancelled = 1,
    Unknown,
    InvalidArgument,
    DeadlineExceeded,
    NotFound,
    AlreadyExists,
    PermissionDenied,
    ResourceExhausted,
    FailedPrecondition,
    Aborted,
    OutOfRange,
    Unimplemented,
    Internal,
    Unavailable,
    DataLoss,
    Unauthenticated,
}

const GRPC: [&str; 16] = [
    "cancelled",
    "unknown",
    "invalid_argument",
    "deadline_exceeded",
    "not_found",
    "already_exists",
    "permission_denied",
    "resource_exhausted",
    "failed_precondition",
    "aborted",
    "out_of_range",
    "unimplemented",
    "internal",
    "unavailable",
    "data_loss",
    "unauthenticated",
];

impl JsonSchema for RawRetryOn {
    fn schema_name() -> Cow<'static, str> {
        "RetryOn".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let words = [
            "connect_failure",
            "refused_stream",
            "reset",
            "try_timeout",
            "gateway_error",
            "5xx",
        ];
        json_schema!({
            "description": "A word, a status from 400 to 599, or a map with `grpc`.",
            "anyOf": [
                {"enum": words},
                {"type": "integer", "minimum": 400, "maximum": 599},
                {
                    "description": "Statuses of gRPC.",
                    "type": "object",
                    "properties": {
                        "grpc": {
                            "description": "Their names.",
                            "type": "array",
                            "items": {"enum": GRPC},
                            "minItems": 1,
                        },
                    },
                    "required": ["grpc"],
                    "additionalProperties": false,
                },
            ],
            "x-wanted": "`connect_failure`, `refused_stream`, `reset`, `try_timeout`, `gateway_error`, `5xx`, a status from 400 to 599, or a map with `grpc`",
        })
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "RetryMethods")]
pub(in crate::config) enum RawRetryMethods {
    #[default]
    Idempotent,
    Any,
}

/// The wait before a retry: any time up to `base`, for the next one up to twice as much,
/// and never more than `max`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "Backoff")]
pub(in crate::config) struct RawBackoff {
    /// The most that the first may be.
    pub(in crate::config) base: Time<0, HOUR>,
    /// The most that any may be.
    pub(in crate::config) max: Time<0, HOUR>,
}

impl Default for RawBackoff {
    fn default() -> Self {
        Self {
            base: Time(25),
            max: Time(250),
        }
    }
}

/// How many retries a cluster may get, over all workers and whoever asks for them: what is
/// beyond is not made, and the answer that is there is given.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "RetryBudget")]
pub(in crate::config) struct RawRetryBudget {
    /// For each hundred requests of the last ten seconds, and at once for each hundred that
    /// are under way.
    #[schemars(range(min = 0, max = 100))]
    pub(in crate::config) percent: u32,
    /// In each second, however few requests there are.
    #[schemars(range(min = 0, max = 100_000))]
    pub(in crate::config) floor: u32,
    /// At once, however few are under way, of requests whose last try reached an origin.
    #[schemars(range(min = 0, max = 100_000))]
    pub(in crate::config) floor_at_once: u32,
}

impl Default for RawRetryBudget {
    fn default() -> Self {
        Self {
            percent: 20,
            floor: 3,
            floor_at_once: 3,
        }
    }
}
