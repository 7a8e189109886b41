//! Names, asked of name servers: the addresses of a host (A, AAAA) and where a service runs
//! (SRV), each with how long the answer holds.
//!
//! `hickory-resolver` asks, and keeps nothing: what is to be remembered the cluster keeps.
//! The system's configuration (`resolv.conf`, `hosts`) is read anew for each round, so that
//! its changes count.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig,
};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;

use crate::config;

/// One who asks.
pub struct Dns(TokioResolver);

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
        let builder = match config.servers.as_slice() {
            [] => TokioResolver::builder_tokio().map_err(io::Error::other)?,
            servers => {
                let servers = servers.iter().map(server).collect();
                let config = ResolverConfig::from_name_servers(servers);
                TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
            }
        };
        let mut builder = builder;
        let options = builder.options_mut();
        options.cache_size = 0;
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        options.timeout = config.timeout;
        options.attempts = config.attempts;
        Ok(Self(builder.build().map_err(io::Error::other)?))
    }

    pub async fn addresses(&self, host: &str) -> io::Result<Answer<IpAddr>> {
        let found = self.0.lookup_ip(host).await.map_err(failed)?;
        let holds = holds(found.as_lookup());
        answer(found.iter().collect(), holds)
    }

    pub async fn services(&self, name: &str) -> io::Result<Answer<Service>> {
        let found = self.0.srv_lookup(name).await.map_err(failed)?;
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

fn answer<T>(found: Vec<T>, holds: Duration) -> io::Result<Answer<T>> {
    match found.is_empty() {
        true => Err(io::Error::new(io::ErrorKind::NotFound, "no address")),
        false => Ok(Answer { found, holds }),
    }
}

fn holds(lookup: &Lookup) -> Duration {
    let times = lookup.answers().iter().map(|record| record.ttl);
    Duration::from_secs(times.min().unwrap_or(0).into())
}

fn server(address: &SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
    let connections = connections.map(|mut connection| {
        connection.port = address.port();
        connection
    });
    NameServerConfig::new(address.ip(), true, connections.into())
}

fn failed(error: NetError) -> io::Error {
    io::Error::other(error)
}
