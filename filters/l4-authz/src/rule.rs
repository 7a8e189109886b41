//! One rule, and what it is asked about.

use std::net::IpAddr;

use lockgate_sdk::network::Network;
use lockgate_sdk::prelude::*;

use crate::config::RuleConfig;

/// What is known of a connection.
pub struct Who {
    pub client: Option<IpAddr>,
    pub identity: Option<String>,
    pub port: Option<u16>,
}

/// A rule that is checked.
pub struct Rule {
    pub name: String,
    clients: Option<Vec<Network>>,
    identities: Option<Vec<Identity>>,
    ports: Option<Vec<u16>>,
}

enum Identity {
    Whole(String),
    Begins(String),
}

impl Rule {
    /// The rules of a list, or what is wrong with them.
    pub fn check_all(list: &str, rules: Vec<RuleConfig>, errors: &mut ConfigErrors) -> Vec<Self> {
        let rules = rules.into_iter().enumerate();
        rules
            .map(|(index, rule)| Self::check(list, index, rule, errors))
            .collect()
    }

    fn check(list: &str, index: usize, rule: RuleConfig, errors: &mut ConfigErrors) -> Self {
        let at = |key: &str, place: usize| format!("/{list}/{index}/{key}/{place}");
        let clients = rule.clients.map(|clients| {
            let clients = clients.iter().enumerate();
            let checked = clients.filter_map(|(place, text)| match text.parse() {
                Ok(network) => Some(network),
                Err(error) => {
                    let message = format!("`{text}` {error}");
                    errors.push(ConfigError::at(at("clients", place), message));
                    None
                }
            });
            checked.collect()
        });
        let identities = rule.identities.map(|identities| {
            let identities = identities.into_iter().enumerate();
            let checked = identities.map(|(place, text)| {
                if !Identity::is_legal(&text) {
                    let message = format!(
                        "`{text}` is no SPIFFE ID such as spiffe://a/b or spiffe://a/*: \
                         `*` may only stand last, behind a slash"
                    );
                    errors.push(ConfigError::at(at("identities", place), message));
                }
                Identity::new(text)
            });
            checked.collect()
        });
        Self {
            name: rule.name.unwrap_or_else(|| format!("{list}[{index}]")),
            clients,
            identities,
            ports: rule.ports,
        }
    }

    /// Whether all that it says holds. Of what is not known, nothing does.
    pub fn is_about(&self, who: &Who) -> bool {
        let client = self.clients.as_ref().is_none_or(|clients| {
            let is_in = |address| clients.iter().any(|network| network.contains(address));
            who.client.is_some_and(is_in)
        });
        let identity = self.identities.as_ref().is_none_or(|identities| {
            let known = who.identity.as_deref();
            known.is_some_and(|known| identities.iter().any(|identity| identity.is(known)))
        });
        let port = self
            .ports
            .as_ref()
            .is_none_or(|ports| who.port.is_some_and(|port| ports.contains(&port)));
        client && identity && port
    }
}

impl Identity {
    /// `spiffe://example.org*` would also take `spiffe://example.org.evil/`, and
    /// `spiffe://*` everybody.
    fn is_legal(text: &str) -> bool {
        let Some(id) = text.strip_prefix("spiffe://") else {
            return false;
        };
        match id.strip_suffix('*') {
            Some(beginning) => {
                beginning.len() > 1 && beginning.ends_with('/') && !beginning.contains('*')
            }
            None => !id.is_empty() && !id.contains('*'),
        }
    }

    fn new(text: String) -> Self {
        match text.strip_suffix('*') {
            Some(beginning) => Self::Begins(beginning.to_owned()),
            None => Self::Whole(text),
        }
    }

    fn is(&self, known: &str) -> bool {
        match self {
            Self::Whole(whole) => whole == known,
            Self::Begins(beginning) => known.starts_with(beginning),
        }
    }
}
