//! Listeners: where they are, what clients may speak there, and how much of it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Name;
use crate::config::socket::ListenerSocket;
use crate::config::tls::ListenerTls;

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

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
    pub max_client_handshakes: usize,
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
