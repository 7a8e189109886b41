//! One `lockgate check` tells of all that is wrong, whoever finds it, and of
//! nothing that only follows from something else.

mod support;

use support::Proxy;
use support::filtered::check;

/// What is told of a text, with the line of its place. One line stands in front of
/// the text, which only places in the middle of a message show.
#[track_caller]
fn told(text: &str, code: i32) -> Vec<String> {
    let folder = Proxy::folder();
    std::fs::write(folder.join("text.wasm"), "some text").unwrap();
    let checked = check(&folder, text);
    std::fs::remove_dir_all(&folder).ok();
    assert_eq!(checked.code, code, "{checked:?}");
    let lines = checked.text.lines().filter_map(|line| {
        let (_, told) = line.split_once("checked.yaml:")?;
        let (line, told) = told.split_once(':')?;
        let line: usize = line.parse().ok()?;
        let (_, told) = told.split_once(": ")?;
        Some(format!("{}: {told}", line - 1))
    });
    lines.collect()
}

#[track_caller]
fn refused(text: &str, wanted: &[&str]) {
    assert_eq!(told(text, 2), wanted, "{text}");
}

#[test]
fn filters_are_asked_whatever_else_is_wrong() {
    refused(
        "wrokers: 2
listeners: [{ name: web, adress: '127.0.0.1:0', cluster: shp, filters: [router, auth, mirror] }]
filters:
  router:
    component: lockgate:router
    config:
      routes:
        - { name: a, match: { path_regex: '(' }, cluster: shop }
        - { name: a, split: [{ cluster: zzz, weight: eighty }] }
        - { name: b, cluster: yyy }
  auth:
    component: lockgate:auth
    limits: { cpu: 1h }
    config:
      api_keys: [{ name: x, key: k, key_sha256: k }]
      jwt: { keys: [{ alg: none, secret: 0123456789abcdef0123456789abcdef }], scheme: basic }
      basic: [{ user: 'a:b', salt: short, password_sha256: x }]
    routes: { c: off, a: off }
  mirror:
    component: lockgate:mirror
    config: { cluster: mirrored, percent: 50 }
clusters:
  - { name: shop, endpoints: ['127.0.0.1:9'], balance: fastest }
",
        &[
            "1: found the unknown key `wrokers`, wanted `workers`",
            "2: found the unknown key `adress`, wanted `address`",
            "2: found `shp`, wanted the name of a cluster, such as `shop`",
            "8: filter `router` refuses this: `(` is not a regular expression: unclosed group (at character 1)",
            "9: filter `router` refuses this: `9:11` has the name `a` already",
            "9: found the string `eighty`, wanted a whole number of at least 0",
            "13: found `1h`, wanted a duration from 1ms to 10s",
            "15: filter `auth` refuses this: expected only one of `key`, `key_sha256` and `secret`",
            "16: found `none`, wanted `HS256`, `RS256`, `ES256` or `EdDSA`",
            "16: filter `auth` refuses this: `Basic` carries passwords, not tokens",
            "17: filter `auth` refuses this: a user name cannot contain a colon (RFC 7617)",
            "17: filter `auth` refuses this: expected at least 8 characters",
            "17: filter `auth` refuses this: expected a SHA-256 digest of 64 hexadecimal digits",
            "18: found the route `c`, wanted a route that an earlier filter declares",
            "21: found filter `mirror` naming the cluster `mirrored`, wanted one of the configured clusters: shop",
            "23: found `fastest`, wanted `round_robin`, `least_request`, `peak_ewma`, `random`, `ring_hash` or `maglev`",
        ],
    );
}

/// What the schema finds does not hide what the configuration names.
#[test]
fn references_are_checked_beside_other_mistakes() {
    refused(
        "listeners: [{ name: web, address: '127.0.0.1:0', filters: [router] }]
filters:
  router:
    component: lockgate:router
    config:
      routes:
        - { name: shop, split: [{ cluster: zzz, weight: eighty }] }
        - { name: yyy, cluster: yyy, timeout: 2d, match: { headers: { x-beta: 1 } } }
clusters: [{ name: shop, endpoints: ['127.0.0.1:9'] }]
",
        &[
            "7: found filter `router` naming the cluster `zzz`, wanted one of the configured clusters: shop",
            "7: found the string `eighty`, wanted a whole number of at least 0",
            "8: found filter `router` naming the cluster `yyy`, wanted one of the configured clusters: shop",
            "8: found `2d`, wanted a duration, such as `250ms`, `10s`, `5m` or `1h`",
            "8: found the number 1, wanted a string, a map with `exact`, a map with `prefix`, a map with `suffix`, a map with `contains`, a map with `regex`, a map with `present` or a map with `not` (quotes make it a string)",
        ],
    );
}

#[test]
fn what_only_follows_is_not_told() {
    refused(
        "listeners: [{ name: web, address: '127.0.0.1:0', filters: [ruoter, auth] }]
filters:
  router:
    component: lockgate:router
    config: { routes: [{ name: a, cluster: shop }, { name: b, cluster: '${NOPE}' }] }
  auth:
    component: lockgate:auth
    config: { api_keys: [{ name: x, key: '${NOPE}' }] }
    routes: { a: off }
clusters: [{ name: '${NOPE}', endpoints: ['127.0.0.1:9'] }]
",
        &[
            "1: found `ruoter`, wanted the name of a filter, such as `router`",
            "5: found `${NOPE}`, a variable that is not set, wanted it set, or with a default: `${NOPE:-default}`",
            "8: found `${NOPE}`, a variable that is not set, wanted it set, or with a default: `${NOPE:-default}`",
            "10: found `${NOPE}`, a variable that is not set, wanted it set, or with a default: `${NOPE:-default}`",
        ],
    );
}

#[test]
fn a_filter_in_front_of_the_router_has_no_routes() {
    refused(
        "listeners: [{ name: web, address: '127.0.0.1:0', filters: [auth, router] }]
filters:
  router:
    component: lockgate:router
    config: { routes: [{ name: a, cluster: shop }] }
  auth:
    component: lockgate:auth
    config: { api_keys: [{ name: x, key: k }] }
    routes: { a: off }
clusters: [{ name: shop, endpoints: ['127.0.0.1:9'] }]
",
        &[
            "9: found the route `a`, wanted no `routes`: no filter before `auth` declares any route (put it behind `router` in the listener's `filters`)",
        ],
    );
}

#[test]
fn a_bad_component_is_named() {
    let found = told(
        "listeners: [{ name: web, address: '127.0.0.1:0', filters: [other] }]
filters:
  other:
    component: ./text.wasm
",
        2,
    );
    let is_named = |told: &String| {
        told.starts_with("4: found `") && told.contains("text.wasm`, which is not WebAssembly")
    };
    assert!(found.len() == 1 && is_named(&found[0]), "{found:?}");
}

#[test]
fn filters_warn_and_refuse_in_their_own_words() {
    let text = "listeners: [{ name: web, address: '127.0.0.1:0', filters: [router] }]
filters:
  router:
    component: lockgate:router
    config: { routes: [{ name: a, cluster: shop }, { name: b, cluster: shop }] }
clusters: [{ name: shop, endpoints: ['127.0.0.1:9'] }]
";
    assert_eq!(
        told(text, 0),
        [
            "5: filter `router` warns: route `b` can never be reached: `a` takes all of its requests first"
        ]
    );
}
