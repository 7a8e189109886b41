//! Options of sockets, checked.

use std::net::IpAddr;
use std::time::Duration;

use socket2::TcpKeepalive;

/// Of a listener's sockets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerSocket {
    /// Connections that may wait to be accepted, per socket.
    pub backlog: u32,
    /// Each worker has a socket of its own; else all share one.
    pub reuse_port: bool,
    /// Only IPv6, where the address is every one of that.
    pub ipv6_only: bool,
    pub no_delay: bool,
    pub keep_alive: Option<KeepAlive>,
    /// Connections that may wait with data before their handshake is done.
    pub fast_open: Option<u32>,
    pub mark: Option<u32>,
    /// Whether the machine has the address does not matter.
    pub freebind: bool,
    /// Takes what is for other machines.
    pub transparent: bool,
    pub file: SocketFileRules,
}

/// Who may use a Unix socket's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketFileRules {
    pub mode: u32,
    pub owner: Option<Account>,
    pub group: Option<Account>,
}

impl SocketFileRules {
    /// For the owner alone.
    pub fn private() -> Self {
        Self {
            mode: 0o600,
            owner: None,
            group: None,
        }
    }
}

/// A user or a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Account {
    Number(u32),
    Name(String),
}

/// Of a cluster's sockets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterSocket {
    pub no_delay: bool,
    pub keep_alive: Option<KeepAlive>,
    pub mark: Option<u32>,
    /// Where connections come from.
    pub bind: Option<IpAddr>,
}

impl Default for ClusterSocket {
    fn default() -> Self {
        Self {
            no_delay: true,
            keep_alive: None,
            mark: None,
            bind: None,
        }
    }
}

/// Probes of a peer that says nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeepAlive {
    /// Without a byte, before the first.
    pub idle: Duration,
    pub interval: Duration,
    /// So many without an answer end the connection.
    pub count: u32,
}

impl From<&KeepAlive> for TcpKeepalive {
    fn from(probes: &KeepAlive) -> Self {
        Self::new()
            .with_time(probes.idle)
            .with_interval(probes.interval)
            .with_retries(probes.count)
    }
}
