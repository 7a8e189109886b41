//! What a rule asks of a request.

use std::borrow::Cow;
use std::net::IpAddr;

use lockgate_sdk::authority::host_of;
use lockgate_sdk::prelude::*;

use crate::pattern::{Glob, Segments};
use crate::subject::{self, Identity};
use lockgate_sdk::network::Network;

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

/// Which paths a request has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paths {
    /// The one that it has here.
    One,
    /// Also the one that origins see that leave out parameters: what stands behind a `;` in
    /// a segment. For what is against a request, so that no parameter walks around it.
    Both,
}

impl Condition {
    pub fn holds(&self, exchange: &Exchange, identity: &Identity, paths: Paths) -> bool {
        let holds = |test: &Test| test.holds(exchange, identity, paths);
        self.0.iter().all(holds)
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
    fn holds(&self, exchange: &Exchange, identity: &Identity, paths: Paths) -> bool {
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
                let fits = |path: &str| wanted.iter().any(|segments| segments.matches(path));
                fits(path) || (paths == Paths::Both && fits(&without_parameters(path)))
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

/// A segment of parameters alone is none: `/a/;x/b` leads to `/a/b`.
fn without_parameters(path: &str) -> Cow<'_, str> {
    if !path.contains(';') {
        return Cow::Borrowed(path);
    }
    let mut bare = String::with_capacity(path.len());
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let name = segment.split(';').next().unwrap_or(segment);
        let is_gone = name.is_empty() && !segment.is_empty();
        if !is_gone || segments.peek().is_none() {
            bare.push('/');
            bare.push_str(name);
        }
    }
    Cow::Owned(bare)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_of_a_path() {
        for (path, bare) in [
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("/a;x=1;y/b;z", "/a/b"),
            ("/;x/a/;y/b", "/a/b"),
            ("/a/;x", "/a/"),
            ("/;x", "/"),
            ("/a;x/", "/a/"),
            ("/a//b;x", "/a//b"),
        ] {
            assert_eq!(without_parameters(path), bare, "{path}");
        }
    }
}
