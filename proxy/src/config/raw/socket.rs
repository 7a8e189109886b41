//! The keys of sockets.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::units::{HOUR, Time};

/// Options of a listener's sockets. They hold from when a socket is opened: a reload that
/// changes them for an address that stays tells in a warning that they count from the
/// next start.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "ListenerSocket")]
pub(in crate::config) struct RawListenerSocket {
    /// Connections that may wait to be accepted, for each socket. The kernel holds it
    /// to `net.core.somaxconn`.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(in crate::config) backlog: u32,
    /// Whether each worker has a socket of its own (`SO_REUSEPORT`), among which the
    /// kernel shares connections out. Otherwise all workers accept from one.
    pub(in crate::config) reuse_port: bool,
    /// Whether `[::]:80` takes IPv6 alone. Otherwise it is every address of IPv4 too.
    pub(in crate::config) ipv6_only: bool,
    /// Whether small writes go out at once (`TCP_NODELAY`).
    pub(in crate::config) no_delay: bool,
    /// Probes of clients that say nothing. Without this key there are none: what is
    /// idle for too long is closed by `timeouts`.
    #[schemars(with = "RawKeepAlive")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) keep_alive: Option<RawKeepAlive>,
    /// TCP Fast Open: how many connections may wait that sent data with their first
    /// packet. The kernel has to allow it (`net.ipv4.tcp_fastopen`). Without this key it
    /// is off. Such data may arrive twice.
    #[schemars(with = "u32", range(min = 1, max = 65_535))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) fast_open: Option<u32>,
    /// A mark on what is sent (`SO_MARK`), for the machine's routing and firewall. Needs
    /// CAP_NET_ADMIN.
    #[schemars(with = "u32")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) mark: Option<u32>,
    /// Listens on an address that the machine does not have yet (`IP_FREEBIND`).
    pub(in crate::config) freebind: bool,
    /// Takes connections to addresses of others that are routed here
    /// (`IP_TRANSPARENT`, for TPROXY). Needs CAP_NET_ADMIN.
    pub(in crate::config) transparent: bool,
    /// Permissions of a Unix socket's file, octal. Who may write it may connect.
    #[schemars(regex(pattern = "^0?[0-7]{3}$"))]
    pub(in crate::config) mode: String,
    /// The owner of a Unix socket's file: a number, or a name of `/etc/passwd`.
    #[schemars(with = "String")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) owner: Option<String>,
    /// The group of a Unix socket's file: a number, or a name of `/etc/group`.
    #[schemars(with = "String")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) group: Option<String>,
}

impl Default for RawListenerSocket {
    fn default() -> Self {
        Self {
            backlog: 4096,
            reuse_port: true,
            ipv6_only: false,
            no_delay: true,
            keep_alive: None,
            fast_open: None,
            mark: None,
            freebind: false,
            transparent: false,
            mode: "0666".to_owned(),
            owner: None,
            group: None,
        }
    }
}

/// Options of the sockets of connections to endpoints.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "ClusterSocket")]
pub(in crate::config) struct RawClusterSocket {
    /// Whether small writes go out at once (`TCP_NODELAY`).
    pub(in crate::config) no_delay: bool,
    /// Probes of endpoints that say nothing. Without this key there are none.
    #[schemars(with = "RawKeepAlive")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) keep_alive: Option<RawKeepAlive>,
    /// A mark on what is sent (`SO_MARK`), for the machine's routing and firewall. Needs
    /// CAP_NET_ADMIN.
    #[schemars(with = "u32")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) mark: Option<u32>,
    /// The machine's own address that connections come from. Without this key the
    /// kernel picks one.
    #[schemars(with = "String", extend("x-wanted" = "an IP address"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) bind: Option<String>,
}

impl Default for RawClusterSocket {
    fn default() -> Self {
        Self {
            no_delay: true,
            keep_alive: None,
            mark: None,
            bind: None,
        }
    }
}

/// Probes of a peer that says nothing (`SO_KEEPALIVE`), in whole seconds.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "KeepAlive")]
pub(in crate::config) struct RawKeepAlive {
    /// Without a byte, before the first probe.
    pub(in crate::config) idle: Time<1000, { 9 * HOUR }>,
    /// Between two probes.
    pub(in crate::config) interval: Time<1000, { 9 * HOUR }>,
    /// So many without an answer end the connection.
    #[schemars(range(min = 1, max = 127))]
    pub(in crate::config) count: u32,
}

impl Default for RawKeepAlive {
    fn default() -> Self {
        Self {
            idle: Time(60_000),
            interval: Time(10_000),
            count: 6,
        }
    }
}
