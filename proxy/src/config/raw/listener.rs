//! The keys of a listener.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Items;
use super::proxy_protocol::RawProxyProtocol;
use super::socket::RawListenerSocket;
use super::tcp::RawTcp;
use super::tls::RawListenerTls;
use super::units::{GIB, HOUR, KIB, MIB, MINUTE, Size, Time};
use crate::config::checked::WEBSOCKET;
use crate::config::checked::{ClientCertificateField, EncodedSlashes, ForwardedStyle, Protocol};

/// An address on which clients connect, and what is done with their requests.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Listener")]
pub(in crate::config) struct RawListener {
    /// Unique among listeners. Letters, digits, `_`, `.` and `-`.
    #[schemars(required, with = "String", extend("x-wanted" = "a name"))]
    pub(in crate::config) name: Option<String>,
    /// An IP address with a port: `0.0.0.0:8080`, `[::]:8080`. Port 0 takes a free
    /// one. `systemd:NAME` takes the sockets of that name (`FileDescriptorName=`) that
    /// systemd passes to the process at its start; those that it passes with an address
    /// that is written here are taken without a name. `unix:/path` is a Unix socket,
    /// `unix:@name` one that is in no file system (abstract).
    #[schemars(
        required,
        with = "String",
        extend("x-wanted" = "an IP address with a port, such as `0.0.0.0:8080`")
    )]
    pub(in crate::config) address: Option<String>,
    /// Options of the socket.
    #[serde(default)]
    pub(in crate::config) socket: RawListenerSocket,
    /// TLS towards clients. Without this key they are served in plain text.
    #[schemars(with = "RawListenerTls")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::config) tls: Option<RawListenerTls>,
    /// What connections begin with, before anything else. Without this key, PROXY
    /// headers are not read.
    #[schemars(with = "RawProxyProtocol")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::config) proxy_protocol: Option<RawProxyProtocol>,
    /// The cluster for requests that no filter routed. Without this key they are
    /// answered 404. Where TCP is spoken, the cluster for its connections.
    #[schemars(with = "String", extend("x-wanted" = "the name of a cluster"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::config) cluster: Option<String>,
    /// The cluster, of `endpoints: [request_target]`, for requests that say themselves where
    /// they go and that no filter routed: CONNECT, and over HTTP/1 targets with a host
    /// (`GET http://example.com/`). Without this key CONNECT is answered 501, and other
    /// requests go to `cluster`, whatever the form of their targets.
    #[schemars(with = "String", extend("x-wanted" = "the name of a cluster"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::config) forward_proxy: Option<String>,
    /// Header fields that are removed from every request before any filter sees
    /// it: those that only filters may set, such as an identity.
    #[schemars(with = "Vec<String>")]
    #[serde(default)]
    pub(in crate::config) remove_request_headers: Items<String>,
    /// Names of filters. Requests pass them in this order, responses in reverse.
    #[schemars(with = "Vec<String>")]
    #[serde(default)]
    pub(in crate::config) filters: Items<String>,
    /// Names of filters of connections, which are asked in this order about each
    /// connection, after its PROXY header and its TLS handshake and before anything
    /// else: who may connect, and where a connection of TCP goes.
    #[schemars(with = "Vec<String>")]
    #[serde(default)]
    pub(in crate::config) connection_filters: Items<String>,
    /// For the first bytes of a connection, where they tell what it speaks or one of its
    /// `connection_filters` wants to see them. Then what is not told is passed on as it
    /// is, and the filter is asked without them, or with those that came.
    #[serde(default = "detection")]
    pub(in crate::config) detection: Time<0, MINUTE>,
    /// Ports on which servers speak first, such as 25 and 3306: no first bytes are waited
    /// for there. It is the port that the client wanted to go to before a rule of the
    /// firewall redirected it here, else the one that it connected to.
    #[schemars(with = "Vec<u16>", inner(range(min = 1)))]
    #[serde(default)]
    pub(in crate::config) server_first_ports: Items<u16>,
    /// What clients may speak here. Over TLS they choose among these in the
    /// handshake; without it, who begins with the preface of HTTP/2 speaks that
    /// (prior knowledge). `tcp` passes bytes on to the cluster, whatever they mean:
    /// alone those of every connection, beside others those of connections that begin
    /// as none of the others does.
    #[schemars(with = "Vec<Protocol>", length(min = 1))]
    #[serde(default = "protocols")]
    pub(in crate::config) protocols: Items<Protocol>,
    /// How connections of HTTP/2 are used.
    #[serde(default)]
    pub(in crate::config) http2: RawHttp2,
    /// How connections of TCP are used. Where `protocols` has `tcp` only.
    #[serde(default)]
    pub(in crate::config) tcp: RawTcp,
    /// Connections that go on in another protocol, such as WebSocket.
    #[serde(default)]
    pub(in crate::config) upgrades: RawUpgrades,
    /// What one client may ask for.
    #[serde(default)]
    pub(in crate::config) limits: RawLimits,
    /// Times of a client's connection and its exchanges.
    #[serde(default)]
    pub(in crate::config) timeouts: RawTimeouts,
    /// Header fields that the proxy itself sets or believes.
    #[serde(default)]
    pub(in crate::config) headers: RawMessageHeaders,
    /// How paths are normalised, before any filter sees them.
    #[serde(default)]
    pub(in crate::config) path: RawPathRules,
}

fn detection() -> Time<0, MINUTE> {
    Time(1_000)
}

fn protocols() -> Items<Protocol> {
    vec![Some(Protocol::Http1), Some(Protocol::Http2)]
}

/// How connections of HTTP/2 are used.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "Http2")]
pub(in crate::config) struct RawHttp2 {
    /// Streams of one connection at once. More are refused, and may be sent again.
    #[schemars(range(min = 1, max = 100_000))]
    pub(in crate::config) max_streams: u32,
    /// What a client may send of one body before the proxy has passed it on.
    pub(in crate::config) stream_window: Size<{ 64 * KIB - 1 }, { 16 * MIB }>,
    /// The same over all streams of a connection.
    pub(in crate::config) connection_window: Size<{ 64 * KIB - 1 }, { 64 * MIB }>,
    /// Streams that a client may break off within ten seconds. Beyond it the
    /// connection is closed: this is how servers are flooded with work that nobody
    /// waits for.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(in crate::config) max_resets: u32,
    /// Frames within ten seconds that carry neither a request nor a body, such as
    /// SETTINGS, PING, WINDOW_UPDATE and empty DATA. For each 32 bytes that the client is
    /// sent it may send one more. Beyond it the connection is closed.
    #[schemars(range(min = 100, max = 10_000_000))]
    pub(in crate::config) max_control_frames: u32,
    /// How often a client that has streams open is asked whether it is still there.
    pub(in crate::config) ping_every: Time<100, HOUR>,
    /// For the answer to that. Beyond it the connection is closed.
    pub(in crate::config) ping_timeout: Time<100, HOUR>,
}

impl Default for RawHttp2 {
    fn default() -> Self {
        Self {
            max_streams: 128,
            stream_window: Size(256 * KIB),
            connection_window: Size(4 * MIB),
            max_resets: 1_000,
            max_control_frames: 10_000,
            ping_every: Time(30_000),
            ping_timeout: Time(20_000),
        }
    }
}

/// Connections that go on in another protocol (`Upgrade`, over HTTP/2 extended
/// CONNECT), and those that a forward proxy connects with their targets (CONNECT).
///
/// Filters take part in the handshake as in any request, and may refuse it. What
/// follows goes by them, in both directions, until one of the two ends it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "Upgrades")]
pub(in crate::config) struct RawUpgrades {
    /// What clients may ask for: `websocket`, or another protocol by its name in
    /// `Upgrade`, such as `spdy/3.1`. A wish for any other is passed over. Over HTTP/2
    /// there is WebSocket only.
    #[schemars(with = "Vec<String>")]
    pub(in crate::config) protocols: Items<String>,
    /// Without a byte in either direction. Then both connections are closed.
    pub(in crate::config) idle: Time<100, { 720 * HOUR }>,
    /// From the handshake. Without this key they live for as long as both sides keep
    /// them.
    #[schemars(with = "Time<100, { 8760 * HOUR }>")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) max_lifetime: Option<Time<100, { 8760 * HOUR }>>,
}

impl Default for RawUpgrades {
    fn default() -> Self {
        Self {
            protocols: vec![Some(WEBSOCKET.to_owned())],
            idle: Time(3_600_000),
            max_lifetime: None,
        }
    }
}

/// What one client may ask for.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "Limits")]
pub(in crate::config) struct RawLimits {
    /// A request's head, its first line included. Beyond it: 431.
    pub(in crate::config) max_head_bytes: Size<KIB, { 16 * MIB }>,
    /// Header fields of one request. Beyond it: 431.
    #[schemars(range(min = 1, max = 10_000))]
    pub(in crate::config) max_headers: usize,
    /// A request's target, that is its path and query. Beyond it: 414. No more than
    /// `max_head_bytes`, and never more than that by default.
    pub(in crate::config) max_target_bytes: Size<64, { 16 * MIB }>,
    /// A request's body. Beyond it: 413. Bodies are streamed and never collected,
    /// so a large one takes no memory.
    pub(in crate::config) max_body_bytes: Size<0, { 1024 * GIB }>,
    /// Bytes a second that a request's body must come with, and that the client must
    /// take of an answer, on average over `timeouts.body`. Only time in which the client
    /// is waited for counts, and over HTTP/2 what any stream of its connection moves.
    /// Below it: 408, and an answer is cut off. 0 is no limit.
    pub(in crate::config) min_body_rate: Size<0, GIB>,
    /// Requests of one connection. The last is answered with `Connection: close`.
    #[schemars(range(min = 1, max = 1_000_000_000_000_u64))]
    pub(in crate::config) max_requests: u64,
    /// Connections of this listener at once, over all workers.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub(in crate::config) max_connections: usize,
    /// Those of one client: of one address, as `proxy_protocol` tells it where that is
    /// read. Beyond it new ones are closed. For peers that are proxies themselves, by
    /// `headers.trusted_hops` or `proxy_protocol.from`, it does not count.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub(in crate::config) max_client_connections: usize,
    /// Addresses of IPv6 that begin with the same so many bits are one client: whoever
    /// has one of them mostly has the others.
    #[schemars(range(min = 1, max = 128))]
    pub(in crate::config) client_ipv6_prefix: u8,
    /// TLS handshakes of this listener under way at once, over all workers. Beyond it
    /// new connections are closed.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(in crate::config) max_handshakes: usize,
    /// Those of one client, counted as for `max_client_connections`, so that nobody takes
    /// all of them. Beyond it its new connections are closed.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(in crate::config) max_client_handshakes: usize,
}

impl Default for RawLimits {
    fn default() -> Self {
        Self {
            max_head_bytes: Size(64 * KIB),
            max_headers: 100,
            max_target_bytes: Size(8 * KIB),
            max_body_bytes: Size(GIB),
            min_body_rate: Size(240),
            max_requests: 100_000,
            max_connections: 20_000,
            max_client_connections: 15_000,
            client_ipv6_prefix: 64,
            max_handshakes: 2_000,
            max_client_handshakes: 400,
        }
    }
}

/// Times of a client's connection and its exchanges.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "Timeouts")]
pub(in crate::config) struct RawTimeouts {
    /// For a TLS handshake. Then the connection is closed.
    pub(in crate::config) handshake: Time<1, HOUR>,
    /// Between two requests of a connection. Then it is closed.
    pub(in crate::config) idle: Time<1, { 24 * HOUR }>,
    /// From the first byte of a request's head to its last. Beyond it: 408.
    pub(in crate::config) head: Time<1, HOUR>,
    /// Without a byte of a request's body, or without the client taking a byte of
    /// the answer.
    pub(in crate::config) body: Time<1, { 24 * HOUR }>,
    /// From a request's first byte to its answer's last. Beyond it: 504. Make it
    /// long where answers are streams without an end.
    pub(in crate::config) total: Time<1, { 720 * HOUR }>,
    /// The longest that a filter may make any time of an exchange.
    pub(in crate::config) longest: Time<1, { 720 * HOUR }>,
}

impl Default for RawTimeouts {
    fn default() -> Self {
        Self {
            handshake: Time(10_000),
            idle: Time(75_000),
            head: Time(10_000),
            body: Time(30_000),
            total: Time(300_000),
            longest: Time(3_600_000),
        }
    }
}

/// Header fields that the proxy itself sets or believes.
///
/// Beside these, every request goes to its origin with a `traceparent` (W3C Trace
/// Context): the client's with this hop as its parent, or a new one. That cannot be
/// turned off here; a filter may remove the field. `Host` is what the client asked
/// for, and the name of the cluster for a request of HTTP/1.0 without `Host`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "MessageHeaders")]
pub(in crate::config) struct RawMessageHeaders {
    /// The `Server` field of every answer. `pass` passes the origin's on.
    pub(in crate::config) server: String,
    /// The name by which the proxy calls itself in `Via`, which a gateway must add
    /// to requests (RFC 9110, 7.6.3) and which is added to answers too. `off` adds
    /// none to either.
    pub(in crate::config) via: String,
    /// How the origin is told who asked: `x-forwarded` for `X-Forwarded-For`,
    /// `-Proto` and `-Host`, `forwarded` for RFC 7239, `both` or `none`.
    pub(in crate::config) forwarded: ForwardedStyle,
    /// `forward` tells the origin who the client is by its certificate, in
    /// `X-Forwarded-Client-Cert` as Envoy writes it. What a client that is no trusted
    /// hop says there is removed in either case.
    pub(in crate::config) client_certificate: ClientCertificateField,
    /// Peers whose own `X-Forwarded-*`, `Forwarded` and request id are believed,
    /// as addresses or networks: `10.0.0.0/8`. Those of others are replaced.
    #[schemars(with = "Vec<String>")]
    pub(in crate::config) trusted_hops: Items<String>,
    /// The field that carries the request id to the origin and back to the client.
    #[schemars(extend("x-wanted" = "the name of a header field"))]
    pub(in crate::config) request_id: String,
}

impl Default for RawMessageHeaders {
    fn default() -> Self {
        Self {
            server: "lockgate".to_owned(),
            via: "lockgate".to_owned(),
            forwarded: ForwardedStyle::XForwarded,
            client_certificate: ClientCertificateField::Off,
            trusted_hops: Vec::new(),
            request_id: "x-request-id".to_owned(),
        }
    }
}

/// How paths are normalised.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "PathRules")]
pub(in crate::config) struct RawPathRules {
    /// Whether `//` becomes `/`.
    pub(in crate::config) merge_slashes: bool,
    /// What is done with `%2F`: `refuse` answers 400, `keep` leaves it as it is.
    pub(in crate::config) encoded_slashes: EncodedSlashes,
}

impl Default for RawPathRules {
    fn default() -> Self {
        Self {
            merge_slashes: true,
            encoded_slashes: EncodedSlashes::Refuse,
        }
    }
}
