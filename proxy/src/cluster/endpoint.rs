//! Endpoints and the set of them that is in use.

use std::collections::HashMap;
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
use super::schedule::schedule;
use crate::config::{Name, unix_name};

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
}

impl From<(Address, u32)> for Found {
    fn from((address, weight): (Address, u32)) -> Self {
        let host = None;
        Self {
            address,
            host,
            weight,
        }
    }
}

impl From<&Endpoint> for Found {
    fn from(endpoint: &Endpoint) -> Self {
        Self {
            address: endpoint.address.clone(),
            host: Some(endpoint.tls_name.clone()),
            weight: endpoint.weight,
        }
    }
}

impl Found {
    /// Names of addresses are asked for by nobody, and one that stands for none is in no
    /// certificate.
    fn tls_name(&self) -> ServerName<'static> {
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
    pub weight: u32,
    /// Passed over until this time of [`clock`]; zero when it never refused.
    /// A tally that any worker writes: the last writer wins, and all are right.
    refused_until: AtomicU64,
}

impl Endpoint {
    pub fn new(found: Found) -> Arc<Self> {
        Arc::new(Self {
            label: found.address.to_string().into(),
            tls_name: found.tls_name(),
            address: found.address,
            weight: found.weight,
            refused_until: AtomicU64::new(0),
        })
    }

    /// It took no connection: pass it over for `pause`.
    pub fn refused(&self, now: Instant, pause: Duration) {
        self.refused_until
            .store(clock::milliseconds(now + pause), Relaxed);
    }

    /// It took a connection again.
    pub fn accepted(&self) {
        if self.refused_until.load(Relaxed) != 0 {
            self.refused_until.store(0, Relaxed);
        }
    }

    /// Whether it refused lately. `now` is compared in whole milliseconds.
    pub fn is_refusing(&self, now: Instant) -> bool {
        let until = self.refused_until.load(Relaxed);
        until != 0 && clock::milliseconds(now) < until
    }
}

/// The endpoints of a cluster at one time. Never changed, only replaced.
#[derive(Debug)]
pub struct EndpointSet {
    pub endpoints: Vec<Arc<Endpoint>>,
    /// Indices into `endpoints`, each as often as its weight asks for and
    /// spread evenly: walked in order by round robin, drawn from by chance.
    pub schedule: Box<[u32]>,
}

impl EndpointSet {
    pub fn empty() -> Self {
        Self {
            endpoints: Vec::new(),
            schedule: Box::default(),
        }
    }

    /// Addresses that occur twice are one endpoint with both weights. Endpoints
    /// that `before` holds with the same address and weight stay the same.
    #[allow(clippy::mutable_key_type)] // What is inside is known by its name and its channel.
    pub fn new(
        addresses: impl IntoIterator<Item = impl Into<Found>>,
        before: &EndpointSet,
    ) -> EndpointSet {
        let key = |endpoint: &Endpoint| {
            let name = endpoint.tls_name.clone();
            (endpoint.address.clone(), name, endpoint.weight)
        };
        let before = before.endpoints.iter();
        let known: HashMap<_, _> = before.map(|endpoint| (key(endpoint), endpoint)).collect();
        let endpoints: Vec<_> = merge(addresses)
            .into_iter()
            .map(Endpoint::new)
            .map(|endpoint| {
                known
                    .get(&key(&endpoint))
                    .map_or(endpoint, |known| Arc::clone(known))
            })
            .collect();
        let weights: Vec<_> = endpoints.iter().map(|endpoint| endpoint.weight).collect();
        EndpointSet {
            schedule: schedule(&weights),
            endpoints,
        }
    }

    /// Whether both name the same addresses with the same weights in the same
    /// order.
    pub fn is_same(&self, other: &EndpointSet) -> bool {
        self.endpoints.len() == other.endpoints.len()
            && std::iter::zip(&self.endpoints, &other.endpoints).all(|(a, b)| Arc::ptr_eq(a, b))
    }
}

#[allow(clippy::mutable_key_type)] // As above.
fn merge(addresses: impl IntoIterator<Item = impl Into<Found>>) -> Vec<Found> {
    let mut merged: Vec<Found> = Vec::new();
    let mut places = HashMap::new();
    for found in addresses.into_iter().map(Into::into) {
        match places.get(&(found.address.clone(), found.host.clone())) {
            Some(&place) => {
                let known: &mut Found = &mut merged[place];
                known.weight = known.weight.saturating_add(found.weight);
            }
            None => {
                let key = (found.address.clone(), found.host.clone());
                places.insert(key, merged.len());
                merged.push(found);
            }
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> Address {
        Address::Socket(SocketAddr::from(([127, 0, 0, 1], port)))
    }

    #[test]
    fn endpoints_that_stay_are_the_same() {
        let before = EndpointSet::new([(address(1), 1), (address(2), 1)], &EndpointSet::empty());
        let after = EndpointSet::new([(address(2), 1), (address(3), 1), (address(1), 5)], &before);
        assert!(Arc::ptr_eq(&after.endpoints[0], &before.endpoints[1]));
        assert!(!Arc::ptr_eq(&after.endpoints[2], &before.endpoints[0]));
        assert!(!after.is_same(&before));
        let again = EndpointSet::new([(address(1), 1), (address(2), 1)], &before);
        assert!(again.is_same(&before));
    }

    #[test]
    fn an_address_given_twice_is_one_endpoint_with_both_weights() {
        let set = EndpointSet::new(
            [(address(1), 2), (address(2), 1), (address(1), 3)],
            &EndpointSet::empty(),
        );
        let weights: Vec<_> = set.endpoints.iter().map(|e| e.weight).collect();
        assert_eq!(weights, [5, 1]);
    }

    #[test]
    fn hosts_of_one_address_are_endpoints_of_their_own_where_tls_asks() {
        let found = |host: &'static str| Found {
            address: address(1),
            host: ServerName::try_from(host).ok(),
            weight: 1,
        };
        let set = EndpointSet::new([found("a.test"), found("b.test")], &EndpointSet::empty());
        let names: Vec<_> = set.endpoints.iter().map(|e| e.tls_name.to_str()).collect();
        assert_eq!(names, ["a.test", "b.test"]);
        let again = EndpointSet::new([found("a.test"), found("b.test")], &set);
        assert!(again.is_same(&set));
    }

    #[test]
    fn an_endpoint_is_passed_over_for_a_while() {
        let endpoint = Endpoint::new((address(1), 1).into());
        let now = Instant::now();
        assert!(!endpoint.is_refusing(now));
        endpoint.refused(now, Duration::from_secs(5));
        assert!(endpoint.is_refusing(now));
        assert!(!endpoint.is_refusing(now + Duration::from_secs(6)));
        endpoint.accepted();
        assert!(!endpoint.is_refusing(now));
    }
}
