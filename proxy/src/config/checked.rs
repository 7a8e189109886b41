//! The configuration after checking: every value is good, every reference
//! resolves, and nothing later checks again.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bounds::ClusterBounds;
use super::cases::Case;
pub use super::oci::Reference;
use super::overload::Overload;
use super::place::Places;
use super::retry::RetryPolicy;
pub use super::secret::{NoSecret, Secret, SecretBytes, SecretSource};
use super::socket::{ClusterSocket, ListenerSocket};
use super::tls::{ClusterTls, ListenerTls};
use super::trust::TrustedKey;
use crate::balance::subsets::Label;
use crate::balance::{outlier, retry_budget, slow_start, subsets};
use crate::proxy_protocol::Version;

/// A name given in the configuration: unique among its kind, never empty.
pub type Name = Arc<str>;

/// One checked configuration: a file with everything it includes.
#[derive(Debug)]
pub struct Config {
    pub workers: NonZeroUsize,
    pub admin: Option<Admin>,
    pub log: Log,
    pub access_log: AccessLog,
    /// Where compiled components are kept; `None` keeps them in memory only.
    pub cache_dir: Option<PathBuf>,
    /// How much is kept there, unless more is needed.
    pub max_cache_bytes: u64,
    /// Where what is known of filter versions outlives the process.
    pub state_dir: Option<PathBuf>,
    /// How long a stop serves on before it drains.
    pub lame_duck: Duration,
    /// How long a drain waits for exchanges before it ends them.
    pub drain_timeout: Duration,
    /// Generations that may be alive at once; a reload beyond it is refused.
    pub max_generations: NonZeroUsize,
    /// Connections of all listeners, over all workers.
    pub max_connections: usize,
    pub overload: Overload,
    pub dns: Dns,
    pub listeners: Vec<Listener>,
    pub filters: Vec<Filter>,
    pub clusters: Vec<Cluster>,
    pub retry_policies: Vec<Arc<RetryPolicy>>,
    pub secrets: Vec<Secret>,
    pub registries: Vec<Registry>,
    /// Without any, components need no signature.
    pub trust: Vec<TrustedKey>,
    /// Every file that was read, the main one first: what a reload watches
    /// (component files are in `filters`, those of secrets in `secrets`).
    pub files: Vec<PathBuf>,
    /// The folders that a pattern of `include` was looked for in: a reload watches
    /// them for new files.
    pub folders: Vec<PathBuf>,
    /// What `/config` shows: defaults filled in, secrets masked.
    pub shown: serde_json::Value,
    /// Where each value stands, for mistakes that are only found later.
    pub places: Places,
    /// JSON pointers of the values that came from `${ENV}`, masked wherever shown.
    pub from_env: Vec<String>,
}

impl Config {
    /// The rules of a filter's canary.
    pub fn canary(&self, filter: &str) -> Option<&Canary> {
        let mut filters = self.filters.iter();
        let filter = filters.find(|known| &*known.name == filter)?;
        filter.canary.as_deref()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    pub address: AdminAddress,
    /// Host names that are answered to, beside the address itself and `localhost`.
    pub hosts: Vec<String>,
    /// What POST requests must carry as `Authorization: Bearer`.
    pub token: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdminAddress {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// A `tracing_subscriber::EnvFilter` directive, checked.
    pub level: String,
    pub format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessLog {
    pub to: AccessLogTarget,
    pub format: LogFormat,
    /// Lines tell what each filter did.
    pub filters: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessLogTarget {
    Off,
    Stdout,
    File(PathBuf),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Listener {
    pub name: Name,
    pub address: ListenAddress,
    pub socket: ListenerSocket,
    pub tls: Option<ListenerTls>,
    /// Without it PROXY headers are not read.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// For what no filter routed. Without it such a request is answered 404.
    pub cluster: Option<Name>,
    /// For CONNECT and for targets with a host, where those are served.
    pub forward_proxy: Option<Name>,
    /// Removed from every request before any filter sees it.
    pub remove_request_headers: Vec<HeaderName>,
    /// Filters by name, in the order of their request phases.
    pub filters: Vec<Name>,
    /// Those that are asked about each connection, in this order.
    pub connection_filters: Vec<Name>,
    /// How long a connection's first bytes are waited for, where they tell what it speaks
    /// or one of those wants them.
    pub detection: Duration,
    /// Where they are not.
    pub server_first_ports: Vec<u16>,
    /// What is spoken on it; never empty.
    pub protocols: Vec<Protocol>,
    pub http2: Http2,
    pub tcp: Tcp,
    pub upgrades: Upgrades,
    pub limits: Limits,
    pub timeouts: Timeouts,
    pub headers: MessageHeaders,
    pub path: PathRules,
}

/// Where a listener listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenAddress {
    Tcp(SocketAddr),
    /// A file, or a name of the kernel's own (abstract), which begins with NUL.
    Unix(PathBuf),
    /// On sockets of this name that the process was started with.
    Systemd(Name),
}

impl std::fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", unix_name(path)),
            Self::Systemd(name) => write!(f, "systemd:{name}"),
        }
    }
}

/// Whether a Unix socket is in no file system.
pub fn is_abstract(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().starts_with(b"\0")
}

/// As it is written behind `unix:`.
pub fn unix_name(path: &Path) -> String {
    let path = path.display().to_string();
    match path.strip_prefix('\0') {
        Some(name) => format!("@{name}"),
        None => path,
    }
}

impl Listener {
    pub fn speaks(&self, protocol: Protocol) -> bool {
        self.protocols.contains(&protocol)
    }

    /// Whether every connection is passed on as it is.
    pub fn is_opaque(&self) -> bool {
        self.protocols
            .iter()
            .all(|protocol| *protocol == Protocol::Tcp)
    }

    /// Whether connections are looked at for what they speak.
    pub fn detects(&self) -> bool {
        self.speaks(Protocol::Tcp) && !self.is_opaque()
    }
}

/// What `Upgrade` calls WebSocket.
pub const WEBSOCKET: &str = "websocket";

/// Connections that go on in another protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upgrades {
    /// Those that clients may ask for, by their names in `Upgrade`.
    pub protocols: Vec<HeaderValue>,
    /// Without a byte in either direction.
    pub idle: Duration,
    /// From the handshake.
    pub max_lifetime: Option<Duration>,
}

impl Upgrades {
    pub fn has_websocket(&self) -> bool {
        let mut protocols = self.protocols.iter();
        protocols.any(|protocol| protocol == WEBSOCKET)
    }
}

/// PROXY headers that connections begin with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyProtocol {
    /// Who is believed.
    pub from: Vec<Network>,
    /// A connection without one is closed.
    pub is_required: bool,
    pub timeout: Duration,
}

/// What clients may speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// HTTP/1.1, and 1.0.
    Http1,
    Http2,
    /// Bytes, whatever they mean.
    Tcp,
}

/// How connections of TCP are used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tcp {
    /// Without a byte in either direction.
    pub idle: Duration,
    pub max_lifetime: Option<Duration>,
}

/// How often the peer of a connection of HTTP/2 is asked whether it is there, and how
/// long it has to answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PingTimes {
    pub every: Duration,
    pub timeout: Duration,
}

/// How connections of HTTP/2 are used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http2 {
    /// Streams of one connection at once.
    pub max_streams: u32,
    /// Body bytes that may be on their way to the proxy on one stream.
    pub stream_window: u32,
    /// The same of all streams of a connection.
    pub connection_window: u32,
    /// Streams that a client may break off within ten seconds.
    pub max_resets: u32,
    /// Frames that carry nothing and that it may send within ten seconds.
    pub max_control_frames: u32,
    pub pings: PingTimes,
}

/// What one client may ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Whole head in bytes, request line included. Beyond it: 431.
    pub max_head_bytes: usize,
    /// Fields of one head. Beyond it: 431.
    pub max_headers: usize,
    /// Request target in bytes. Beyond it: 414.
    pub max_target_bytes: usize,
    /// Request body in bytes. Beyond it: 413.
    pub max_body_bytes: u64,
    /// Bytes a second that a client has to send or take of a body; 0 where any will do.
    pub min_body_rate: u64,
    /// Requests of one connection; the last is answered with `Connection: close`.
    pub max_requests: u64,
    /// Connections of this listener, over all workers.
    pub max_connections: usize,
    /// The same of one client.
    pub max_client_connections: usize,
    /// By how many first bits addresses of IPv6 are those of one client.
    pub client_ipv6_prefix: u8,
    /// TLS handshakes under way, over all workers.
    pub max_handshakes: usize,
}

/// Times of one client connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    /// For a TLS handshake.
    pub handshake: Duration,
    /// Between two requests.
    pub idle: Duration,
    /// From a head's first byte to its last. Beyond it: 408.
    pub head: Duration,
    /// Without a byte of the request body, or without the client taking a byte
    /// of the answer.
    pub body: Duration,
    /// From a request's first byte to its answer's last. Beyond it: 504.
    pub total: Duration,
    /// The longest that a filter may make any time of an exchange.
    pub longest: Duration,
}

#[derive(Debug, Clone, PartialEq)]
pub struct MessageHeaders {
    /// `Server` of every answer; `None` passes the origin's on.
    pub server: Option<HeaderValue>,
    /// The received-by part of `Via`; `None` adds no `Via`.
    pub via: Option<String>,
    pub forwarded: ForwardedStyle,
    pub client_certificate: ClientCertificateField,
    /// Peers whose `X-Forwarded-*`, `Forwarded` and request id are believed.
    pub trusted_hops: Vec<Network>,
    /// Field that carries the request id to the origin and back to the client.
    pub request_id: HeaderName,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ForwardedStyle {
    /// `X-Forwarded-For`, `-Proto`, `-Host`.
    XForwarded,
    /// RFC 7239.
    Forwarded,
    Both,
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClientCertificateField {
    Off,
    /// `X-Forwarded-Client-Cert`.
    Forward,
}

/// A range of addresses, `10.0.0.0/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    pub address: IpAddr,
    pub prefix: u8,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathRules {
    pub merge_slashes: bool,
    pub encoded_slashes: EncodedSlashes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EncodedSlashes {
    /// Answer 400.
    Refuse,
    /// Leave `%2F` as it is.
    Keep,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Filter {
    pub name: Name,
    pub component: ComponentSource,
    /// The names of trusted keys of which one has to have signed it; of none, any.
    pub trust: Vec<Name>,
    pub on_error: OnError,
    pub on_bad: OnBad,
    pub probation: Probation,
    pub isolation: Isolation,
    pub limits: FilterLimits,
    pub grants: Grants,
    /// The configuration for what no entry of `routes` names.
    pub config: FilterConfig,
    /// By the route that an earlier filter named.
    pub routes: Vec<(Name, RouteConfig)>,
    /// Another version that some exchanges try.
    pub canary: Option<Box<Canary>>,
    /// Another version that sees copies.
    #[serde(default)]
    pub shadow: Option<Box<Shadow>>,
    /// What is checked of it before it is published.
    #[serde(skip)]
    pub checks: Vec<Case>,
    /// JSON pointer of this filter in the file, `/filters/auth`.
    pub pointer: String,
}

impl Config {
    /// The keys of which one has to have signed the component of a filter. None, where
    /// it needs no signature.
    pub fn trusted_for(&self, filter: &Filter) -> Vec<TrustedKey> {
        let counts =
            |key: &&TrustedKey| filter.trust.is_empty() || filter.trust.contains(&key.name);
        self.trust.iter().filter(counts).cloned().collect()
    }
}

/// A version that serves a share of a filter's exchanges.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Canary {
    pub component: ComponentSource,
    /// In the place of the filter's own; its routes stay.
    pub config: Option<FilterConfig>,
    /// Of 10,000 exchanges.
    pub share: u16,
    pub sticky_by: Sticky,
    pub abort_on: AbortOn,
    /// When it takes the filter's place by itself, if it does.
    pub promote_after: Option<Duration>,
    /// JSON pointer of this canary in the file.
    pub pointer: String,
}

/// A version that sees copies of exchanges, to be compared with the one that serves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Shadow {
    pub component: ComponentSource,
    /// In the place of the filter's own; its routes stay.
    pub config: Option<FilterConfig>,
    /// Of 10,000 exchanges.
    pub share: u16,
    /// Of one processor, on average.
    pub cpu_percent: u8,
    /// Clusters that it may call, in the place of those of the filter.
    pub call: Vec<Name>,
    /// JSON pointer of this shadow in the file.
    pub pointer: String,
}

/// What decides which exchanges see a canary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sticky {
    Chance,
    Address,
    /// A field of the request, in lower case; without it, not the canary.
    Header(String),
    /// What an earlier filter left; without it, not the canary.
    Attribute(String),
}

/// When a canary is given up by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AbortOn {
    /// Not before it was called so often.
    pub min_calls: u64,
    /// This share of its calls failed.
    pub fault_percent: u8,
    /// One call takes so much longer on average than one of the other version.
    pub added_latency: Option<Duration>,
    /// The share of calls that end the exchange differs by so many points.
    pub verdict_percent: Option<u8>,
}

impl Filter {
    /// What this is the entry of, if not of a filter itself: its `canary` or its
    /// `shadow`. Names hold no `/`.
    pub fn trial(&self) -> Option<&str> {
        self.pointer.split('/').nth(3)
    }

    /// Whether it has no effect on exchanges.
    pub fn is_shadow(&self) -> bool {
        self.trial() == Some("shadow")
    }

    /// The canary as the entry of a filter.
    pub fn canary_entry(&self) -> Option<Self> {
        let canary = self.canary.as_deref()?;
        Some(self.with(&canary.component, canary.config.as_ref(), &canary.pointer))
    }

    /// The shadow as the entry of a filter.
    pub fn shadow_entry(&self) -> Option<Self> {
        let shadow = self.shadow.as_deref()?;
        let mut entry = self.with(&shadow.component, shadow.config.as_ref(), &shadow.pointer);
        entry.grants.call.clone_from(&shadow.call);
        Some(entry)
    }

    /// Another version of the same filter, with a configuration of its own or with
    /// that of the filter.
    fn with(
        &self,
        component: &ComponentSource,
        config: Option<&FilterConfig>,
        pointer: &str,
    ) -> Self {
        Self {
            component: component.clone(),
            config: config.unwrap_or(&self.config).clone(),
            canary: None,
            shadow: None,
            pointer: pointer.to_owned(),
            ..self.clone()
        }
    }

    /// The configuration of no route, then those of routes.
    pub fn configs(&self) -> impl Iterator<Item = &FilterConfig> {
        let routes = self.routes.iter().filter_map(|(_, route)| match route {
            RouteConfig::Config(config) => Some(config),
            RouteConfig::Off => None,
        });
        std::iter::once(&self.config).chain(routes)
    }

    /// The same, to be changed.
    pub fn configs_mut(&mut self) -> impl Iterator<Item = &mut FilterConfig> {
        let routes = self.routes.iter_mut().filter_map(|(_, route)| match route {
            RouteConfig::Config(config) => Some(config),
            RouteConfig::Off => None,
        });
        std::iter::once(&mut self.config).chain(routes)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ComponentSource {
    /// `lockgate:NAME`, built into the binary.
    Shipped(Name),
    File(PathBuf),
    /// `oci://HOST/NAME@sha256:…`, pulled from a registry.
    Registry(Reference, Pull),
}

impl ComponentSource {
    pub fn is_shipped(&self) -> bool {
        matches!(self, Self::Shipped(_))
    }
}

impl fmt::Display for ComponentSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shipped(name) => write!(f, "lockgate:{name}"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Registry(reference, _) => write!(f, "{reference}"),
        }
    }
}

/// When a registry is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Pull {
    /// For what is not in the cache.
    Missing,
    /// At every start and reload, for what a tag stands for now.
    Always,
}

/// A registry of which there is something to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registry {
    /// As in references, with a port if they have one.
    pub host: String,
    pub plain_http: bool,
    /// A docker `config.json`; `None` is docker's own.
    pub credentials: Option<PathBuf>,
    /// PEM certificates that are trusted beside the system's.
    pub ca: Option<PathBuf>,
    /// From the first request of a pull to the last byte.
    pub timeout: Duration,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum RouteConfig {
    Off,
    Config(FilterConfig),
}

/// The configuration of a filter, opaque to the core.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FilterConfig {
    pub value: serde_json::Value,
    /// JSON pointer of the value in the file.
    pub pointer: String,
    /// What came from `${ENV}` and is no text, as it is written, by pointers into
    /// the value: the filter's schema may want it as text.
    pub texts: Vec<(String, String)>,
}

/// What happens to an exchange whose filter failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnError {
    /// Answer 500 (503 where the filter was not called at all).
    Deny,
    /// Go on as if the filter were not there.
    Skip,
    /// Close without an answer.
    Reset,
}

/// What a reload does that cannot build the filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnBad {
    /// Change nothing at all.
    Refuse,
    /// Leave this filter as it is, and load the rest.
    Keep,
}

/// How a new version of a filter is watched until it counts as good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probation {
    /// How long; zero watches nothing.
    pub time: Duration,
    /// It has to be called so often before it counts as good.
    pub min_calls: u64,
    /// It is given up at so many faults that are this share of its calls or more.
    pub min_faults: u64,
    pub fault_percent: u8,
}

/// Who else an instance has worked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Isolation {
    /// Other exchanges, before and after.
    Shared,
    /// Nobody: each exchange has its own.
    Request,
}

/// The budgets of a filter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilterLimits {
    /// Bytes of the component, and of what it is unpacked from.
    pub max_component_bytes: usize,
    /// CPU time of one call.
    pub cpu: Duration,
    /// How long taking over shared entries of another form may take.
    pub hand_over: Duration,
    /// CPU time of `create` and `wants`.
    pub create_cpu: Duration,
    /// Linear memory of one instance in bytes.
    pub memory_bytes: usize,
    /// Instances of one worker.
    pub max_instances: usize,
    /// Calls of one worker that wait for an instance, and how long each may.
    pub max_waiting: usize,
    pub max_wait: Duration,
    /// After this many overruns of the CPU budget, or of the calls into the host,
    /// within `overrun_window` the filter is paused.
    pub max_overruns: u32,
    pub overrun_window: Duration,
    /// First pause; each further one is twice as long, to a minute.
    pub pause: Duration,
    /// Calls into the host for one exchange.
    pub max_host_calls: u32,
    /// The largest delay that this filter may ask for in one exchange.
    pub max_delay: Duration,
    /// Bytes of a body that is collected for it.
    pub max_buffer_bytes: usize,
    /// Bytes of one answer it makes.
    pub max_reply_bytes: usize,
    /// Of a body, in one call.
    pub max_output_bytes: usize,
    /// Log lines of one call, and bytes of one line.
    pub max_log_lines: u32,
    pub max_log_bytes: usize,
    /// Series of its metrics.
    pub max_series: usize,
    /// Bytes of attributes and of state that it leaves in one exchange.
    pub max_attribute_bytes: usize,
    pub max_state_bytes: usize,
    /// Calls under way in one call of it, how long each may take, how long one
    /// exchange may wait for all of them, and the bytes of an answer.
    pub max_calls: usize,
    pub call_timeout: Duration,
    pub max_call_time: Duration,
    pub max_call_bytes: usize,
    /// What its instances share, and one entry of it.
    pub max_shared_bytes: usize,
    pub max_shared_entry_bytes: usize,
    /// CPU time of one run of a job, and all of its time.
    pub job_cpu: Duration,
    pub job_time: Duration,
    /// How long a publish waits for the first run of a job.
    pub first_run: Duration,
}

/// What a filter is allowed beyond its own exchange.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grants {
    /// Clusters that it may call.
    pub call: Vec<Name>,
    /// State that its instances share.
    pub shared: bool,
    /// Every name is that of a secret.
    pub secrets: BTreeMap<Name, SecretUse>,
}

impl Grants {
    /// Whether none of these is more than those.
    pub fn are_within(&self, others: &Self) -> bool {
        let secrets = self.secrets.iter();
        self.call
            .iter()
            .all(|cluster| others.call.contains(cluster))
            && (others.shared || !self.shared)
            && secrets
                .map(|(name, granted_use)| (others.secrets.get(name), granted_use))
                .all(|(other, granted_use)| other.is_some_and(|other| granted_use <= other))
    }
}

/// What a filter may do with a secret; the later ones are more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum SecretUse {
    /// Compare and sign with it, and put it into requests.
    Use,
    /// That, and see it.
    Reveal,
}

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

impl EndpointAddress {
    /// Whether clients say where it is.
    pub fn is_told(&self) -> bool {
        matches!(self, Self::OriginalDestination | Self::RequestTarget)
    }

    /// Whether what it stands for has to be found.
    pub fn is_discovered(&self) -> bool {
        matches!(self, Self::Host { .. } | Self::Service(_) | Self::File(_))
    }
}

/// As it is written.
impl fmt::Display for EndpointAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(address) => write!(f, "{address}"),
            Self::Host { host, port } => write!(f, "{host}:{port}"),
            Self::Service(name) => write!(f, "srv:{name}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::OriginalDestination => f.write_str("original_dst"),
            Self::RequestTarget => f.write_str("request_target"),
        }
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

/// Who is asked for names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dns {
    /// None: those of the system.
    pub servers: Vec<SocketAddr>,
    /// For one question to one server.
    pub timeout: Duration,
    /// How often a question is asked again.
    pub attempts: usize,
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

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    pub address: EndpointAddress,
    pub weight: u32,
    pub place: Placement,
}

/// Where among others an endpoint stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Placement {
    /// Later ones are asked where earlier ones do not suffice.
    pub tier: u8,
    pub zone: Option<Name>,
    pub labels: Arc<[Label]>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum EndpointAddress {
    Socket(SocketAddr),
    /// Resolved at start, and again when the answer does not hold any longer.
    Host {
        host: String,
        port: u16,
    },
    /// Likewise: where a service runs that has this name (SRV).
    Service(String),
    /// Those that a file tells, read at start and again when it changes.
    File(PathBuf),
    /// As in [`ListenAddress::Unix`].
    Unix(PathBuf),
    /// Where each client wanted to go before it was redirected here.
    OriginalDestination,
    /// Where the target of its request says.
    RequestTarget,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Balance {
    RoundRobin,
    /// Power of two choices.
    LeastRequest,
    Random,
    PeakEwma,
    /// Equal keys go to the same endpoint.
    Hash(Hashing),
}

impl Balance {
    /// Whether it goes by how requests went.
    pub fn watches(&self) -> bool {
        match self {
            Self::LeastRequest | Self::PeakEwma => true,
            Self::RoundRobin | Self::Random | Self::Hash(_) => false,
        }
    }

    pub fn hashing(&self) -> Option<&Hashing> {
        match self {
            Self::Hash(hashing) => Some(hashing),
            Self::RoundRobin | Self::LeastRequest | Self::Random | Self::PeakEwma => None,
        }
    }

    /// As in the configuration.
    pub fn name(&self) -> &'static str {
        match self {
            Self::RoundRobin => "round_robin",
            Self::LeastRequest => "least_request",
            Self::Random => "random",
            Self::PeakEwma => "peak_ewma",
            Self::Hash(hashing) => match hashing.table {
                HashTable::Ring => "ring_hash",
                HashTable::Maglev => "maglev",
            },
        }
    }
}

/// How keys become endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hashing {
    pub table: HashTable,
    /// Of an endpoint's share of the requests under way: what it may have of them.
    pub bound_percent: Option<u32>,
    /// The first that a request has.
    pub keys: Vec<HashKey>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HashTable {
    Ring,
    Maglev,
}

/// Where the key of a request is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HashKey {
    /// Set by a filter.
    Filter,
    /// The client's.
    Address,
    Header(HeaderName),
    Cookie {
        name: String,
        /// What is set where there is none.
        set: Option<SetCookie>,
    },
}

/// A cookie that clients are to keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetCookie {
    pub path: String,
    /// All attributes but `Secure`, as they stand behind the value.
    pub attributes: String,
}

impl SetCookie {
    /// Whether a client sends it with a request for this path (RFC 6265 section 5.1.4).
    pub fn is_for(&self, path: &str) -> bool {
        let rest = path.strip_prefix(self.path.as_str());
        rest.is_some_and(|rest| {
            rest.is_empty() || rest.starts_with('/') || self.path.ends_with('/')
        })
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
