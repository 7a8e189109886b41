//! Names, asked of name servers: the addresses of a host (A, AAAA) and where a service runs
//! (SRV), each with how long the answer holds.
//!
//! `hickory-resolver` asks, and keeps nothing: what is to be remembered the cluster keeps.
//! The system's configuration (`resolv.conf`, `hosts`) is read anew for each round, so that
//! its changes count.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use std::{fs, io};

use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::system_conf::parse_resolv_conf;
use hickory_resolver::{Hosts, TokioResolver};

use crate::config;

/// One who asks.
pub struct Dns {
    resolver: TokioResolver,
    hosts: Hosts,
    /// Where names are looked for that are not whole (resolv.conf(5)).
    search: Vec<Name>,
    /// A name with so many dots is taken for whole first.
    dots: usize,
}

/// What was found, and for how long it holds.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer<T> {
    pub found: Vec<T>,
    pub holds: Duration,
}

/// Where a service runs (RFC 2782).
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Service {
    /// The lowest is asked first.
    pub priority: u16,
    pub host: String,
    pub port: u16,
    pub weight: u16,
}

impl Dns {
    /// Reads the system's files where the configuration does not name servers.
    pub fn new(config: &config::Dns) -> io::Result<Self> {
        let (servers, system) = match config.servers.as_slice() {
            [] => {
                let (servers, options) = of_system()?;
                (servers, Some(options))
            }
            servers => {
                let servers = servers.iter().map(server).collect();
                (ResolverConfig::from_name_servers(servers), None)
            }
        };
        let search = servers.domain.iter().chain(&servers.search);
        let search = search.cloned().collect();
        let mut builder =
            TokioResolver::builder_with_config(servers, TokioRuntimeProvider::default());
        if let Some(system) = system {
            *builder.options_mut() = system;
        }
        let options = builder.options_mut();
        options.cache_size = 0;
        // Looked at here, and by either family.
        options.use_hosts_file = ResolveHosts::Never;
        options.timeout = config.timeout;
        options.attempts = config.attempts;
        let dots = options.ndots;
        Ok(Self {
            resolver: builder.build().map_err(failed)?,
            hosts: Hosts::from_system().unwrap_or_default(),
            search,
            dots,
        })
    }

    /// Of both families, each asked for by itself. One that cannot be asked for is not taken
    /// for gone where `known`, the last answer, had an address of it.
    pub async fn addresses(&self, host: &str, known: &[IpAddr]) -> io::Result<Answer<IpAddr>> {
        let name = Name::from_utf8(host).map_err(io::Error::other)?;
        if let Some(answer) = self.in_hosts(&name) {
            return Ok(answer);
        }
        let mut failure = None;
        for name in self.whole_names(name) {
            if let Some(answer) = self.in_hosts(&name) {
                return Ok(answer);
            }
            let (v4, v6) = tokio::join!(
                self.resolver.lookup(name.clone(), RecordType::A),
                self.resolver.lookup(name, RecordType::AAAA),
            );
            match (family(v4), family(v6)) {
                (Ok(v4), Ok(v6)) if v4.found.is_empty() && v6.found.is_empty() => {}
                (Ok(v4), Ok(v6)) => return Ok(v4.and(v6)),
                (Ok(one), Err(error)) | (Err(error), Ok(one)) if !one.found.is_empty() => {
                    let is_v6 = one.found.iter().any(IpAddr::is_ipv6);
                    let had_other = known.iter().any(|known| known.is_ipv6() != is_v6);
                    return match had_other {
                        true => Err(failed(error)),
                        false => Ok(one),
                    };
                }
                // Another name of the search list may be the one that is meant.
                (Err(error), _) | (_, Err(error)) => failure = failure.or(Some(error)),
            }
        }
        Err(failure.map_or_else(nothing, failed))
    }

    /// Who is there for one family is not asked for by the other.
    fn in_hosts(&self, name: &Name) -> Option<Answer<IpAddr>> {
        let kinds = [RecordType::A, RecordType::AAAA].into_iter();
        let queries = kinds.map(|kind| Query::query(name.clone(), kind));
        let lookups = queries.filter_map(|query| self.hosts.lookup_static_host(&query));
        let found: Vec<_> = lookups.flat_map(|lookup| ips(&lookup)).collect();
        (!found.is_empty()).then_some(Answer {
            found,
            holds: Duration::MAX,
        })
    }

    /// What a name may stand for, in the order in which that is asked for.
    fn whole_names(&self, name: Name) -> Vec<Name> {
        let mut whole = name.clone();
        whole.set_fqdn(true);
        if name.is_fqdn() {
            return vec![whole];
        }
        let is_first = usize::from(name.num_labels()) > self.dots || name.is_localhost();
        let search = self.search.iter();
        let search = search.filter_map(|domain| name.clone().append_domain(domain).ok());
        let mut names: Vec<_> = search.collect();
        // The domain is mostly the first of the list as well.
        names.dedup();
        names.insert(if is_first { 0 } else { names.len() }, whole);
        names
    }

    pub async fn services(&self, name: &str) -> io::Result<Answer<Service>> {
        let found = self.resolver.srv_lookup(name).await.map_err(failed)?;
        let services = found
            .answers()
            .iter()
            .filter_map(|record| match &record.data {
                RData::SRV(service) => Some(Service {
                    host: service.target.to_utf8(),
                    port: service.port,
                    priority: service.priority,
                    weight: service.weight,
                }),
                _ => None,
            });
        // A lone dot says that the service is not to be had (RFC 2782).
        let services = services.filter(|service| service.host != "." && service.port != 0);
        answer(services.collect(), holds(&found))
    }
}

impl<T> Answer<T> {
    /// Both hold for as long as the one that does not hold as long.
    fn and(mut self, other: Self) -> Self {
        self.found.extend(other.found);
        self.holds = self.holds.min(other.holds);
        self
    }
}

fn answer<T>(found: Vec<T>, holds: Duration) -> io::Result<Answer<T>> {
    match found.is_empty() {
        true => Err(nothing()),
        false => Ok(Answer { found, holds }),
    }
}

/// Empty where the name has no such address, or does not exist.
fn family(asked: Result<Lookup, NetError>) -> Result<Answer<IpAddr>, NetError> {
    match asked {
        Ok(lookup) => Ok(Answer {
            found: ips(&lookup),
            holds: holds(&lookup),
        }),
        Err(error) if error.is_no_records_found() => Ok(Answer {
            found: Vec::new(),
            holds: Duration::MAX,
        }),
        Err(error) => Err(error),
    }
}

fn ips(lookup: &Lookup) -> Vec<IpAddr> {
    let records = lookup.answers().iter();
    records.filter_map(|record| record.data.ip_addr()).collect()
}

/// An answer without records says nothing that could be old.
fn holds(lookup: &Lookup) -> Duration {
    let times = lookup.answers().iter().map(|record| record.ttl);
    times
        .min()
        .map_or(Duration::MAX, |least| Duration::from_secs(least.into()))
}

/// What the system's file says. Where it names no server, or is not there, there may be one
/// on this machine (resolv.conf(5)), and hosts of the other file are known all the same.
fn of_system() -> io::Result<(ResolverConfig, ResolverOpts)> {
    let text = match fs::read_to_string("/etc/resolv.conf") {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        text => text?,
    };
    let mut lines = text.lines();
    let names_a_server = lines.any(|line| line.trim_start().starts_with("nameserver"));
    let text = match names_a_server {
        true => text,
        false => text + "\nnameserver 127.0.0.1\n",
    };
    parse_resolv_conf(text).map_err(failed)
}

fn server(address: &SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
    let connections = connections.map(|mut connection| {
        connection.port = address.port();
        connection
    });
    NameServerConfig::new(address.ip(), true, connections.into())
}

fn nothing() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "no address")
}

fn failed(error: NetError) -> io::Error {
    io::Error::other(error)
}
