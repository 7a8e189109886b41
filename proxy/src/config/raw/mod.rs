//! The configuration as it is written: the one place where its keys, their
//! types, defaults and descriptions stand.
//!
//! From these types come the JSON Schema, the reference in the documentation and
//! the checks of structure. What a type here lets pass may still be wrong: a
//! reference to nothing, an address that is none. `check` finds that.
//!
//! What is required is an `Option` all the same: without it the rest of an item
//! can still be checked, after the structure's check has told what is missing.

mod bounds;
mod case;
mod cluster;
mod dns;
mod filter;
mod health;
mod listener;
mod overload;
mod proxy_protocol;
mod registry;
mod retry;
mod secret;
mod socket;
mod tcp;
mod tls;
mod trust;
mod units;

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub(super) use bounds::{RawBreaker, RawConcurrency, RawEndpointLimits};
pub(super) use case::{
    RawAnswer, RawCase, RawCaseConnection, RawCaseFile, RawCaseRequest, RawCaseResponse,
    RawCaseTls, RawExpect, RawExpectedCall, RawExpectedMirror, RawExpectedRequest,
    RawExpectedResponse, RawStep, Values,
};
pub(super) use cluster::{
    RawBalance, RawCluster, RawEndpoint, RawEndpointFile, RawHashKey, RawHashName, RawHashWord,
    RawTargets, RawUpstreamHttp2,
};
pub(super) use dns::RawDns;
pub(super) use filter::{
    RawAbortOn, RawCanary, RawFilter, RawFilterLimits, RawGrants, RawProbation, RawRoute, RawShadow,
};
pub(super) use health::{
    RawCheckMethod, RawFallback, RawHealthCheck, RawHttpCheck, RawOutliers, RawStatuses, RawSubsets,
};
pub(super) use listener::{
    RawHttp2, RawLimits, RawListener, RawMessageHeaders, RawPathRules, RawTimeouts, RawUpgrades,
};
pub(super) use overload::RawOverload;
pub(super) use proxy_protocol::RawProxyProtocol;
pub(super) use registry::RawRegistry;
pub(super) use retry::{
    RawAfter, RawHedge, RawRetryBudget, RawRetryMethods, RawRetryOn, RawRetryPolicy, RawRetryWord,
};
pub(super) use secret::RawSecret;
pub(super) use socket::{RawClusterSocket, RawKeepAlive, RawListenerSocket};
pub(super) use tcp::RawTcp;
pub(super) use tls::{
    RawCertificate, RawClientCertificates, RawClusterTls, RawListenerTls, SYSTEM,
};
pub(super) use trust::RawTrustedKey;
use units::{GIB, HOUR, MIB};
pub(super) use units::{OutOfRange, Size, Time};

use super::checked::LogFormat;

/// The configuration of Lockgate: one YAML file and whatever it includes.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "Lockgate")]
pub(super) struct RawConfig {
    /// Further files that belong to this one, by path, relative to the file that
    /// names them. `*` in the last part of a path stands for anything, as in
    /// `conf.d/*.yaml`; hidden files never match. The lists `listeners`, `clusters`,
    /// `retry_policies`, `secrets`, `registries` and `trust` of all files are appended, the
    /// maps `filters` are united, and every other key may stand in one file only.
    #[schemars(inner(length(min = 1)))]
    #[serde(skip_serializing)]
    pub(super) include: Vec<String>,
    /// Where this proxy runs, in the words of endpoints' `zone`: those of the same zone are
    /// preferred, as far as they carry it (docs/balancing.md).
    #[schemars(with = "String", length(min = 1))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) zone: Option<String>,
    /// Threads that serve connections: a number, or `auto` for as many as the
    /// machine, or the container's CPU limit, can run at once.
    pub(super) workers: Workers,
    /// The address for metrics, health and reloads. Without this key there is
    /// none; `admin: {}` takes the defaults.
    #[schemars(with = "RawAdmin")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) admin: Option<RawAdmin>,
    /// The log of the process, on standard error.
    pub(super) log: RawLog,
    /// One record for each exchange.
    pub(super) access_log: RawAccessLog,
    /// Folder for components: those that were pulled, and those that were compiled,
    /// so that neither is done twice.
    /// Relative to the file it is written in. Without this key the program picks
    /// one.
    #[schemars(with = "String", length(min = 1))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cache_dir: Option<PathBuf>,
    /// How large `cache_dir` may grow. Beyond that, at a start and after each reload,
    /// files go that were not used for longest, but none that this configuration or a
    /// last good version needs.
    pub(super) max_cache_bytes: Size<MIB, { 1024 * GIB }>,
    /// Folder for what is known of filter versions: the last good component of each
    /// filter, so that a start with a broken one is a start all the same. Relative
    /// to the file it is written in. Without this key the program picks one.
    #[schemars(with = "String", length(min = 1))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) state_dir: Option<PathBuf>,
    /// How long a stop goes on serving as before, but with `/ready` at 503: for as long
    /// as balancers in front take to send new connections elsewhere. Then the drain
    /// begins.
    pub(super) lame_duck: Time<0, HOUR>,
    /// How long a stop waits for the exchanges that are under way. Those that are
    /// left then are ended.
    pub(super) drain_timeout: Time<1, { 24 * HOUR }>,
    /// Configurations that may be alive at once, because exchanges that began
    /// under them have not ended. At that many, a reload is refused.
    #[schemars(range(min = 2, max = 1024))]
    pub(super) max_generations: usize,
    /// Connections of clients at once, over all listeners and workers. Beyond it new
    /// ones are closed.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub(super) max_connections: usize,
    /// What is given up when the process has more than it can carry.
    pub(super) overload: RawOverload,
    /// Who is asked for names.
    pub(super) dns: RawDns,
    /// Where clients connect. At least one is needed.
    pub(super) listeners: Vec<RawListener>,
    /// The filters that listeners may name, by name. None may be named like another
    /// with a dot and more behind it, because attributes begin so.
    pub(super) filters: BTreeMap<String, RawFilter>,
    /// Where requests are sent to.
    pub(super) clusters: Vec<RawCluster>,
    /// When requests are tried again: what clusters, routes and filters may name.
    pub(super) retry_policies: Vec<RawRetryPolicy>,
    /// What filters may be granted to use without it being written here.
    pub(super) secrets: Vec<RawSecret>,
    /// What is to be known of registries that components are pulled from.
    pub(super) registries: Vec<RawRegistry>,
    /// Keys of which one has to have signed each component that is not shipped inside
    /// Lockgate. Without this key, components need no signature.
    pub(super) trust: Vec<RawTrustedKey>,
}

impl Default for RawConfig {
    fn default() -> Self {
        Self {
            include: Vec::new(),
            zone: None,
            workers: Workers::Auto(Auto::Auto),
            admin: None,
            log: RawLog::default(),
            access_log: RawAccessLog::default(),
            cache_dir: None,
            max_cache_bytes: Size(GIB),
            state_dir: None,
            lame_duck: Time(0),
            drain_timeout: Time(30_000),
            max_generations: 16,
            max_connections: 100_000,
            overload: RawOverload::default(),
            dns: RawDns::default(),
            listeners: Vec::new(),
            filters: BTreeMap::new(),
            clusters: Vec::new(),
            retry_policies: Vec::new(),
            secrets: Vec::new(),
            registries: Vec::new(),
            trust: Vec::new(),
        }
    }
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Workers {
    Auto(Auto),
    Number(usize),
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Auto {
    Auto,
}

impl JsonSchema for Workers {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Workers".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": ["integer", "string"],
            "minimum": 1,
            "maximum": 1024,
            "pattern": "^auto$",
            "x-wanted": "`auto` or a whole number from 1 to 1024",
        })
    }
}

/// The admin address.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "Admin")]
pub(super) struct RawAdmin {
    /// An IP address with a port, or `unix:` and the absolute path of a socket.
    #[schemars(extend("x-wanted" = "`unix:/path` or an IP address with a port, such as `127.0.0.1:9901`"))]
    pub(super) address: String,
    /// Host names that are answered to on TCP, beside the address itself and
    /// `localhost`: a page in a browser cannot reach it by any other.
    #[schemars(with = "Vec<String>", inner(length(min = 1)))]
    pub(super) hosts: Items<String>,
    /// What a request that changes something must carry, as
    /// `Authorization: Bearer TOKEN`. Without this key it needs no token.
    #[schemars(with = "String", length(min = 1), extend("writeOnly" = true))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) token: Option<String>,
}

impl Default for RawAdmin {
    fn default() -> Self {
        Self {
            address: "127.0.0.1:9901".to_owned(),
            hosts: Vec::new(),
            token: None,
        }
    }
}

/// The log of the process.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "Log")]
pub(super) struct RawLog {
    /// `off`, `error`, `warn`, `info`, `debug` or `trace`, and after it, separated
    /// by commas, `target=level` for parts that differ: `info,lockgate::upstream=debug`.
    /// Of `h2`, the library of HTTP/2, only errors are logged unless it is named.
    pub(super) level: String,
    /// `text` for people or `json`, one object in a line.
    pub(super) format: LogFormat,
}

impl Default for RawLog {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
            format: LogFormat::Text,
        }
    }
}

/// The log of exchanges.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "AccessLog")]
pub(super) struct RawAccessLog {
    /// `stdout`, `off`, or the path of a file, relative to the file it is written
    /// in. A path has a `/` in it.
    #[schemars(extend("x-wanted" = "`stdout`, `off` or a path with a `/`"))]
    pub(super) to: String,
    /// `json`, one object in a line, or `text`.
    pub(super) format: LogFormat,
    /// Whether each line tells what every filter did: its name, how many
    /// microseconds its calls took, and its verdict. Then each call is timed.
    pub(super) filters: bool,
}

impl Default for RawAccessLog {
    fn default() -> Self {
        Self {
            to: "stdout".to_owned(),
            format: LogFormat::Json,
            filters: false,
        }
    }
}

/// A list. `None` stands where an item had the wrong structure.
pub(super) type Items<T> = Vec<Option<T>>;

/// The default of a filter's configuration.
fn empty_map() -> Value {
    Value::Object(Map::new())
}
