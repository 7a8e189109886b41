//! Names and files of clusters, turned into addresses on the control thread.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::time::Duration;

use rustls_pki_types::ServerName;
use tokio::sync::Notify;

use super::dns::{Answer, Dns};
use super::{Address, Cluster, Found};
use crate::balance::subsets::Label;
use crate::config::{self, EndpointAddress, Name, Placement};

/// However short an answer holds, it is not asked for again sooner; nor what failed.
const LEAST_PAUSE: Duration = Duration::from_secs(1);

/// The last one that an endpoint may be in.
const MAX_TIER: u8 = 127;

/// What a resolver may take before the last good answer is kept.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);

/// For a name that clients ask for only a few are ever tried.
const MAX_ADDRESSES_OF_TARGET: usize = 16;

/// Addresses of one name beyond this are not used.
const MAX_ADDRESSES: usize = 4096;

/// Something that was not found. What was found before stays in use.
#[derive(Debug, thiserror::Error)]
#[error("cannot find `{host}` of cluster `{cluster}`")]
pub struct LookupFailure {
    pub cluster: Name,
    pub host: String,
    #[source]
    pub source: io::Error,
}

/// Looks after the endpoints of one cluster that are not told as addresses, and remembers
/// what was found last for each. Does not keep its cluster alive.
#[derive(Debug)]
pub struct Resolver {
    cluster: Weak<Cluster>,
    dns: config::Dns,
    /// By the index of the endpoint in the configuration.
    last_good: Vec<Vec<Found>>,
    /// What was made of it last.
    published: Vec<Found>,
    /// For how long the last answers hold.
    holds: Duration,
    /// Rounds in a row in which something was not found.
    failures: u32,
}

impl Resolver {
    /// `None` for a cluster of addresses: there is nothing to be found.
    pub fn new(cluster: &Arc<Cluster>, dns: &config::Dns) -> Option<Self> {
        cluster.config.is_discovered().then(|| {
            let last_good = cluster.resolved.load().to_vec();
            Self {
                cluster: Arc::downgrade(cluster),
                dns: dns.clone(),
                published: all_addresses(&cluster.config, &last_good),
                last_good,
                holds: Duration::ZERO,
                failures: 0,
            }
        })
    }

    /// Asks for everything once and publishes what came of it. A cluster may be left
    /// without endpoints: its requests fail until a name resolves.
    pub async fn refresh(&mut self) -> Vec<LookupFailure> {
        // Anew each time, since the system's configuration may have changed.
        match Dns::new(&self.dns) {
            Ok(dns) => self.refresh_by(async |what| find(&dns, what).await).await,
            Err(error) => {
                let why = error.to_string();
                self.refresh_by(async |what| match what {
                    EndpointAddress::File(path) => read_file(path).await,
                    _ => Err(io::Error::other(why.clone())),
                })
                .await
            }
        }
    }

    /// Asks again and again until the cluster is gone: when the answers do not hold any
    /// longer, when a file has changed, and in any case each `resolve_every`. Failures are
    /// logged. Dropping it between two rounds loses nothing.
    pub async fn run(mut self) {
        while let Some((pause, changed)) = self.pause() {
            // Woken early or not, all is looked at.
            tokio::time::timeout(pause, changed.notified()).await.ok();
            for failure in self.refresh().await {
                let source: &dyn std::error::Error = &failure.source;
                tracing::warn!(
                    error = source,
                    "{failure}, what was found last stays in use"
                );
            }
        }
    }

    /// Up to a tenth earlier than is due, so that clusters spread out.
    fn pause(&self) -> Option<(Duration, Arc<Notify>)> {
        let cluster = self.cluster.upgrade()?;
        let most = cluster.config.resolve_every;
        let due = match self.failures {
            0 => self.holds.max(LEAST_PAUSE),
            failures => LEAST_PAUSE.saturating_mul(1 << failures.min(16)),
        };
        let pause = due.min(most).mul_f64(0.9 + 0.1 * fastrand::f64());
        Some((pause, cluster.files_changed.clone()))
    }

    async fn refresh_by(
        &mut self,
        look: impl AsyncFn(&EndpointAddress) -> io::Result<Answer<Found>>,
    ) -> Vec<LookupFailure> {
        let Some(cluster) = self.cluster.upgrade() else {
            return Vec::new();
        };
        let endpoints = cluster.config.endpoints.iter();
        let looks: Vec<_> = endpoints
            .clone()
            .map(async |endpoint| match endpoint.address.is_discovered() {
                true => Some(look(&endpoint.address).await),
                false => None,
            })
            .collect();
        let found = all(looks).await;
        let mut failures = Vec::new();
        self.holds = Duration::MAX;
        for ((endpoint, last_good), found) in endpoints.zip(&mut self.last_good).zip(found) {
            match found {
                None => {}
                Some(Ok(answer)) => {
                    self.holds = self.holds.min(answer.holds);
                    *last_good = answer.found;
                }
                Some(Err(source)) => failures.push(LookupFailure {
                    cluster: cluster.name().clone(),
                    host: endpoint.address.to_string(),
                    source,
                }),
            }
        }
        self.failures = match failures.is_empty() {
            true => 0,
            false => self.failures.saturating_add(1),
        };
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

/// What an endpoint of the configuration stands for. Addresses of names come sorted: an
/// answer that only changed its order is the same.
async fn find(dns: &Dns, what: &EndpointAddress) -> io::Result<Answer<Found>> {
    let looking = async {
        match what {
            EndpointAddress::Host { host, port } => addresses(dns, host, *port).await,
            EndpointAddress::Service(name) => services(dns, name).await,
            EndpointAddress::File(path) => read_file(path).await,
            EndpointAddress::Socket(_)
            | EndpointAddress::Unix(_)
            | EndpointAddress::OriginalDestination
            | EndpointAddress::RequestTarget => Err(io::ErrorKind::Unsupported.into()),
        }
    };
    match tokio::time::timeout(LOOKUP_TIMEOUT, looking).await {
        Ok(found) => found,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

async fn addresses(dns: &Dns, host: &str, port: u16) -> io::Result<Answer<Found>> {
    let Answer { mut found, holds } = dns.addresses(host).await?;
    found.sort_unstable();
    found.dedup();
    found.truncate(MAX_ADDRESSES);
    let name = tls_name(host);
    let found = found.into_iter().map(|address| Found {
        address: Address::Socket(SocketAddr::new(address, port)),
        host: name.clone(),
        weight: 1,
        place: Placement::default(),
    });
    Ok(Answer {
        found: found.collect(),
        holds,
    })
}

/// Its priorities are tiers, its weights are weights.
async fn services(dns: &Dns, name: &str) -> io::Result<Answer<Found>> {
    let Answer {
        found: mut services,
        mut holds,
    } = dns.services(name).await?;
    services.sort_unstable();
    services.truncate(MAX_ADDRESSES);
    let looks = services
        .iter()
        .map(|service| addresses(dns, &service.host, service.port));
    let answers = all(looks.collect()).await;
    let mut priorities: Vec<_> = services.iter().map(|service| service.priority).collect();
    priorities.dedup();
    let mut all = Vec::new();
    for (service, answer) in services.iter().zip(answers) {
        let answer = answer?;
        holds = holds.min(answer.holds);
        let tier = priorities.partition_point(|priority| *priority < service.priority);
        all.extend(answer.found.into_iter().map(|found| Found {
            // One that weighs nothing is to be asked hardly ever, and not never (RFC 2782).
            weight: u32::from(service.weight.max(1)),
            place: Placement {
                tier: u8::try_from(tier).unwrap_or(u8::MAX),
                ..Placement::default()
            },
            ..found
        }));
    }
    all.truncate(MAX_ADDRESSES);
    Ok(Answer { found: all, holds })
}

/// Holds for as long as the file does not change.
async fn read_file(path: &Path) -> io::Result<Answer<Found>> {
    let path = path.to_owned();
    let reading = tokio::task::spawn_blocking(move || config::load_endpoints(&path));
    let endpoints = reading.await?.map_err(io::Error::other)?;
    let found = endpoints.into_iter().filter_map(|endpoint| {
        let address = match endpoint.address {
            EndpointAddress::Socket(address) => Address::Socket(address),
            EndpointAddress::Unix(path) => Address::Unix(path),
            _ => return None,
        };
        Some(Found {
            address,
            host: None,
            weight: endpoint.weight,
            place: endpoint.place,
        })
    });
    Ok(Answer {
        found: found.collect(),
        holds: Duration::MAX,
    })
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

/// What the endpoints of a configuration stand for, by what was found for each. What is
/// said of an endpoint there is said of all that it stands for.
pub(super) fn all_addresses(config: &config::Cluster, resolved: &[Vec<Found>]) -> Vec<Found> {
    let mut all: Vec<Found> = Vec::new();
    for (endpoint, resolved) in config.endpoints.iter().zip(resolved) {
        let found = |address| Found {
            address,
            host: None,
            weight: endpoint.weight,
            place: endpoint.place.clone(),
        };
        match &endpoint.address {
            EndpointAddress::Socket(address) => all.push(found(Address::Socket(*address))),
            EndpointAddress::Unix(path) => all.push(found(Address::Unix(path.clone()))),
            // Known for each connection, or request, alone.
            EndpointAddress::OriginalDestination | EndpointAddress::RequestTarget => {}
            EndpointAddress::Host { .. }
            | EndpointAddress::Service(_)
            | EndpointAddress::File(_) => {
                all.extend(resolved.iter().map(|found| Found {
                    address: found.address.clone(),
                    // Without TLS it is one endpoint, by whichever name it was found.
                    host: found.host.clone().filter(|_| config.tls.is_some()),
                    weight: found.weight.saturating_mul(endpoint.weight),
                    place: within(&endpoint.place, &found.place),
                }));
            }
        }
    }
    all
}

/// Where one stands that was found: as it was found, as far as that says so. Its tier is
/// counted from that of the whole.
fn within(whole: &Placement, found: &Placement) -> Placement {
    let is_own = |label: &&Label| !found.labels.iter().any(|own| own.0 == label.0);
    let labels = whole.labels.iter().filter(is_own).chain(&*found.labels);
    Placement {
        tier: whole.tier.saturating_add(found.tier).min(MAX_TIER),
        zone: found.zone.clone().or_else(|| whole.zone.clone()),
        labels: labels.cloned().collect(),
    }
}

/// Certificates have no dot at the end of names.
fn tls_name(host: &str) -> Option<ServerName<'static>> {
    let host = host.strip_suffix('.').unwrap_or(host);
    ServerName::try_from(host.to_owned()).ok()
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
