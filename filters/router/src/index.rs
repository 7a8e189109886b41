//! Finds the first route that takes a request without looking at all of them.
//!
//! Routes are filed by host and by path. A request meets a few short lists, each
//! in the order of the configuration; the lowest number that holds, over all of
//! them, is the route that a walk over every route would have found.

use std::collections::HashMap;

use crate::host::{HostPattern, MAX_HOST_BYTES};
use crate::matching::{Conditions, PathCondition};
use crate::path::trim_prefix;

/// The routes' numbers by host and path. Only the operator fills these tables,
/// so that requests cannot make them slow.
#[derive(Debug, Default)]
pub struct Index {
    names: HashMap<Box<str>, Paths>,
    /// By suffix, which begins with a dot.
    suffixes: HashMap<Box<str>, Paths>,
    longest_suffix: usize,
    any_host: Paths,
}

/// The routes of one host pattern.
#[derive(Debug, Default)]
struct Paths {
    exact: HashMap<Box<str>, Vec<u32>>,
    prefixes: Node,
    any: Vec<u32>,
}

/// The routes of one prefix, and the prefixes that are longer by a segment.
#[derive(Debug, Default)]
struct Node {
    routes: Vec<u32>,
    children: HashMap<Box<str>, Node>,
}

impl Index {
    /// File all routes, in order.
    pub fn new<'a>(routes: impl IntoIterator<Item = &'a Conditions>) -> Index {
        let mut index = Index::default();
        for (number, conditions) in (0..).zip(routes) {
            index.insert(number, conditions);
        }
        index
    }

    fn insert(&mut self, number: u32, conditions: &Conditions) {
        if conditions.hosts.is_empty() {
            self.any_host.insert(number, &conditions.path);
        }
        for host in &conditions.hosts {
            let paths = match host {
                HostPattern::Exact(name) => self.names.entry(name.clone()),
                HostPattern::Suffix(suffix) => {
                    self.longest_suffix = self.longest_suffix.max(suffix.len());
                    self.suffixes.entry(suffix.clone())
                }
            };
            paths.or_default().insert(number, &conditions.path);
        }
    }

    /// The first route of this host and path for which `holds` is true.
    pub fn find(&self, host: &str, path: &str, mut holds: impl FnMut(u32) -> bool) -> Option<u32> {
        let mut first = None;
        self.visit(host, path, &mut |routes| {
            for &route in routes {
                if first.is_some_and(|first| first <= route) {
                    return;
                }
                if holds(route) {
                    first = Some(route);
                    return;
                }
            }
        });
        first
    }

    fn visit(&self, host: &str, path: &str, see: &mut impl FnMut(&[u32])) {
        if !self.names.is_empty()
            && let Some(paths) = self.names.get(host)
        {
            paths.visit(path, see);
        }
        if !self.suffixes.is_empty() && host.len() <= MAX_HOST_BYTES {
            self.visit_suffixes(host, path, see);
        }
        self.any_host.visit(path, see);
    }

    fn visit_suffixes(&self, host: &str, path: &str, see: &mut impl FnMut(&[u32])) {
        // A name that begins with a dot has nothing before the suffix.
        for (position, _) in host
            .match_indices('.')
            .filter(|(position, _)| *position > 0)
        {
            let suffix = &host[position..];
            if suffix.len() <= self.longest_suffix
                && let Some(paths) = self.suffixes.get(suffix)
            {
                paths.visit(path, see);
            }
        }
    }
}

impl Paths {
    fn insert(&mut self, number: u32, path: &PathCondition) {
        let routes = match path {
            PathCondition::Any => &mut self.any,
            PathCondition::Exact(path) => self.exact.entry(path.clone()).or_default(),
            PathCondition::Prefix(prefix) => self.prefixes.routes_of(prefix),
            PathCondition::Regex(pattern) => match trim_prefix(pattern.leading_segments()) {
                "" => &mut self.any,
                prefix => self.prefixes.routes_of(prefix),
            },
        };
        // A route that names a host twice is filed once.
        if routes.last() != Some(&number) {
            routes.push(number);
        }
    }

    fn visit(&self, path: &str, see: &mut impl FnMut(&[u32])) {
        if !self.exact.is_empty()
            && let Some(routes) = self.exact.get(path)
        {
            see(routes);
        }
        self.prefixes.visit(path, see);
        see(&self.any);
    }
}

impl Node {
    fn routes_of(&mut self, prefix: &str) -> &mut Vec<u32> {
        let node = segments(prefix).fold(self, |node, segment| {
            node.children.entry(segment.into()).or_default()
        });
        &mut node.routes
    }

    fn visit(&self, path: &str, see: &mut impl FnMut(&[u32])) {
        let mut node = self;
        for segment in segments(path) {
            if node.children.is_empty() {
                return;
            }
            let Some(child) = node.children.get(segment) else {
                return;
            };
            see(&child.routes);
            node = child;
        }
    }
}

/// None for what is no path, such as `*`.
fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.strip_prefix('/')
        .into_iter()
        .flat_map(|rest| rest.split('/'))
}
