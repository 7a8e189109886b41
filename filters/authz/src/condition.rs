//! What a rule asks of a request.

use std::net::IpAddr;

use lockgate_sdk::authority::host_of;
use lockgate_sdk::prelude::*;

use crate::network::Network;
use crate::pattern::{Glob, Segments};
use crate::subject::{self, Identity};

/// All of these hold.
#[derive(Debug, Default)]
pub struct Condition(pub Vec<Test>);

/// One test. Each has alternatives, of which one fits.
#[derive(Debug)]
pub enum Test {
    Spiffe(Vec<Segments>),
    San(Vec<Glob>),
    PeerSubject(Vec<Glob>),
    Subject(Vec<Glob>),
    /// Of the attribute of this name.
    Claim(String, Vec<Glob>),
    ClaimItem(String, Vec<Glob>),
    Method(Vec<String>),
    Host(Vec<Glob>),
    Path(Vec<Segments>),
    Header(String, Vec<Glob>),
    Address(Vec<Network>),
}

impl Condition {
    pub fn holds(&self, exchange: &Exchange, identity: &Identity) -> bool {
        self.0.iter().all(|test| test.holds(exchange, identity))
    }

    /// The fields that it looks at.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|test| match test {
            Test::Header(name, _) => Some(name.as_str()),
            Test::Host(_) => Some(":authority"),
            _ => None,
        })
    }
}

impl Test {
    fn holds(&self, exchange: &Exchange, identity: &Identity) -> bool {
        let request = exchange.request();
        match self {
            Test::Spiffe(wanted) => {
                let id = subject::spiffe(exchange);
                id.is_some_and(|id| wanted.iter().any(|segments| segments.matches(&id)))
            }
            Test::San(wanted) => {
                let sans = subject::sans(exchange);
                sans.is_some_and(|sans| sans.split(',').any(|san| any(wanted, san.as_bytes())))
            }
            Test::PeerSubject(wanted) => is_one(wanted, subject::peer_subject(exchange)),
            Test::Subject(wanted) => is_one(wanted, identity.subject(exchange)),
            Test::Claim(name, wanted) => is_one(wanted, exchange.attribute(name)),
            Test::ClaimItem(name, wanted) => {
                let items = exchange.attribute(name).map(|claim| subject::items(&claim));
                let items = items.unwrap_or_default();
                items.iter().any(|item| any(wanted, item.as_bytes()))
            }
            Test::Method(wanted) => {
                let method = request.method();
                wanted.iter().any(|wanted| **wanted == *method)
            }
            Test::Host(wanted) => any(wanted, host_of(&request.authority()).as_bytes()),
            Test::Path(wanted) => {
                let target = request.path();
                let path = target.split('?').next().unwrap_or_default();
                wanted.iter().any(|segments| segments.matches(path))
            }
            Test::Header(name, wanted) => {
                let values = request.headers(name);
                values.iter().any(|value| any(wanted, value))
            }
            Test::Address(wanted) => {
                let address: Option<IpAddr> = exchange.client_address().parse().ok();
                address.is_some_and(|address| wanted.iter().any(|one| one.contains(address)))
            }
        }
    }
}

fn is_one(wanted: &[Glob], found: Option<String>) -> bool {
    found.is_some_and(|found| any(wanted, found.as_bytes()))
}

fn any(wanted: &[Glob], found: &[u8]) -> bool {
    wanted.iter().any(|glob| glob.matches(found))
}
