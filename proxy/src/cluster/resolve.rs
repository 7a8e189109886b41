//! Names and files of clusters, turned into addresses on the control thread.

use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::time::Duration;

use rustls_pki_types::ServerName;
use tokio::sync::{Notify, Semaphore};

use super::dns::{Answer, Dns, Service};
use super::{Address, Cluster, Found};
use crate::balance::subsets::Label;
use crate::config::{self, EndpointAddress, Name, Placement};

/// However short an answer holds, it is not asked for again sooner; nor what failed.
const LEAST_PAUSE: Duration = Duration::from_secs(1);

/// The last one that an endpoint may be in.
const MAX_TIER: u8 = 127;

/// What a resolver may take before the last good answer is kept.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);

/// One host of a service, lest it take the time of all.
const HOST_TIMEOUT: Duration = Duration::from_secs(5);

/// Hosts of one service that are asked for at once.
const HOSTS_AT_ONCE: usize = 32;

/// For a name that clients ask for only a few are ever tried.
const MAX_ADDRESSES_OF_TARGET: usize = 16;

/// Of these so many are looked at.
const MAX_FOR_TARGET: usize = 256;

/// Addresses of one name beyond this are not used.
const MAX_ADDRESSES: usize = 16_384;

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
        let known = self.known();
        // Anew each time, since the system's configuration may have changed.
        match Dns::new(&self.dns) {
            Ok(dns) => {
                self.refresh_by(async |what| {
                    let last_good = known.get(what).map(Vec::as_slice);
                    find(&dns, what, last_good.unwrap_or_default()).await
                })
                .await
            }
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

    /// The last good answers about names.
    fn known(&self) -> HashMap<EndpointAddress, Vec<Found>> {
        let Some(cluster) = self.cluster.upgrade() else {
            return HashMap::new();
        };
        let endpoints = cluster.config.endpoints.iter();
        let known = endpoints.zip(&self.last_good);
        let known = known.map(|(endpoint, found)| (&endpoint.address, found));
        let names = known.filter(|(address, _)| {
            matches!(
                address,
                EndpointAddress::Host { .. } | EndpointAddress::Service(_)
            )
        });
        names
            .map(|(name, found)| (name.clone(), found.clone()))
            .collect()
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

    /// Up to a tenth earlier than is due, so that clusters spread out. What fails is asked for
    /// less and less often, and what holds no longer is asked for whatever fails.
    fn pause(&self) -> Option<(Duration, Arc<Notify>)> {
        let cluster = self.cluster.upgrade()?;
        let most = cluster.config.resolve_every;
        let holds = self.holds.max(LEAST_PAUSE);
        let due = match self.failures {
            0 => holds,
            failures => holds.min(LEAST_PAUSE.saturating_mul(1 << failures.min(16))),
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
async fn find(dns: &Dns, what: &EndpointAddress, last_good: &[Found]) -> io::Result<Answer<Found>> {
    let looking = async {
        match what {
            EndpointAddress::Host { host, port } => {
                let answer = addresses(dns, host, last_good).await?;
                Ok(Answer {
                    found: at_port(&answer.found, host, *port).collect(),
                    holds: answer.holds,
                })
            }
            EndpointAddress::Service(name) => services(dns, name, last_good).await,
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

async fn addresses(dns: &Dns, host: &str, last_good: &[Found]) -> io::Result<Answer<IpAddr>> {
    let name = tls_name(host);
    let known = last_good.iter().filter(|found| found.host == name);
    let known = known.filter_map(|found| match &found.address {
        Address::Socket(address) => Some(address.ip()),
        Address::Unix(_) | Address::Inside(_) => None,
    });
    let known: Vec<_> = known.collect();
    let mut answer = dns.addresses(host, &known).await?;
    answer.found.sort_unstable();
    answer.found.dedup();
    cut(&mut answer.found, host);
    Ok(answer)
}

fn at_port(addresses: &[IpAddr], host: &str, port: u16) -> impl Iterator<Item = Found> {
    let name = tls_name(host);
    addresses.iter().map(move |address| Found {
        address: Address::Socket(SocketAddr::new(*address, port)),
        host: name.clone(),
        weight: 1,
        place: Placement::default(),
    })
}

/// Leaves what may be used.
fn cut<T>(found: &mut Vec<T>, name: &str) {
    if found.len() > MAX_ADDRESSES {
        let used = MAX_ADDRESSES;
        tracing::warn!(name, used, "a name stands for more addresses than are used");
        found.truncate(MAX_ADDRESSES);
    }
}

/// Its priorities are tiers, its weights are weights.
async fn services(dns: &Dns, name: &str, last_good: &[Found]) -> io::Result<Answer<Found>> {
    let Answer {
        found: mut services,
        holds,
    } = dns.services(name).await?;
    services.sort_unstable();
    cut(&mut services, name);
    let (hosts, hosts_hold) = hosts(dns, &services, last_good).await?;
    let mut priorities: Vec<_> = services.iter().map(|service| service.priority).collect();
    priorities.dedup();
    let mut all = Vec::new();
    for service in &services {
        let Some(addresses) = hosts.get(service.host.as_str()) else {
            continue;
        };
        let tier = priorities.partition_point(|priority| *priority < service.priority);
        let found = at_port(addresses, &service.host, service.port);
        all.extend(found.map(|found| Found {
            // One that weighs nothing is to be asked hardly ever, and not never (RFC 2782).
            weight: u32::from(service.weight.max(1)),
            place: Placement {
                tier: u8::try_from(tier).unwrap_or(u8::MAX),
                ..Placement::default()
            },
            ..found
        }));
        // Many services may share a host of many addresses.
        if all.len() > MAX_ADDRESSES {
            break;
        }
    }
    cut(&mut all, name);
    Ok(Answer {
        found: all,
        holds: holds.min(hosts_hold),
    })
}

/// The addresses of each host, and for how long all of them hold. A service is known as a
/// whole; but at first those of its hosts that are found are better than none.
async fn hosts<'a>(
    dns: &Dns,
    services: &'a [Service],
    last_good: &[Found],
) -> io::Result<(HashMap<&'a str, Vec<IpAddr>>, Duration)> {
    let mut hosts: Vec<_> = services
        .iter()
        .map(|service| service.host.as_str())
        .collect();
    hosts.sort_unstable();
    hosts.dedup();
    let turns = Semaphore::new(HOSTS_AT_ONCE);
    let looks: Vec<_> = hosts
        .iter()
        .map(async |host| {
            let _turn = turns.acquire().await;
            let looking = addresses(dns, host, last_good);
            match tokio::time::timeout(HOST_TIMEOUT, looking).await {
                Ok(found) => found,
                Err(_) => Err(io::ErrorKind::TimedOut.into()),
            }
        })
        .collect();
    let answers = all(looks).await;
    let (mut found, mut holds, mut failure) = (HashMap::new(), Duration::MAX, None);
    for (host, answer) in hosts.into_iter().zip(answers) {
        match answer {
            Ok(answer) => {
                holds = holds.min(answer.holds);
                found.insert(host, answer.found);
            }
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    match failure {
        None => Ok((found, holds)),
        // The others are asked for again soon, and missed then.
        Some(_) if last_good.is_empty() && !found.is_empty() => Ok((found, Duration::ZERO)),
        Some(error) => Err(error),
    }
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
        if !once.contains(&address) && once.len() < MAX_FOR_TARGET {
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
