//! Host names of clusters, turned into addresses on the control thread.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::time::Duration;

use rustls_pki_types::ServerName;

use super::{Address, Cluster, Found};
use crate::config::{self, EndpointAddress, Name};

/// What a resolver may take before the last good answer is kept.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);

/// For a name that clients ask for only a few are ever tried.
const MAX_ADDRESSES_OF_TARGET: usize = 16;

/// Addresses of one name beyond this are not used.
const MAX_ADDRESSES: usize = 4096;

/// A host name that did not resolve. Its last good addresses stay in use.
#[derive(Debug, thiserror::Error)]
#[error("cannot resolve `{host}` of cluster `{cluster}`")]
pub struct LookupFailure {
    pub cluster: Name,
    pub host: String,
    #[source]
    pub source: io::Error,
}

/// Resolves the host names of one cluster, and remembers the last good answer
/// of each. Does not keep its cluster alive.
#[derive(Debug)]
pub struct Resolver {
    cluster: Weak<Cluster>,
    /// By the index of the endpoint in the configuration.
    last_good: Vec<Vec<SocketAddr>>,
    /// What was made of it last.
    published: Vec<Found>,
}

impl Resolver {
    /// `None` for a cluster without host names: there is nothing to resolve.
    pub fn new(cluster: &Arc<Cluster>) -> Option<Self> {
        let endpoints = &cluster.config.endpoints;
        let any_host = endpoints
            .iter()
            .any(|endpoint| matches!(endpoint.address, EndpointAddress::Host { .. }));
        any_host.then(|| {
            let last_good = cluster.resolved.load().to_vec();
            Self {
                cluster: Arc::downgrade(cluster),
                published: all_addresses(&cluster.config, &last_good),
                last_good,
            }
        })
    }

    /// Resolves every name once and publishes what came of it. A cluster may
    /// be left without endpoints: its requests fail until a name resolves.
    pub async fn refresh(&mut self) -> Vec<LookupFailure> {
        self.refresh_by(lookup).await
    }

    /// Resolves again and again until the cluster is gone. Failures are logged.
    /// Dropping it between two rounds loses nothing.
    pub async fn run(mut self) {
        while let Some(pause) = self.pause() {
            tokio::time::sleep(pause).await;
            for failure in self.refresh().await {
                let source: &dyn std::error::Error = &failure.source;
                tracing::warn!(error = source, "{failure}, its last addresses stay in use");
            }
        }
    }

    /// Up to a tenth earlier than configured, so that clusters spread out.
    fn pause(&self) -> Option<Duration> {
        let cluster = self.cluster.upgrade()?;
        Some(
            cluster
                .config
                .resolve_every
                .mul_f64(0.9 + 0.1 * fastrand::f64()),
        )
    }

    async fn refresh_by(
        &mut self,
        lookup: impl AsyncFn(&str, u16) -> io::Result<Vec<SocketAddr>>,
    ) -> Vec<LookupFailure> {
        let Some(cluster) = self.cluster.upgrade() else {
            return Vec::new();
        };
        let lookups: Vec<_> = cluster
            .config
            .endpoints
            .iter()
            .zip(&mut self.last_good)
            .map(|(endpoint, last_good)| refresh_one(&cluster, endpoint, last_good, &lookup))
            .collect();
        let failures = all(lookups).await.into_iter().flatten().collect();
        self.publish(cluster).await;
        failures
    }

    /// A set is built on a thread of its own: a table for hashing may take its time.
    async fn publish(&mut self, cluster: Arc<Cluster>) {
        let found = all_addresses(&cluster.config, &self.last_good);
        if found == self.published {
            return;
        }
        self.published.clone_from(&found);
        let resolved = Arc::new(self.last_good.clone());
        let building = tokio::task::spawn_blocking(move || {
            cluster.replace_endpoints(found);
            cluster.resolved.store(resolved);
        });
        building.await.expect("sets can be built of any addresses");
    }
}

async fn refresh_one(
    cluster: &Cluster,
    endpoint: &config::Endpoint,
    last_good: &mut Vec<SocketAddr>,
    lookup: impl AsyncFn(&str, u16) -> io::Result<Vec<SocketAddr>>,
) -> Option<LookupFailure> {
    let EndpointAddress::Host { host, port } = &endpoint.address else {
        return None;
    };
    match lookup(host, *port).await {
        Ok(addresses) => {
            *last_good = addresses;
            None
        }
        Err(source) => Some(LookupFailure {
            cluster: cluster.name().clone(),
            host: host.clone(),
            source,
        }),
    }
}

/// Waits for all futures at the same time: one slow resolver answer after the
/// other would add up.
async fn all<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut waiting: Vec<_> = futures
        .into_iter()
        .map(|future| (Box::pin(future), None))
        .collect();
    poll_fn(|cx| {
        let mut is_ready = true;
        for (future, output) in waiting.iter_mut().filter(|(_, output)| output.is_none()) {
            match future.as_mut().poll(cx) {
                Poll::Ready(value) => *output = Some(value),
                Poll::Pending => is_ready = false,
            }
        }
        if is_ready {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
    waiting
        .into_iter()
        .filter_map(|(_, output)| output)
        .collect()
}

/// What the endpoints of a configuration stand for, by what was found for each.
pub(super) fn all_addresses(config: &config::Cluster, resolved: &[Vec<SocketAddr>]) -> Vec<Found> {
    let mut all: Vec<Found> = Vec::new();
    for (endpoint, resolved) in config.endpoints.iter().zip(resolved) {
        let found = |address, host| Found {
            address,
            host,
            weight: endpoint.weight,
            place: endpoint.place.clone(),
        };
        match &endpoint.address {
            EndpointAddress::Socket(address) => all.push(found(Address::Socket(*address), None)),
            // Known for each connection, or request, alone.
            EndpointAddress::OriginalDestination | EndpointAddress::RequestTarget => {}
            EndpointAddress::Unix(path) => all.push(found(Address::Unix(path.clone()), None)),
            EndpointAddress::Host { host, .. } => {
                // Without TLS it is one endpoint, by whichever name it was found.
                let host = config.tls.as_ref().and_then(|_| tls_name(host));
                let addresses = resolved.iter();
                let addresses = addresses.map(|address| Address::Socket(*address));
                all.extend(addresses.map(|address| found(address, host.clone())));
            }
        }
    }
    all
}

/// Certificates have no dot at the end of names.
fn tls_name(host: &str) -> Option<ServerName<'static>> {
    let host = host.strip_suffix('.').unwrap_or(host);
    ServerName::try_from(host.to_owned()).ok()
}

/// Addresses come sorted: an answer that only changed its order is the same.
async fn lookup(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let found = tokio::time::timeout(LOOKUP_TIMEOUT, tokio::net::lookup_host((host, port))).await;
    let mut addresses: Vec<_> = match found {
        Ok(found) => found?.collect(),
        Err(_) => return Err(io::ErrorKind::TimedOut.into()),
    };
    if addresses.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "no address"));
    }
    addresses.sort_unstable();
    addresses.dedup();
    addresses.truncate(MAX_ADDRESSES);
    Ok(addresses)
}

/// The addresses of a name that a client asks for, in the order in which they are to be
/// tried. Blocking, for as long as the system's resolver takes.
pub fn look_up_target(host: &str) -> io::Result<Vec<IpAddr>> {
    let found = (host, 0).to_socket_addrs()?;
    let found: Vec<_> = found.map(|address| address.ip().to_canonical()).collect();
    let mut found = by_turns(found);
    found.truncate(MAX_ADDRESSES_OF_TARGET);
    match found.is_empty() {
        true => Err(io::Error::new(io::ErrorKind::NotFound, "no address")),
        false => Ok(found),
    }
}

/// Each once, those of either family by turns, so that one family that leads nowhere does
/// not take all tries (RFC 8305 section 4).
fn by_turns(addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    let mut once: Vec<IpAddr> = Vec::with_capacity(addresses.len());
    for address in addresses {
        if !once.contains(&address) && once.len() < MAX_ADDRESSES {
            once.push(address);
        }
    }
    let first_is_v6 = once.first().is_some_and(IpAddr::is_ipv6);
    let is_first = |address: &IpAddr| address.is_ipv6() == first_is_v6;
    let (first, other): (Vec<_>, Vec<_>) = once.into_iter().partition(is_first);
    let (mut first, mut other) = (first.into_iter(), other.into_iter());
    let mut turns = Vec::new();
    loop {
        let (one, another) = (first.next(), other.next());
        if one.is_none() && another.is_none() {
            return turns;
        }
        turns.extend(one.into_iter().chain(another));
    }
}

#[cfg(test)]
#[path = "resolve/tests.rs"]
mod tests;
