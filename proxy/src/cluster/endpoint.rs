//! Endpoints and the set of them that is in use.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::Instant;

use super::clock;
use super::inside::Inside;
use super::schedule::schedule;
use crate::config::Name;

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
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
            Address::Inside(inside) => write!(f, "inside:{}", inside.name),
        }
    }
}

/// One address of a cluster, with what all workers know about it.
#[derive(Debug)]
pub struct Endpoint {
    pub address: Address,
    /// The address as text, for logs and metrics.
    pub label: Name,
    pub weight: u32,
    /// Passed over until this time of [`clock`]; zero when it never refused.
    /// A tally that any worker writes: the last writer wins, and all are right.
    refused_until: AtomicU64,
}

impl Endpoint {
    pub fn new(address: Address, weight: u32) -> Arc<Self> {
        Arc::new(Self {
            label: address.to_string().into(),
            address,
            weight,
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
        addresses: impl IntoIterator<Item = (Address, u32)>,
        before: &EndpointSet,
    ) -> EndpointSet {
        let known: HashMap<_, _> = before
            .endpoints
            .iter()
            .map(|endpoint| ((&endpoint.address, endpoint.weight), endpoint))
            .collect();
        let endpoints: Vec<_> = merge(addresses)
            .into_iter()
            .map(|(address, weight)| match known.get(&(&address, weight)) {
                Some(endpoint) => Arc::clone(endpoint),
                None => Endpoint::new(address, weight),
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
fn merge(addresses: impl IntoIterator<Item = (Address, u32)>) -> Vec<(Address, u32)> {
    let mut merged: Vec<(Address, u32)> = Vec::new();
    let mut places = HashMap::new();
    for (address, weight) in addresses {
        match places.get(&address) {
            Some(&place) => {
                let (_, sum): &mut (Address, u32) = &mut merged[place];
                *sum = sum.saturating_add(weight);
            }
            None => {
                places.insert(address.clone(), merged.len());
                merged.push((address, weight));
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
    fn an_endpoint_is_passed_over_for_a_while() {
        let endpoint = Endpoint::new(address(1), 1);
        let now = Instant::now();
        assert!(!endpoint.is_refusing(now));
        endpoint.refused(now, Duration::from_secs(5));
        assert!(endpoint.is_refusing(now));
        assert!(!endpoint.is_refusing(now + Duration::from_secs(6)));
        endpoint.accepted();
        assert!(!endpoint.is_refusing(now));
    }
}
