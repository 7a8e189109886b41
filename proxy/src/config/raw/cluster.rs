//! The keys of a cluster.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::num::{NonZeroU8, NonZeroU16};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::Items;
use super::bounds::{RawBreaker, RawClusterLimits, RawConcurrency, RawQueue};
use super::health::{RawHealthCheck, RawOutliers, RawSlowStart, RawSubsets};
use super::retry::RawRetryBudget;
use super::socket::RawClusterSocket;
use super::tls::RawClusterTls;
use super::units::{HOUR, KIB, MIB, MINUTE, Size, Time};
use crate::balance::choices::MAX_CHOICES;
use crate::config::checked::ClusterProtocol;
use crate::proxy_protocol::Version;

const WANTED: &str = "`host:port`, `unix:/path` or a map with `address`";

/// A service: endpoints of which any can answer.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Cluster")]
pub(in crate::config) struct RawCluster {
    /// Unique among clusters. Letters, digits, `_`, `.` and `-`.
    #[schemars(required, with = "String", extend("x-wanted" = "a name"))]
    pub(in crate::config) name: Option<String>,
    /// Where the service runs: `10.0.0.1:8080`, `[::1]:8080`, `unix:/path`,
    /// `unix:@name` (abstract), or a host name with a port, which stands for the
    /// addresses it resolves to. `srv:NAME` stands for where a service runs (SRV: its
    /// priorities are tiers, its weights weights), and `file:PATH` for the `endpoints` of a
    /// file of YAML or JSON, addresses only, which is watched and followed without a reload:
    /// a bad one refuses a start or a reload, and changes nothing when it changes live
    /// (docs/discovery.md). A map of `address` and `weight` gives an endpoint more
    /// or less than others; `tier`, `zone` and `labels` say for which requests it is.
    /// `original_dst`, alone, is wherever the client wanted to go
    /// before a rule of the firewall redirected it here (`SO_ORIGINAL_DST`, TPROXY).
    /// `request_target`, alone, is wherever a request's target says (a listener's
    /// `forward_proxy`), as far as `targets` allows it.
    #[schemars(required, with = "Vec<RawEndpoint>", length(min = 1))]
    pub(in crate::config) endpoints: Option<Items<RawEndpoint>>,
    /// Where clients may go. For `endpoints: [request_target]`, which cannot be without.
    #[schemars(with = "RawTargets")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::config) targets: Option<RawTargets>,
    /// How an endpoint is picked: `round_robin` takes them in turn, by weight,
    /// `least_request` the one of two drawn that has less to do, `peak_ewma` the one of two
    /// drawn that answers sooner, `random` any. With `ring_hash` and `maglev` equal keys
    /// go to the same endpoint (docs/balancing.md).
    #[serde(default = "round_robin")]
    pub(in crate::config) balance: RawBalance,
    /// How many are drawn, with `least_request` and `peak_ewma`, of which the best is taken:
    /// 2 by default. With more, fewer requests meet a slow one, and more go to the same one
    /// at the same time.
    #[schemars(with = "NonZeroU8", range(min = 2, max = MAX_CHOICES))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::config) choices: Option<NonZeroU8>,
    /// Where the key of a request is, in order of preference, with `ring_hash` and
    /// `maglev`: `filter` is what a filter set, `address` is the client's. By default
    /// `filter`, then `address`. A request without any goes anywhere.
    #[schemars(with = "Vec<RawHashKey>", length(min = 1))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::config) hash_key: Option<Items<RawHashKey>>,
    /// With `ring_hash` and `maglev`: how far above its share of the requests under way
    /// an endpoint may be before its keys go to others, 1.25 for a quarter. Without this
    /// key there is no bound.
    #[schemars(with = "f64", range(min = 1.0, max = 1000.0))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::config) bounded_load: Option<f64>,
    /// The share of a tier's endpoints, in percent, that have to be well: where fewer are,
    /// and no other tier carries what they do not, all are asked, sick ones too. 0 is
    /// never.
    #[schemars(range(min = 0, max = 100))]
    #[serde(default = "panic_threshold")]
    pub(in crate::config) panic_threshold: u8,
    /// By which labels requests may ask for some endpoints: those that a filter sets
    /// (`set-subset`).
    #[schemars(with = "RawSubsets")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::config) subsets: Option<RawSubsets>,
    /// What endpoints get that came, or came back, a short while ago.
    #[serde(default)]
    pub(in crate::config) slow_start: RawSlowStart,
    /// What each endpoint is asked again and again; one that fails any of these gets no
    /// requests (docs/health.md).
    #[schemars(with = "Vec<RawHealthCheck>", length(max = 8))]
    #[serde(default)]
    pub(in crate::config) health_checks: Items<RawHealthCheck>,
    /// Endpoints that are ejected for how requests went. By default those that serve
    /// nothing.
    #[serde(default)]
    pub(in crate::config) outliers: RawOutliers,
    /// What the endpoints speak: `http1`, `http2` as services of gRPC do, or `auto`, which
    /// is what each chooses in its TLS handshake (ALPN). Without TLS `http2` is spoken
    /// without asking first (prior knowledge), and `auto` is `http1`.
    #[serde(default = "http1")]
    pub(in crate::config) protocol: ClusterProtocol,
    /// TLS toward the endpoints. Without this key it is plain text.
    #[schemars(with = "RawClusterTls")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::config) tls: Option<RawClusterTls>,
    /// Begins connections with a PROXY header of this version, which tells whose they
    /// are. Each then belongs to one client and carries no request of another. For TCP
    /// and `protocol: http1`.
    #[schemars(with = "Version")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::config) proxy_protocol: Option<Version>,
    /// How connections of HTTP/2 are used.
    #[serde(default)]
    pub(in crate::config) http2: RawUpstreamHttp2,
    /// The connections that each worker keeps.
    #[serde(default)]
    pub(in crate::config) pool: RawPool,
    /// Times of an exchange with an endpoint.
    #[serde(default)]
    pub(in crate::config) timeouts: RawClusterTimeouts,
    /// How much there may be at once.
    #[serde(default)]
    pub(in crate::config) limits: RawClusterLimits,
    /// Lets requests beyond a limit wait, instead of refusing them.
    #[schemars(with = "RawQueue")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::config) queue: Option<RawQueue>,
    /// Limits requests at once by how long answers take.
    #[schemars(with = "RawConcurrency")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::config) concurrency: Option<RawConcurrency>,
    /// Stops asking while most requests fail.
    #[schemars(with = "RawBreaker")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::config) breaker: Option<RawBreaker>,
    /// The retry policy of requests for which no filter names another. Without this key
    /// only those are tried again for which no connection was made or lived.
    #[schemars(with = "String", extend("x-wanted" = "the name of a retry policy"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::config) retry: Option<String>,
    /// How many retries it may get.
    #[serde(default)]
    pub(in crate::config) retry_budget: RawRetryBudget,
    /// Options of the sockets of connections to endpoints.
    #[serde(default)]
    pub(in crate::config) socket: RawClusterSocket,
    /// How often names are asked for again at least: they are when the TTL of their answer is
    /// over, at most each second. What fails keeps its last answer, and is asked for again
    /// after 2, 4, 8 seconds and so on. For a name in a request's target, how long an answer
    /// is believed.
    #[serde(default = "resolve_every")]
    pub(in crate::config) resolve_every: Time<100, { 24 * HOUR }>,
    /// How long an endpoint that refused a connection is passed over while others
    /// can be had.
    #[serde(default = "refused_pause")]
    pub(in crate::config) refused_pause: Time<0, HOUR>,
    /// How often an endpoint is asked that gives nothing: one request, or connection of TCP, in
    /// this time, until one is answered. 0 for all of them.
    #[serde(default = "silent_pause")]
    pub(in crate::config) silent_pause: Time<0, MINUTE>,
    /// An answer's head. Beyond it: 502.
    #[serde(default = "max_head_bytes")]
    pub(in crate::config) max_head_bytes: Size<KIB, { 16 * MIB }>,
}

fn round_robin() -> RawBalance {
    RawBalance::RoundRobin
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Balance")]
pub(in crate::config) enum RawBalance {
    RoundRobin,
    LeastRequest,
    PeakEwma,
    Random,
    RingHash,
    Maglev,
}

/// Where a key may be.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub(in crate::config) enum RawHashKey {
    Word(RawHashWord),
    Named(RawHashName),
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum RawHashWord {
    Filter,
    Address,
}

/// Something that has a name: one of the first two keys.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct RawHashName {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) header: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) cookie: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) ttl: Option<Time<0, { 24 * 365 * HOUR }>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) path: Option<String>,
}

impl JsonSchema for RawHashKey {
    fn schema_name() -> Cow<'static, str> {
        "HashKey".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut ttl = generator.subschema_for::<Time<0, { 24 * 365 * HOUR }>>();
        let what = "For a cookie: one that lives so long is set where there is none; `0s` is as \
                    long as the browser likes. Without this key none is set.";
        ttl.insert("description".into(), what.into());
        json_schema!({
            "description": "`filter`, `address`, or a map with `header` or `cookie`.",
            "anyOf": [
                {"enum": ["filter", "address"]},
                {
                    "description": "A key of a request that has a name: `header` or `cookie`.",
                    "type": "object",
                    "properties": {
                        "header": {"description": "A field of the request, as filters left it.", "type": "string"},
                        "cookie": {"description": "A cookie.", "type": "string"},
                        "ttl": ttl,
                        "path": {"description": "For a cookie that is set: its path, `/` by default.", "type": "string"},
                    },
                    "additionalProperties": false,
                },
            ],
            "x-wanted": "`filter`, `address` or a map with `header` or `cookie`",
        })
    }
}

fn panic_threshold() -> u8 {
    50
}

fn http1() -> ClusterProtocol {
    ClusterProtocol::Http1
}

fn resolve_every() -> Time<100, { 24 * HOUR }> {
    Time(30_000)
}

fn refused_pause() -> Time<0, HOUR> {
    Time(1_000)
}

fn silent_pause() -> Time<0, MINUTE> {
    Time(100)
}

fn max_head_bytes() -> Size<KIB, { 16 * MIB }> {
    Size(64 * KIB)
}

/// An endpoint, as an address alone or with what is to be said of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(from = "AddressOrEndpoint")]
pub(in crate::config) struct RawEndpoint {
    pub(in crate::config) address: Option<String>,
    pub(in crate::config) weight: u32,
    pub(in crate::config) tier: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) zone: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(in crate::config) labels: BTreeMap<String, String>,
    /// Whether it was written as a map, in which the address has its own place.
    #[serde(skip)]
    pub(in crate::config) is_map: bool,
}

/// A file of endpoints.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "EndpointFile")]
pub(in crate::config) struct RawEndpointFile {
    /// As those of a cluster, but addresses only.
    #[schemars(required, with = "Vec<RawEndpoint>")]
    pub(in crate::config) endpoints: Items<RawEndpoint>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum AddressOrEndpoint {
    Address(String),
    Endpoint {
        address: Option<String>,
        #[serde(default = "one")]
        weight: u32,
        #[serde(default)]
        tier: u8,
        zone: Option<String>,
        #[serde(default)]
        labels: BTreeMap<String, String>,
    },
}

fn one() -> u32 {
    1
}

impl From<AddressOrEndpoint> for RawEndpoint {
    fn from(raw: AddressOrEndpoint) -> Self {
        match raw {
            AddressOrEndpoint::Address(address) => Self {
                address: Some(address),
                weight: 1,
                tier: 0,
                zone: None,
                labels: BTreeMap::new(),
                is_map: false,
            },
            AddressOrEndpoint::Endpoint {
                address,
                weight,
                tier,
                zone,
                labels,
            } => Self {
                address,
                weight,
                tier,
                zone,
                labels,
                is_map: true,
            },
        }
    }
}

impl JsonSchema for RawEndpoint {
    fn schema_name() -> Cow<'static, str> {
        "Endpoint".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "An address, or a map of an address and what is to be said of it.",
            "anyOf": [
                {"type": "string", "x-wanted": "`host:port` or `unix:/path`"},
                {
                    "description": "One endpoint. An address alone has the weight 1.",
                    "type": "object",
                    "properties": {
                        "address": {
                            "description": "`host:port`, `[v6]:port`, `unix:/path`, `srv:name` or `file:path`.",
                            "type": "string",
                            "x-wanted": "`host:port` or `unix:/path`",
                        },
                        "weight": {
                            "description": "How much it gets, compared with the others. What weighs 0 gets nothing, unless all do.",
                            "type": "integer",
                            "minimum": 0,
                            "maximum": 65535,
                            "default": 1,
                        },
                        "tier": {
                            "description": "Those of a later tier are asked where earlier ones are too sick to carry it all.",
                            "type": "integer",
                            "minimum": 0,
                            "maximum": 127,
                            "default": 0,
                        },
                        "zone": {
                            "description": "Where it runs: a proxy with the same `zone` prefers it.",
                            "type": "string",
                            "minLength": 1,
                        },
                        "labels": {
                            "description": "What requests may ask for by `subsets` of the cluster.",
                            "type": "object",
                            "additionalProperties": {"type": "string"},
                        },
                    },
                    "required": ["address"],
                    "additionalProperties": false,
                },
            ],
            "x-wanted": WANTED,
        })
    }
}

/// Where clients may go that say so themselves. What is not listed is refused (403).
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "Targets")]
pub(in crate::config) struct RawTargets {
    /// Names: `example.com`, `*.example.com` for all that are below it, `*` for all.
    #[schemars(with = "Vec<String>")]
    pub(in crate::config) hosts: Items<String>,
    /// Addresses that a target may have in place of a name, as networks: `10.0.0.0/8`.
    /// Names of `hosts` may stand for addresses of the internet and for these, and not for
    /// private ones, those of this machine or of a link that are not here.
    #[schemars(with = "Vec<String>")]
    pub(in crate::config) networks: Items<String>,
    /// Ports, of names and addresses.
    #[schemars(with = "Vec<NonZeroU16>", length(min = 1))]
    pub(in crate::config) ports: Items<NonZeroU16>,
}

impl Default for RawTargets {
    fn default() -> Self {
        Self {
            hosts: Vec::new(),
            networks: Vec::new(),
            ports: [80, 443].map(NonZeroU16::new).into(),
        }
    }
}

/// The connections that each worker keeps.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "Pool")]
pub(in crate::config) struct RawPool {
    /// Idle connections kept for each endpoint. 0 keeps none.
    #[schemars(range(min = 0, max = 100_000))]
    pub(in crate::config) max_idle: usize,
    /// How long an idle connection is kept.
    pub(in crate::config) idle_timeout: Time<1, { 24 * HOUR }>,
    /// How old a connection may become. It is closed when it is next idle.
    pub(in crate::config) max_lifetime: Time<1, { 720 * HOUR }>,
    /// Requests that a connection serves, with HTTP/2 streams. After the answer to the last
    /// one it is closed. Without this key it serves any number.
    #[schemars(with = "u32", range(min = 1, max = 1_000_000_000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) max_requests: Option<u32>,
    /// Connections that each worker makes ahead to each endpoint that is well, and makes
    /// again when they go: so many are there, in use or not. With HTTP/2 it is one, however
    /// many are said here. For HTTP; connections of TCP are not made ahead.
    #[schemars(range(min = 0, max = 100_000))]
    pub(in crate::config) warm: u32,
}

impl Default for RawPool {
    fn default() -> Self {
        Self {
            max_idle: 128,
            idle_timeout: Time(60_000),
            max_lifetime: Time(HOUR),
            max_requests: None,
            warm: 0,
        }
    }
}

/// How connections of HTTP/2 to endpoints are used.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "UpstreamHttp2")]
pub(in crate::config) struct RawUpstreamHttp2 {
    /// Streams of one connection at once, where the endpoint allows as many. Beyond
    /// it another connection is made.
    #[schemars(range(min = 1, max = 100_000))]
    pub(in crate::config) max_streams: u32,
    /// What an endpoint may send of one body before the proxy has passed it on.
    pub(in crate::config) stream_window: Size<{ 64 * KIB - 1 }, { 16 * MIB }>,
    /// The same over all streams of a connection. Streams that clients do not read
    /// hold the others up once they have all of it.
    pub(in crate::config) connection_window: Size<{ 64 * KIB - 1 }, { 64 * MIB }>,
    /// How often an endpoint of which answers are awaited is asked whether it is still
    /// there.
    pub(in crate::config) ping_every: Time<100, HOUR>,
    /// For the answer to that. Beyond it the connection is given up.
    pub(in crate::config) ping_timeout: Time<100, HOUR>,
}

impl Default for RawUpstreamHttp2 {
    fn default() -> Self {
        Self {
            max_streams: 128,
            stream_window: Size(256 * KIB),
            connection_window: Size(32 * MIB),
            ping_every: Time(10_000),
            ping_timeout: Time(10_000),
        }
    }
}

/// Times of an exchange with an endpoint.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "ClusterTimeouts")]
pub(in crate::config) struct RawClusterTimeouts {
    /// To connect, a TLS handshake included. Beyond it: 504.
    pub(in crate::config) connect: Time<1, HOUR>,
    /// For a TLS handshake, within that. Beyond it: 504.
    #[schemars(with = "Time<1, HOUR>")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) tls: Option<Time<1, HOUR>>,
    /// For one try, from the choice of an endpoint to the head of its answer. Beyond it:
    /// 504, or another try where a retry policy says so.
    #[schemars(with = "Time<1, { 24 * HOUR }>")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) r#try: Option<Time<1, { 24 * HOUR }>>,
    /// From a request's last byte to the head of its answer. Beyond it: 504.
    pub(in crate::config) answer: Time<1, { 24 * HOUR }>,
    /// Without a byte of the answer's body. Beyond it the answer is cut off.
    pub(in crate::config) idle: Time<1, { 24 * HOUR }>,
    /// From a request's first byte to its answer's last, where that is less than the
    /// listener's `timeouts.total` and no filter says otherwise; what is left of it is told
    /// to the origin (`lockgate-deadline`). Beyond it: 504. Of CONNECT, and of a handshake of
    /// another protocol, it is the time until that is there; how long it lasts is not bounded
    /// by this.
    #[schemars(with = "Time<1, { 24 * HOUR }>")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) total: Option<Time<1, { 24 * HOUR }>>,
}

impl Default for RawClusterTimeouts {
    fn default() -> Self {
        Self {
            connect: Time(2_000),
            tls: None,
            r#try: None,
            answer: Time(60_000),
            idle: Time(60_000),
            total: None,
        }
    }
}
