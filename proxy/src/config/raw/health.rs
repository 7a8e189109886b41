//! The keys of a cluster about how its endpoints are, and about which of them are asked.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::Items;
use super::units::{HOUR, Time};

/// Endpoints that are ejected for how requests went: nothing goes there for a while, unless
/// too few are left (`panic_threshold`).
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "Outliers")]
pub(in crate::config) struct RawOutliers {
    /// Failures of any kind in a row, over all workers: answers of 5xx, gRPC's `unknown`,
    /// `internal` and `data_loss`, and those below. 0 is never, here and below.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub(in crate::config) consecutive_5xx: u32,
    /// Of these, 502, 503 and 504, gRPC's `unavailable` and `deadline_exceeded`, bad answers,
    /// and none.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub(in crate::config) consecutive_gateway: u32,
    /// Of these, no answer: connections that break, handshakes that fail, and timeouts.
    /// Connections that are refused at once are none of these: `refused_pause` is for them.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub(in crate::config) consecutive_no_answer: u32,
    /// How many standard deviations below the mean of all endpoints the share of requests
    /// may be that went well, in an interval. Without this key there is no such rule.
    #[schemars(with = "f64", range(min = 0.1, max = 100.0))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) success_rate_deviations: Option<f64>,
    /// The share of requests that may fail in an interval, in percent. Without this key
    /// there is no such rule.
    #[schemars(with = "u8", range(min = 1, max = 100))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) failure_percent: Option<u8>,
    /// How many requests an endpoint has to have in an interval to be judged by
    /// `success_rate_deviations` or `failure_percent`.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub(in crate::config) min_requests: u64,
    /// How many endpoints have to have as many for that.
    #[schemars(range(min = 1, max = 100_000))]
    pub(in crate::config) min_endpoints: usize,
    /// How often these two are looked at.
    pub(in crate::config) interval: Time<10, HOUR>,
    /// How long an endpoint is ejected, times how often it lately was.
    pub(in crate::config) base_time: Time<1, { 24 * HOUR }>,
    /// How long at most.
    pub(in crate::config) max_time: Time<1, { 24 * HOUR }>,
    /// The share of endpoints that may be ejected at once, in percent. One may be in any
    /// case, where there are others; with 0 none is.
    #[schemars(range(min = 0, max = 100))]
    pub(in crate::config) max_ejected: u8,
}

impl Default for RawOutliers {
    fn default() -> Self {
        Self {
            consecutive_5xx: 0,
            consecutive_gateway: 5,
            consecutive_no_answer: 5,
            success_rate_deviations: None,
            failure_percent: None,
            min_requests: 100,
            min_endpoints: 5,
            interval: Time(10_000),
            base_time: Time(30_000),
            max_time: Time(300_000),
            max_ejected: 10,
        }
    }
}

/// Endpoints that came, or came back, get more and more of their share for a while.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "SlowStart")]
pub(in crate::config) struct RawSlowStart {
    /// For how long. 0 is not at all.
    pub(in crate::config) window: Time<0, HOUR>,
    /// 1 is a straight line; above it the beginning is steeper.
    #[schemars(range(min = 0.1, max = 10.0))]
    pub(in crate::config) aggression: f64,
    /// The share of its share from its first moment on, in percent.
    #[schemars(range(min = 1, max = 100))]
    pub(in crate::config) least: u8,
}

impl Default for RawSlowStart {
    fn default() -> Self {
        Self {
            window: Time(0),
            aggression: 1.0,
            least: 10,
        }
    }
}

/// By which labels of endpoints requests may ask for some of them.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Subsets")]
pub(in crate::config) struct RawSubsets {
    /// Lists of labels' names that may be asked for together: `[[version], [version, stage]]`.
    #[schemars(
        required,
        with = "Vec<Vec<String>>",
        length(min = 1, max = 16),
        inner(length(min = 1, max = 16))
    )]
    pub(in crate::config) by: Option<Items<Items<String>>>,
    /// What a request gets whose labels no endpoint has: `all`, `none` (503), or `default`.
    #[serde(default = "none")]
    pub(in crate::config) fallback: RawFallback,
    /// With `fallback: default`: the labels that are asked for then.
    #[schemars(with = "BTreeMap<String, String>")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::config) default: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "SubsetFallback")]
pub(in crate::config) enum RawFallback {
    All,
    None,
    Default,
}

fn none() -> RawFallback {
    RawFallback::None
}

/// Something that each endpoint is asked again and again, on a connection of its own: one of
/// `http`, `tcp` and `grpc`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "HealthCheck")]
pub(in crate::config) struct RawHealthCheck {
    /// A request whose answer has to be good.
    #[schemars(with = "RawHttpCheck")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) http: Option<RawHttpCheck>,
    /// A connection, with TLS where the cluster has it: `tcp: {}`.
    #[schemars(with = "RawTcpCheck")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) tcp: Option<RawTcpCheck>,
    /// A call of `grpc.health.v1.Health/Check`, with `protocol: http2`, or `auto` and `tls`.
    #[schemars(with = "RawGrpcCheck")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) grpc: Option<RawGrpcCheck>,
    /// From the end of a check to the next.
    pub(in crate::config) interval: Time<10, HOUR>,
    /// The same in a cluster that has no requests.
    pub(in crate::config) idle_interval: Time<10, { 24 * HOUR }>,
    /// By how much a check comes earlier at most, by chance, in percent of the interval.
    #[schemars(range(min = 0, max = 100))]
    pub(in crate::config) jitter: u8,
    /// For one check, connecting included.
    pub(in crate::config) timeout: Time<1, HOUR>,
    /// So many checks in a row have to pass before a sick endpoint is well. The first that
    /// is ever made decides alone.
    #[schemars(range(min = 1, max = 1000))]
    pub(in crate::config) healthy_after: u32,
    /// So many in a row have to fail before one that is well is sick.
    #[schemars(range(min = 1, max = 1000))]
    pub(in crate::config) unhealthy_after: u32,
}

impl Default for RawHealthCheck {
    fn default() -> Self {
        Self {
            http: None,
            tcp: None,
            grpc: None,
            interval: Time(10_000),
            idle_interval: Time(60_000),
            jitter: 10,
            timeout: Time(2_000),
            healthy_after: 2,
            unhealthy_after: 3,
        }
    }
}

/// A request whose answer has to be good.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "HttpCheck")]
pub(in crate::config) struct RawHttpCheck {
    /// What is asked for, with a query if there is one.
    pub(in crate::config) path: String,
    /// By which method: one that has no body.
    pub(in crate::config) method: RawCheckMethod,
    /// `Host` of the request. Without this key, the address of the endpoint, with TLS its name.
    #[schemars(with = "String", length(min = 1))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) host: Option<String>,
    /// Further fields of the request.
    pub(in crate::config) headers: BTreeMap<String, String>,
    /// What statuses are good: `200`, or `200-299`.
    #[schemars(with = "Vec<RawStatuses>", length(min = 1))]
    pub(in crate::config) status: Items<RawStatuses>,
    /// What has to be in the first 64 KiB of the answer's body.
    #[schemars(with = "String", length(min = 1, max = 1024))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) body: Option<String>,
}

impl Default for RawHttpCheck {
    fn default() -> Self {
        Self {
            path: "/".into(),
            method: RawCheckMethod::Get,
            host: None,
            headers: BTreeMap::new(),
            status: vec![Some(RawStatuses::Range("200-299".into()))],
            body: None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "CheckMethod")]
pub(in crate::config) enum RawCheckMethod {
    #[serde(rename = "GET")]
    Get,
    #[serde(rename = "HEAD")]
    Head,
    #[serde(rename = "OPTIONS")]
    Options,
}

/// One status, or a range of them.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub(in crate::config) enum RawStatuses {
    One(u16),
    Range(String),
}

impl JsonSchema for RawStatuses {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Statuses".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["integer", "string"],
            "minimum": 100,
            "maximum": 599,
            "pattern": "^[1-5][0-9][0-9](-[1-5][0-9][0-9])?$",
            "x-wanted": "a status, such as `200`, or a range, such as `200-299`",
        })
    }
}

/// Nothing more is to be said of it.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "TcpCheck")]
pub(in crate::config) struct RawTcpCheck {}

/// A call of `grpc.health.v1.Health/Check`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "GrpcCheck")]
pub(in crate::config) struct RawGrpcCheck {
    /// The service that is asked for; without this key, the server as a whole.
    #[schemars(length(max = 1024))]
    pub(in crate::config) service: String,
}
