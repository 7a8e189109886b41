//! Finds routes that can never be reached, because an earlier one takes all
//! that they would take.

use crate::host::HostPattern;
use crate::index::Index;
use crate::matching::{Conditions, PathCondition};
use crate::value::Test;

/// Pairs of routes that are compared at most: the search runs in every `create`
/// and must stay a small part of its budget.
const MAX_COMPARISONS: usize = 200_000;

/// A route and the earlier one that leaves nothing to it.
#[derive(Debug, PartialEq, Eq)]
pub struct Unreachable {
    pub route: usize,
    pub covered_by: usize,
}

/// All that can be told: a route that several others cover only together is not
/// found.
pub fn unreachable(routes: &[&Conditions], index: &Index) -> Vec<Unreachable> {
    let mut comparisons = 0;
    let mut found = Vec::new();
    for (number, route) in routes.iter().enumerate() {
        let covered_by = index.find(&sample_host(route), sample_path(route), |earlier| {
            comparisons += 1;
            earlier as usize >= number || covers(routes[earlier as usize], route)
        });
        if comparisons > MAX_COMPARISONS {
            break;
        }
        found.extend(
            covered_by
                .map(|earlier| earlier as usize)
                .filter(|earlier| *earlier < number)
                .map(|covered_by| Unreachable {
                    route: number,
                    covered_by,
                }),
        );
    }
    found
}

/// A host under which the index shows every route that could cover this one.
fn sample_host(route: &Conditions) -> String {
    match route.hosts.first() {
        Some(HostPattern::Exact(name)) => name.to_string(),
        Some(HostPattern::Suffix(suffix)) => format!("*{suffix}"),
        None => String::new(),
    }
}

/// A path under which the index shows them.
fn sample_path(route: &Conditions) -> &str {
    match &route.path {
        PathCondition::Any => "",
        PathCondition::Exact(path) | PathCondition::Prefix(path) => path,
        PathCondition::Regex(pattern) => pattern.leading_segments(),
    }
}

/// Whether every request that `narrow` takes is one that `wide` takes.
fn covers(wide: &Conditions, narrow: &Conditions) -> bool {
    hosts_cover(&wide.hosts, &narrow.hosts)
        && path_covers(&wide.path, &narrow.path)
        && methods_cover(&wide.methods, &narrow.methods)
        && tests_cover(&wide.headers, &narrow.headers)
        && tests_cover(&wide.query, &narrow.query)
        && tests_cover(&wide.cookies, &narrow.cookies)
}

fn hosts_cover(wide: &[HostPattern], narrow: &[HostPattern]) -> bool {
    let covered = |narrow: &HostPattern| wide.iter().any(|wide| wide.includes(narrow));
    wide.is_empty() || (!narrow.is_empty() && narrow.iter().all(covered))
}

fn path_covers(wide: &PathCondition, narrow: &PathCondition) -> bool {
    use PathCondition::{Any, Exact, Prefix, Regex};
    match (wide, narrow) {
        (Any, _) => true,
        (_, Any) => false,
        (Exact(wide), Exact(narrow)) => wide == narrow,
        (Prefix(wide), Exact(narrow) | Prefix(narrow)) => {
            crate::path::after_prefix(narrow, wide).is_some()
        }
        (Prefix(wide), Regex(narrow)) => {
            crate::path::after_prefix(narrow.leading_segments(), wide).is_some()
        }
        (Regex(wide), Exact(narrow)) => wide.matches(narrow.as_bytes()),
        (Regex(wide), Regex(narrow)) => wide.source() == narrow.source(),
        (Exact(_), Prefix(_) | Regex(_)) | (Regex(_), Prefix(_)) => false,
    }
}

fn methods_cover(wide: &[Box<str>], narrow: &[Box<str>]) -> bool {
    wide.is_empty() || (!narrow.is_empty() && narrow.iter().all(|method| wide.contains(method)))
}

fn tests_cover(wide: &[(Box<str>, Test)], narrow: &[(Box<str>, Test)]) -> bool {
    wide.iter().all(|(name, wide)| {
        let same_name = narrow.iter().filter(|(narrow, _)| narrow == name);
        same_name
            .into_iter()
            .any(|(_, narrow)| wide.follows_from(narrow))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::config::Config;

    /// Whether the first of two routes leaves nothing to the second.
    #[track_caller]
    fn check(first: Value, second: Value, expected: bool) {
        let routes = json!({ "routes": [
            { "name": "first", "match": first, "cluster": "c" },
            { "name": "second", "match": second, "cluster": "c" },
        ]});
        let config: Config = serde_json::from_value(routes).unwrap();
        let routes = crate::check::check(&config).unwrap();
        let conditions: Vec<_> = routes.iter().map(|route| &route.conditions).collect();
        let index = Index::new(conditions.iter().copied());
        let found = unreachable(&conditions, &index);
        assert_eq!(found.len(), usize::from(expected), "{found:?}");
    }

    #[test]
    fn paths() {
        let covers = |first: Value, second: Value| check(first, second, true);
        let leaves = |first: Value, second: Value| check(first, second, false);
        covers(json!({}), json!({}));
        covers(json!({}), json!({ "path_regex": ".*" }));
        covers(json!({ "path_prefix": "/" }), json!({ "path": "/a" }));
        covers(json!({ "path_prefix": "/a" }), json!({ "path": "/a" }));
        covers(
            json!({ "path_prefix": "/a" }),
            json!({ "path_prefix": "/a/b/" }),
        );
        covers(
            json!({ "path_prefix": "/a" }),
            json!({ "path_regex": "/a/[0-9]+" }),
        );
        covers(json!({ "path": "/a" }), json!({ "path": "/a" }));
        covers(json!({ "path_regex": "/[ab]" }), json!({ "path": "/a" }));
        covers(
            json!({ "path_regex": "/x/[ab]" }),
            json!({ "path_regex": "/x/[ab]" }),
        );
        leaves(json!({ "path": "/a" }), json!({}));
        leaves(json!({ "path": "/a" }), json!({ "path_prefix": "/a" }));
        leaves(json!({ "path_prefix": "/a" }), json!({ "path": "/ab" }));
        leaves(
            json!({ "path_prefix": "/a" }),
            json!({ "path_regex": "/[a-b]/x" }),
        );
        leaves(json!({ "path_regex": "/[ab]" }), json!({ "path": "/c" }));
    }

    #[test]
    fn hosts() {
        let check = |first: Value, second: Value, expected: bool| {
            check(
                json!({ "host": first }),
                json!({ "host": second }),
                expected,
            );
        };
        check(json!("a.com"), json!("A.com"), true);
        check(json!("*.com"), json!("a.com"), true);
        check(json!("*.com"), json!("*.a.com"), true);
        check(json!(["*.com", "b.org"]), json!(["b.org", "a.com"]), true);
        check(json!("*.a.com"), json!("*.com"), false);
        check(json!("a.com"), json!("*.a.com"), false);
        check(json!("*.a.com"), json!("a.com"), false);
        check(json!("a.com"), json!(["a.com", "b.com"]), false);
        super::tests::check(json!({ "host": "a.com" }), json!({}), false);
        super::tests::check(json!({}), json!({ "host": "a.com" }), true);
    }

    #[test]
    fn methods_and_values() {
        check(
            json!({ "method": ["GET", "PUT"] }),
            json!({ "method": "PUT" }),
            true,
        );
        check(
            json!({ "method": "GET" }),
            json!({ "method": ["GET", "PUT"] }),
            false,
        );
        check(json!({ "method": "GET" }), json!({}), false);
        let header = |test: Value| json!({ "headers": { "x-a": test } });
        check(header(json!({ "present": true })), header(json!("1")), true);
        check(
            header(json!({ "prefix": "a" })),
            header(json!({ "prefix": "ab" })),
            true,
        );
        check(
            header(json!({ "contains": "b" })),
            header(json!({ "suffix": "abc" })),
            true,
        );
        check(
            header(json!({ "regex": "[0-9]" })),
            header(json!("1")),
            true,
        );
        check(
            header(json!({ "not": "1" })),
            header(json!({ "present": false })),
            true,
        );
        check(header(json!({ "not": "1" })), header(json!("2")), false);
        check(
            header(json!("1")),
            header(json!({ "present": true })),
            false,
        );
        check(header(json!("1")), json!({}), false);
        check(
            header(json!("1")),
            json!({ "headers": { "X-A": "1" }, "method": "GET" }),
            true,
        );
        check(
            json!({ "query": { "q": "1" } }),
            json!({ "query": { "r": "1" } }),
            false,
        );
        check(
            json!({ "cookies": { "q": "1" } }),
            json!({ "cookies": { "q": "1" } }),
            true,
        );
    }
}
