//! The keys of how much is asked of a cluster.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::units::{HOUR, MINUTE, Time};

/// How much there may be at once, over all workers. What is beyond it is answered 503, and
/// `Proxy-Status`, the log and the metrics say which limit it was. Without a key there is
/// no limit.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "ClusterLimits")]
pub(in crate::config) struct RawClusterLimits {
    /// Requests, each from when it is taken up to the last byte of its answer, and
    /// connections of TCP. Beyond it `queue` lets requests wait.
    #[schemars(with = "u32", range(min = 1, max = 1_000_000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) requests: Option<u32>,
    /// Connections, idle ones among them. Where a worker has no other, it closes an idle
    /// one to make room. With `protocol: http1`, and for TCP, no more requests are taken up
    /// than there may be connections.
    #[schemars(with = "u32", range(min = 1, max = 1_000_000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) connections: Option<u32>,
    /// Requests that wait for a connection to be made.
    #[schemars(with = "u32", range(min = 1, max = 1_000_000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) pending: Option<u32>,
    /// Retries, second tries of `hedge` among them. What is beyond it is not made, and the
    /// answer that is there is given: `retry_budget` grants no more than this.
    #[schemars(with = "u32", range(min = 0, max = 1_000_000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) retries: Option<u32>,
    /// At each endpoint. One that has so many is passed over; where all have, it is 503.
    pub(in crate::config) per_endpoint: RawEndpointLimits,
}

/// How much there may be at once at each endpoint, over all workers. Without a key there is
/// no limit.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "EndpointLimits")]
pub(in crate::config) struct RawEndpointLimits {
    /// Requests, and connections of TCP.
    #[schemars(with = "u32", range(min = 1, max = 1_000_000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) requests: Option<u32>,
    /// Connections, idle ones among them. With `protocol: http1`, and for TCP, there are no
    /// more requests than there may be connections.
    #[schemars(with = "u32", range(min = 1, max = 1_000_000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) connections: Option<u32>,
    /// Requests that wait for a connection to be made there.
    #[schemars(with = "u32", range(min = 1, max = 1_000_000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) pending: Option<u32>,
    /// Requests that were tried elsewhere before, or beside it (`hedge`).
    #[schemars(with = "u32", range(min = 1, max = 1_000_000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) retries: Option<u32>,
}

/// Requests beyond a limit wait for their turn. The oldest is first; once everybody waits
/// for too long (5 ms for 100 ms), the newest is, and who waited longer than 10 ms is
/// refused (controlled delay).
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "Queue")]
pub(in crate::config) struct RawQueue {
    /// So many on each worker; more are refused.
    #[schemars(range(min = 1, max = 100_000))]
    pub(in crate::config) max: u32,
    /// How long one may wait. Beyond it: 503.
    pub(in crate::config) timeout: Time<1, { 10 * MINUTE }>,
}

impl Default for RawQueue {
    fn default() -> Self {
        Self {
            max: 100,
            timeout: Time(1_000),
        }
    }
}

/// A limit of requests at once that is found by how long answers take: it shrinks where
/// they take longer than in the long run, and grows where they do not.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "Concurrency")]
pub(in crate::config) struct RawConcurrency {
    /// To begin with.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(in crate::config) first: u32,
    /// It never is less.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(in crate::config) least: u32,
    /// Nor more.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(in crate::config) most: u32,
}

impl Default for RawConcurrency {
    fn default() -> Self {
        Self {
            first: 20,
            least: 20,
            most: 200,
        }
    }
}

/// A breaker: a cluster of which too many requests fail (5xx, gRPC's words for that, or no
/// answer) is not asked for a while. Then a few requests are let through; when these go well,
/// more and more.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "Breaker")]
pub(in crate::config) struct RawBreaker {
    /// It opens when so many of a hundred failed.
    #[schemars(range(min = 1, max = 100))]
    pub(in crate::config) failed: u8,
    /// Of at least so many in the window.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(in crate::config) min_requests: u32,
    /// The time that is looked at.
    pub(in crate::config) window: Time<1_000, HOUR>,
    /// How long it is open, at first. Then twice as long each time that it opens before it
    /// was closed for whole.
    pub(in crate::config) open: Time<100, HOUR>,
    /// At most.
    pub(in crate::config) max_open: Time<100, HOUR>,
    /// Requests that are let through then. All have to go well.
    #[schemars(range(min = 1, max = 10_000))]
    pub(in crate::config) probes: u32,
    /// From a tenth of all requests to all.
    pub(in crate::config) closing: Time<0, HOUR>,
}

impl Default for RawBreaker {
    fn default() -> Self {
        Self {
            failed: 50,
            min_requests: 20,
            window: Time(10_000),
            open: Time(1_000),
            max_open: Time(30_000),
            probes: 3,
            closing: Time(5_000),
        }
    }
}
