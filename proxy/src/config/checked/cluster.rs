//! Clusters: what they are connected with and how, and how it is known that they are well.

use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Balance, Endpoint, EndpointAddress, Name, Network, PingTimes};
use crate::balance::{outlier, retry_budget, slow_start, subsets};
use crate::config::bounds::ClusterBounds;
use crate::config::retry::RetryPolicy;
use crate::config::socket::ClusterSocket;
use crate::config::tls::ClusterTls;
use crate::proxy_protocol::Version;

#[derive(Debug, Clone, PartialEq)]
pub struct Cluster {
    pub name: Name,
    pub endpoints: Vec<Endpoint>,
    /// Where clients may go that say so themselves; `None` for a cluster of other endpoints.
    pub targets: Option<Targets>,
    pub balance: Balance,
    pub spread: Spread,
    /// Who is ejected for how requests went.
    pub outliers: Outliers,
    /// What each endpoint is asked again and again.
    pub health_checks: Vec<HealthCheck>,
    pub protocol: ClusterProtocol,
    /// `None`: without TLS.
    pub tls: Option<ClusterTls>,
    /// In which its connections begin with a header that tells whose they are.
    pub proxy_protocol: Option<Version>,
    pub http2: UpstreamHttp2,
    pub pool: PoolLimits,
    pub timeouts: ClusterTimeouts,
    pub bounds: ClusterBounds,
    /// Unless a filter names another.
    pub retry: Option<Arc<RetryPolicy>>,
    pub retry_budget: retry_budget::Rules,
    pub socket: ClusterSocket,
    /// How often host names are resolved again.
    pub resolve_every: Duration,
    /// How long an endpoint that refused a connection is passed over.
    pub refused_pause: Duration,
    /// How often one that is silent is asked.
    pub silent_pause: Duration,
    /// Bytes of an answer's head.
    pub max_head_bytes: usize,
}

impl Cluster {
    /// Whether connections that one of the two made serve the other: they differ in whom they
    /// are made to, in how that is picked and watched, and in what may be asked there.
    pub fn connects_like(&self, other: &Self) -> bool {
        let like_other = Self {
            endpoints: other.endpoints.clone(),
            balance: other.balance.clone(),
            bounds: other.bounds.clone(),
            spread: other.spread.clone(),
            outliers: other.outliers,
            health_checks: other.health_checks.clone(),
            timeouts: other.timeouts.clone(),
            retry: other.retry.clone(),
            retry_budget: other.retry_budget,
            ..self.clone()
        };
        like_other == *other && self.follows_clients() == other.follows_clients()
    }

    /// Whether some endpoints are to be found.
    pub fn is_discovered(&self) -> bool {
        let mut endpoints = self.endpoints.iter();
        endpoints.any(|endpoint| endpoint.address.is_discovered())
    }

    /// Whether it has endpoints from this file.
    pub fn has_file(&self, file: &Path) -> bool {
        let mut endpoints = self.endpoints.iter();
        endpoints.any(|one| matches!(&one.address, EndpointAddress::File(own) if own == file))
    }

    /// Whether connections go to where clients wanted to go.
    pub fn follows_clients(&self) -> bool {
        let mut endpoints = self.endpoints.iter();
        endpoints.any(|endpoint| endpoint.address == EndpointAddress::OriginalDestination)
    }

    /// Whether they go to where the targets of requests say.
    pub fn goes_to_targets(&self) -> bool {
        let mut endpoints = self.endpoints.iter();
        endpoints.any(|endpoint| endpoint.address == EndpointAddress::RequestTarget)
    }
}

/// Where clients may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Targets {
    pub hosts: Vec<HostPattern>,
    /// For addresses in targets, and for names that stand for one that is nobody's service.
    pub networks: Vec<Network>,
    pub ports: Vec<u16>,
}

/// Which names of hosts; in lower case, without a dot at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostPattern {
    Every,
    One(String),
    /// Whatever is below this one.
    Below(String),
}

/// What an origin speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClusterProtocol {
    Http1,
    /// Without TLS, without asking first (prior knowledge).
    Http2,
    /// What each endpoint chooses in its TLS handshake. Without TLS HTTP/1.
    Auto,
}

/// How connections of HTTP/2 to origins are used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamHttp2 {
    /// Streams of one connection at once, where the origin allows as many.
    pub max_streams: u32,
    /// Body bytes that may be on their way to the proxy on one stream.
    pub stream_window: u32,
    /// The same of all streams of a connection.
    pub connection_window: u32,
    pub pings: PingTimes,
}

/// Which part of the endpoints a request is for, before a policy picks one.
#[derive(Debug, Clone, PartialEq)]
pub struct Spread {
    /// Where this proxy is.
    pub zone: Option<Name>,
    /// With a smaller share of able endpoints all are asked; 0 for never.
    pub panic_percent: u8,
    pub subsets: Option<Subsets>,
    pub slow_start: slow_start::Rules,
}

impl Default for Spread {
    fn default() -> Self {
        Self {
            zone: None,
            panic_percent: 50,
            subsets: None,
            slow_start: slow_start::Rules::default(),
        }
    }
}

/// By which labels endpoints may be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subsets {
    /// Sets of keys.
    pub by: Vec<Vec<String>>,
    pub fallback: subsets::Fallback,
}

/// Something that each endpoint is asked, and how often.
#[derive(Debug, Clone, PartialEq)]
pub struct HealthCheck {
    pub what: Check,
    pub interval: Duration,
    /// While the cluster has no requests.
    pub idle_interval: Duration,
    /// The part of an interval by which a check comes earlier at most.
    pub jitter: f64,
    pub timeout: Duration,
    pub healthy_after: u32,
    pub unhealthy_after: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    Tcp,
    Http(Box<HttpCheck>),
    Grpc { service: String },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpCheck {
    pub method: Method,
    pub path: PathAndQuery,
    /// Without it, the endpoint's own name.
    pub host: Option<HeaderValue>,
    pub headers: HeaderMap,
    /// Those that are good.
    pub status: Vec<RangeInclusive<u16>>,
    /// What is to be in the answer's body.
    pub body: Option<String>,
}

/// Who is ejected, and how often that is looked at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outliers {
    pub rules: outlier::Rules,
    pub interval: Duration,
}

impl Outliers {
    /// Whether requests are to be counted.
    pub fn goes_by_rates(&self) -> bool {
        self.rules.deviations.is_finite() || self.rules.failure_percent <= 100.0
    }
}

impl Default for Outliers {
    /// Those alone that serve nothing.
    fn default() -> Self {
        Self {
            rules: outlier::Rules {
                errors: 0,
                deviations: f64::INFINITY,
                failure_percent: f64::INFINITY,
                ..outlier::Rules::default()
            },
            interval: Duration::from_secs(10),
        }
    }
}

/// The connection pool of one worker to one cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolLimits {
    /// Idle connections kept per endpoint.
    pub max_idle: usize,
    pub idle_timeout: Duration,
    pub max_lifetime: Duration,
    /// Of one connection; `None` for any number.
    pub max_requests: Option<u32>,
    /// Made ahead to each endpoint.
    pub warm: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterTimeouts {
    /// To connect, a TLS handshake included.
    pub connect: Duration,
    /// For that handshake.
    pub tls: Option<Duration>,
    /// From the choice of an endpoint to the head of its answer.
    pub try_timeout: Option<Duration>,
    /// From the request's last byte to the answer's head. Beyond it: 504.
    pub answer: Duration,
    /// Without a byte of the answer's body.
    pub idle: Duration,
    /// From a request's first byte to its answer's last.
    pub total: Option<Duration>,
}
