//! One route: which connections it takes, and where they go.

use std::net::IpAddr;

use lockgate_sdk::network::Network;
use lockgate_sdk::prelude::*;

use crate::config::{MatchConfig, RouteConfig, ShareConfig};

/// What is known of a connection.
pub struct Facts {
    /// In lower case.
    pub sni: Option<String>,
    pub client: Option<IpAddr>,
    pub destination: Option<IpAddr>,
    pub port: Option<u16>,
}

/// A route that is checked.
pub struct Route {
    pub name: String,
    sni: Option<Vec<HostPattern>>,
    clients: Option<Vec<Network>>,
    destinations: Option<Vec<Network>>,
    ports: Option<Vec<u16>>,
    /// Each cluster with the sum of the weights up to it.
    shares: Vec<(u64, String)>,
}

/// In lower case.
enum HostPattern {
    Whole(String),
    /// With its dot in front.
    Below(String),
}

impl Route {
    pub fn check(index: usize, route: RouteConfig, errors: &mut ConfigErrors) -> Self {
        let at = format!("/routes/{index}");
        let MatchConfig {
            sni,
            clients,
            destinations,
            ports,
        } = route.condition;
        Self {
            name: route.name.unwrap_or_else(|| format!("routes[{index}]")),
            sni: sni.map(|names| {
                let names = names.iter().enumerate();
                let checked = names.filter_map(|(place, name)| {
                    let pattern = HostPattern::new(name);
                    if pattern.is_none() {
                        let message =
                            format!("`{name}` is no name such as example.com or *.example.com");
                        errors.push(ConfigError::at(format!("{at}/match/sni/{place}"), message));
                    }
                    pattern
                });
                checked.collect()
            }),
            clients: networks(&format!("{at}/match/clients"), clients, errors),
            destinations: networks(&format!("{at}/match/destinations"), destinations, errors),
            ports,
            shares: shares(&at, route.cluster, route.split, errors),
        }
    }

    /// Whether the name that a client asks for matters.
    pub fn wants_sni(&self) -> bool {
        self.sni.is_some()
    }

    pub fn clusters(&self) -> impl Iterator<Item = &str> {
        self.shares.iter().map(|(_, cluster)| cluster.as_str())
    }

    /// Whether all of its conditions hold. Of what is not known, none does.
    pub fn takes(&self, facts: &Facts) -> bool {
        let name = |names: &Vec<HostPattern>| {
            let known = facts.sni.as_deref();
            known.is_some_and(|known| names.iter().any(|pattern| pattern.is(known)))
        };
        let within = |networks: &Vec<Network>, address: Option<IpAddr>| {
            address.is_some_and(|address| networks.iter().any(|network| network.contains(address)))
        };
        let port = |ports: &Vec<u16>| facts.port.is_some_and(|port| ports.contains(&port));
        self.sni.as_ref().is_none_or(name)
            && (self.clients.as_ref()).is_none_or(|clients| within(clients, facts.client))
            && (self.destinations.as_ref())
                .is_none_or(|destinations| within(destinations, facts.destination))
            && self.ports.as_ref().is_none_or(port)
    }

    /// The cluster at this point of all draws.
    pub fn pick(&self, draw: impl FnOnce() -> u64) -> Option<&str> {
        let (total, last) = self.shares.last()?;
        if self.shares.len() == 1 {
            return Some(last);
        }
        let point = ((u128::from(draw()) * u128::from(*total)) >> 64) as u64;
        let share = self.shares.partition_point(|(end, _)| *end <= point);
        self.shares.get(share).map(|(_, cluster)| cluster.as_str())
    }
}

impl HostPattern {
    fn new(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        let is_host = |name: &str| {
            let is_good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
            let labels = name.split('.');
            let is_label = |label: &str| !label.is_empty() && label.chars().all(is_good);
            name.len() <= 253 && labels.into_iter().all(is_label)
        };
        match name.strip_prefix("*.") {
            Some(parent) => is_host(parent).then(|| Self::Below(format!(".{parent}"))),
            None => is_host(&name).then_some(Self::Whole(name)),
        }
    }

    fn is(&self, known: &str) -> bool {
        match self {
            Self::Whole(whole) => whole == known,
            Self::Below(parent) => known.len() > parent.len() && known.ends_with(parent.as_str()),
        }
    }
}

fn networks(
    at: &str,
    texts: Option<Vec<String>>,
    errors: &mut ConfigErrors,
) -> Option<Vec<Network>> {
    let texts = texts?;
    let texts = texts.iter().enumerate();
    let checked = texts.filter_map(|(place, text)| match text.parse() {
        Ok(network) => Some(network),
        Err(error) => {
            errors.push(ConfigError::at(
                format!("{at}/{place}"),
                format!("`{text}` {error}"),
            ));
            None
        }
    });
    Some(checked.collect())
}

fn shares(
    at: &str,
    cluster: Option<String>,
    split: Option<Vec<ShareConfig>>,
    errors: &mut ConfigErrors,
) -> Vec<(u64, String)> {
    let split = match (cluster, split) {
        (Some(cluster), None) => return vec![(1, cluster)],
        (None, Some(split)) => split,
        (Some(_), Some(_)) | (None, None) => {
            let message = "exactly one of `cluster` and `split` is wanted";
            errors.push(ConfigError::at(at, message));
            return Vec::new();
        }
    };
    let mut total = 0;
    let mut shares: Vec<_> = split
        .into_iter()
        .map(|share| {
            total += u64::from(share.weight);
            (total, share.cluster)
        })
        .collect();
    if total == 0 {
        errors.push(ConfigError::at(format!("{at}/split"), "all weights are 0"));
        shares.clear();
    }
    shares
}
