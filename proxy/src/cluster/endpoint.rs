//! One endpoint: its address, and what all workers know about it.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use rustls_pki_types::{IpAddr, Ipv4Addr, ServerName};
use tokio::time::Instant;

use super::clock;
use super::inside::Inside;
use super::vitals::Vitals;
use crate::balance::health::Health;
use crate::balance::silence::{Nothing, Silence};
use crate::config::{Name, Placement, unix_name};

/// Where an endpoint listens, resolved.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    Socket(SocketAddr),
    Unix(PathBuf),
    /// Within the process, for cases.
    Inside(Inside),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Socket(address) => address.fmt(f),
            Address::Unix(path) => write!(f, "unix:{}", unix_name(path)),
            Address::Inside(inside) => write!(f, "inside:{}", inside.name),
        }
    }
}

/// An address that is in the configuration, or that one of its host names stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub address: Address,
    /// The host name, where TLS has to know it.
    pub host: Option<ServerName<'static>>,
    pub weight: u32,
    pub place: Placement,
}

impl From<(Address, u32)> for Found {
    fn from((address, weight): (Address, u32)) -> Self {
        Self {
            address,
            host: None,
            weight,
            place: Placement::default(),
        }
    }
}

impl From<&Endpoint> for Found {
    fn from(endpoint: &Endpoint) -> Self {
        Self {
            address: endpoint.address.clone(),
            host: Some(endpoint.tls_name.clone()),
            weight: 1,
            place: Placement::default(),
        }
    }
}

impl Found {
    /// Names of addresses are asked for by nobody, and one that stands for none is in no
    /// certificate.
    pub(super) fn tls_name(&self) -> ServerName<'static> {
        match (&self.host, &self.address) {
            (Some(host), _) => host.clone(),
            (None, Address::Socket(address)) => address.ip().into(),
            (None, Address::Unix(_) | Address::Inside(_)) => {
                ServerName::IpAddress(IpAddr::V4(Ipv4Addr::from([0; 4])))
            }
        }
    }
}

/// One address of a cluster, with what all workers know about it.
#[derive(Debug)]
pub struct Endpoint {
    pub address: Address,
    /// Who is asked for over TLS.
    pub tls_name: ServerName<'static>,
    /// The address as text, for logs and metrics.
    pub label: Name,
    pub vitals: Arc<Vitals>,
    /// Passed over until this time of [`clock`]; zero when it never refused.
    /// A tally that any worker writes: the last writer wins, and all are right.
    refused_until: AtomicU64,
    silence: Silence,
}

impl Endpoint {
    pub fn new(found: Found) -> Arc<Self> {
        Self::with(found, Vitals::default())
    }

    pub(super) fn with(found: Found, vitals: Vitals) -> Arc<Self> {
        Arc::new(Self {
            label: found.address.to_string().into(),
            tls_name: found.tls_name(),
            address: found.address,
            vitals: Arc::new(vitals),
            refused_until: AtomicU64::new(0),
            silence: Silence::default(),
        })
    }

    /// Another at the same address, that is as this one is.
    pub(super) fn renewed(&self) -> Arc<Self> {
        Arc::new(Self {
            address: self.address.clone(),
            tls_name: self.tls_name.clone(),
            label: self.label.clone(),
            vitals: self.vitals.clone(),
            refused_until: AtomicU64::new(0),
            silence: Silence::default(),
        })
    }

    /// It took no connection: pass it over for `pause`.
    pub fn refused(&self, now: Instant, pause: Duration) {
        self.refused_until
            .store(clock::milliseconds(now + pause), Relaxed);
    }

    /// It took a connection again.
    fn accepted(&self) {
        if self.refused_until.load(Relaxed) != 0 {
            self.refused_until.store(0, Relaxed);
        }
    }

    /// Whether it refused lately. `now` is compared in whole milliseconds.
    pub fn is_refusing(&self, now: Instant) -> bool {
        let until = self.refused_until.load(Relaxed);
        until != 0 && clock::milliseconds(now) < until
    }

    /// A request, or a connection, got nothing; `pause` is that in which one that is silent is
    /// asked once. Whether the control thread is to look.
    pub fn got(&self, nothing: Nothing, pause: Duration) -> bool {
        let now = clock::milliseconds(Instant::now());
        self.silence.got(nothing, now, milliseconds(pause)) && !pause.is_zero()
    }

    /// It has answered a request, whatever that was. Whether the control thread is to look.
    pub fn answered(&self) -> bool {
        self.silence.answered()
    }

    /// A connection to it was made. Whether the control thread is to look.
    pub fn connected(&self) -> bool {
        self.accepted();
        self.silence.connected()
    }

    /// Whether it gave nothing for so long that it is asked only now and then.
    pub fn is_silent(&self) -> bool {
        self.silence.is_silent()
    }

    /// Whether it is silent because nobody is there.
    pub fn is_gone(&self) -> bool {
        self.silence.is_gone()
    }

    /// Whether it is silent, and it is not yet time to ask it.
    pub fn is_left_alone(&self, now: Instant) -> bool {
        self.silence.is_silent() && self.silence.is_left_alone(clock::milliseconds(now))
    }

    /// Takes the turn of asking it, where it is silent: one in each `pause`.
    pub fn may_ask(&self, now: Instant, pause: Duration) -> bool {
        !self.silence.is_silent()
            || self
                .silence
                .may_ask(clock::milliseconds(now), milliseconds(pause))
    }

    /// Whether others are better, if there are any.
    pub fn is_passed_over(&self, now: Instant) -> bool {
        self.is_refusing(now) || self.is_left_alone(now)
    }

    /// Whether nothing is known that speaks against it.
    pub fn is_well(&self, now: Instant) -> bool {
        let health = self.vitals.health();
        matches!(health, Health::Healthy | Health::Silent) && !self.is_passed_over(now)
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_passed_over_for_a_while() {
        let endpoint = Endpoint::new((Address::Unix("/run/origin".into()), 1).into());
        let now = Instant::now();
        assert!(!endpoint.is_refusing(now));
        endpoint.refused(now, Duration::from_secs(5));
        assert!(endpoint.is_refusing(now));
        assert!(!endpoint.is_refusing(now + Duration::from_secs(6)));
        endpoint.accepted();
        assert!(!endpoint.is_refusing(now));
    }
}
