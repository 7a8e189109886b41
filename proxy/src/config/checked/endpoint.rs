//! Endpoints: where they are, and where among others they stand.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use super::Name;
use crate::balance::subsets::Label;

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
    /// As in [`ListenAddress::Unix`](super::ListenAddress::Unix).
    Unix(PathBuf),
    /// Where each client wanted to go before it was redirected here.
    OriginalDestination,
    /// Where the target of its request says.
    RequestTarget,
}
