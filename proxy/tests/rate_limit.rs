//! The shipped rate limiter, and with it what filters share, over sockets: exact
//! over all workers, kept across reloads and by versions that keep it otherwise,
//! granted or not loaded.

#[path = "guests/component.rs"]
mod guests;
mod support;

use std::net::SocketAddr;
use std::sync::Barrier;

use lockgate::digest::Digest;
use support::admin::{get, json};
use support::filtered::{check, counted};
use support::{Answer, Client, Origin, Proxy};

fn policy(origin: &Origin, limits: &str, rest: &str) -> String {
    format!(
        "workers: 2\nadmin: {{ address: '127.0.0.1:0' }}\n\
         listeners: [{{ name: web, address: '127.0.0.1:0', cluster: origin, filters: [limiter] }}]\n\
         clusters: [{{ name: origin, endpoints: ['{}'] }}]\n\
         filters:\n  limiter:\n    component: lockgate:rate-limit\n    \
         grants: {{ shared: true }}\n    config: {{ limits: [{limits}] }}\n{rest}",
        origin.address
    )
}

/// So many, and then hardly any more while a test runs.
fn only(count: u32) -> String {
    format!("{{ name: few, rate: 1, per: hour, burst: {count}, key: {{ header: x-client }} }}")
}

fn ask(proxy: &Proxy, client: &str) -> Answer {
    ask_at(proxy.address(), client)
}

fn ask_at(address: SocketAddr, client: &str) -> Answer {
    let head = format!("GET / HTTP/1.1\r\nhost: a\r\nx-client: {client}\r\n\r\n");
    Client::connect(address).send(head).answer()
}

#[test]
fn what_is_beyond_the_limit_is_told_to_come_back() {
    let origin = Origin::saying("ok");
    let proxy = Proxy::start(&policy(&origin, &only(2), ""));
    let first = ask(&proxy, "a");
    assert_eq!(first.status, 200);
    assert_eq!(first.header("ratelimit-policy"), Some("\"few\";q=1;w=3600"));
    assert!(
        first
            .header("ratelimit")
            .unwrap()
            .starts_with("\"few\";r=1;t=")
    );
    assert_eq!(ask(&proxy, "a").status, 200);
    let refused = ask(&proxy, "a");
    assert_eq!(refused.status, 429);
    let wait: u32 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((3500..=3600).contains(&wait), "{wait}");
    assert_eq!(ask(&proxy, "b").status, 200, "others have their own");
    let labels = [("limit", "few")];
    let refusals = counted(&proxy, "lockgate_guest_refused_total", &labels);
    assert_eq!(refusals, 1);
    assert_eq!(counted(&proxy, "lockgate_filter_shared_entries", &[]), 2);
}

/// Each key as it comes through a chain: from the connection, from the filter that
/// routed, and from the one that found out who it is.
#[test]
fn clients_are_told_apart_by_address_route_and_subject() {
    let origin = Origin::saying("ok");
    let start = |key: &str| {
        let limit = format!("{{ name: few, rate: 1, per: hour, burst: 1, key: {{ {key} }} }}");
        let listener = "address: '127.0.0.1:0', cluster: origin, filters: [limiter]";
        let chain = "address: '127.0.0.1:0', headers: { trusted_hops: [127.0.0.1] }, \
                     filters: [router, auth, limiter]";
        let rest = "  router:\n    component: lockgate:router\n    config:\n      routes:\n      \
                    - { name: a, match: { path_prefix: /a }, cluster: origin }\n      \
                    - { name: b, match: { path_prefix: /b }, cluster: origin }\n  \
                    auth:\n    component: lockgate:auth\n    config:\n      api_keys:\n        \
                    - { name: anna, key: key-a }\n        - { name: ben, key: key-b }\n";
        let policy = policy(&origin, &limit, rest);
        assert!(policy.contains(listener));
        Proxy::start(&policy.replace(listener, chain))
    };
    let ask = |proxy: &Proxy, path: &str, key: &str, address: &str| {
        let fields = [("x-api-key", key), ("x-forwarded-for", address)];
        proxy.ask(path, &fields).status
    };
    let check = |key: &str, second: (&str, &str, &str), other: (&str, &str, &str)| {
        let proxy = start(key);
        assert_eq!(ask(&proxy, "/a", "key-a", "192.0.2.1"), 200, "{key}");
        let (path, api_key, address) = second;
        assert_eq!(ask(&proxy, path, api_key, address), 429, "{key}");
        let (path, api_key, address) = other;
        assert_eq!(ask(&proxy, path, api_key, address), 200, "{key}");
    };
    let (one, two) = ("192.0.2.1", "192.0.2.2");
    check("by: address", ("/b", "key-b", one), ("/a", "key-a", two));
    check("by: route", ("/a", "key-b", two), ("/b", "key-a", one));
    check(
        "attribute: auth.subject",
        ("/b", "key-a", two),
        ("/a", "key-b", one),
    );
}

#[test]
fn a_limit_is_exact_over_all_workers() {
    const CLIENTS: usize = 8;
    const EACH: usize = 20;
    const LIMIT: usize = 50;
    let origin = Origin::saying("ok");
    let proxy = Proxy::start(&policy(&origin, &only(LIMIT as u32), ""));
    let (start, address) = (Barrier::new(CLIENTS), proxy.address());
    let passed: usize = std::thread::scope(|scope| {
        let client = || {
            start.wait();
            // Each on a connection of its own, so on either worker.
            let passed = (0..EACH).filter(|_| ask_at(address, "same").status == 200);
            passed.count()
        };
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
        clients
            .into_iter()
            .map(|client| client.join().unwrap())
            .sum()
    });
    assert_eq!(passed, LIMIT);
}

#[test]
fn what_was_counted_outlives_reloads() {
    let origin = Origin::saying("ok");
    let proxy = Proxy::start(&policy(&origin, &only(2), ""));
    assert_eq!(ask(&proxy, "a").status, 200);
    // Another configuration of the same filter, so another generation of it.
    let limits = format!(
        "{}, {{ name: all, rate: 100000, per: second, key: {{ by: global }} }}",
        only(2)
    );
    proxy.edit(&policy(&origin, &limits, ""));
    assert!(proxy.reload().ok);
    assert_eq!(ask(&proxy, "a").status, 200);
    assert_eq!(ask(&proxy, "a").status, 429);
    // A smaller store gives up what has no room, and works on.
    proxy.edit(&policy(
        &origin,
        &limits,
        "    limits: { max_shared: 64KiB }\n",
    ));
    assert!(proxy.reload().ok);
    for client in 0..2000 {
        assert_eq!(ask(&proxy, &client.to_string()).status, 200);
    }
    let bytes = counted(&proxy, "lockgate_filter_shared_bytes", &[]);
    assert!(bytes <= 64 << 10, "{bytes}");
    assert_ne!(
        counted(&proxy, "lockgate_filter_shared_evictions_total", &[]),
        0
    );
}

/// The policy with a component beside it in the place of the shipped one.
fn upgraded(yaml: &str) -> String {
    yaml.replace("lockgate:rate-limit", "./limiter.wasm")
}

/// Puts a version in place that keeps its counts in this form; the shipped one's is 0.
/// The salt makes it another version.
fn put(proxy: &Proxy, form: usize, salt: u8) -> Digest {
    let is_it = |shipped: &&lockgate::shipped::Shipped| shipped.name == "lockgate:rate-limit";
    let version = match form {
        0 => lockgate::shipped::SHIPPED.iter().find(is_it).unwrap().bytes,
        later => &guests::limiters()[later - 1],
    };
    let version = guests::noted(version.to_vec(), salt);
    // As editors do: written aside, then put in place.
    let aside = proxy.path().join(".limiter.wasm.new");
    std::fs::write(&aside, &version).unwrap();
    std::fs::rename(aside, proxy.path().join("limiter.wasm")).unwrap();
    Digest::of(&version)
}

/// A request of this client that passes, and how many more may.
#[track_caller]
fn left(proxy: &Proxy, client: &str) -> u32 {
    let answer = ask(proxy, client);
    assert_eq!(answer.status, 200, "{client}: {answer:?}");
    let told = answer.header("ratelimit").unwrap();
    let left = told.split(';').find_map(|part| part.strip_prefix("r="));
    left.unwrap().parse().unwrap()
}

#[test]
fn counts_survive_ten_upgrades_of_which_three_change_their_form() {
    const LIMIT: u32 = 13;
    let origin = Origin::saying("ok");
    let yaml = policy(&origin, &only(LIMIT), "");
    let proxy = Proxy::start(&yaml);
    for used in 1..=LIMIT {
        assert_eq!(left(&proxy, "spent"), LIMIT - used);
    }
    assert_eq!(left(&proxy, "frugal"), LIMIT - 1);
    let upgrades = [0, 0, 1, 1, 1, 2, 2, 3, 3, 3];
    for (number, form) in (1..).zip(upgrades) {
        let version = put(&proxy, form, number);
        proxy.edit(&upgraded(&yaml));
        let outcome = proxy.reload();
        assert!(outcome.ok, "{outcome:?}");
        let told = json(&get(proxy.admin(), "/filters"));
        assert_eq!(told[0]["digest"], version.to_string(), "{told}");

        assert_eq!(ask(&proxy, "spent").status, 429, "{number}");
        assert_eq!(left(&proxy, "frugal"), LIMIT - 1 - u32::from(number));
        assert_eq!(left(&proxy, &format!("new {number}")), LIMIT - 1);
    }
    // What was left is there, and no more.
    assert_eq!([left(&proxy, "frugal"), left(&proxy, "frugal")], [1, 0]);
    assert_eq!(ask(&proxy, "frugal").status, 429);
}

#[test]
fn a_version_that_cannot_read_the_counts_is_refused_with_its_reason() {
    let origin = Origin::saying("ok");
    let yaml = policy(&origin, &only(2), "");
    let proxy = Proxy::start(&yaml);
    assert_eq!(left(&proxy, "a"), 1);
    put(&proxy, 2, 1);
    proxy.edit(&upgraded(&yaml));
    let outcome = proxy.reload();
    assert!(!outcome.ok, "{outcome:?}");
    let told = outcome.mistakes.join("\n");
    assert!(
        told.contains("limiter.wasm`, which cannot take over"),
        "{told}"
    );
    let reason = "counts of the form 0 are not read any more, only 1";
    assert!(told.contains(reason), "{told}");
    // The one before goes on, with its counts.
    assert_eq!(left(&proxy, "a"), 0);
    assert_eq!(ask(&proxy, "a").status, 429);

    // By way of the version in between it is taken.
    for form in [1, 2] {
        put(&proxy, form, 1);
        let outcome = proxy.reload();
        assert!(outcome.ok, "{outcome:?}");
        assert_eq!(ask(&proxy, "a").status, 429);
    }
}

#[test]
fn a_grant_that_is_taken_back_is_gone() {
    let origin = Origin::saying("ok");
    let yaml = policy(&origin, &only(2), "");
    let proxy = Proxy::start(&yaml);
    proxy.edit(&yaml.replace("shared: true", "shared: false"));
    let outcome = proxy.reload();
    assert!(!outcome.ok, "{outcome:?}");
    assert!(
        outcome.mistakes[0].contains("imports `shared`"),
        "{outcome:?}"
    );
}

#[test]
fn without_the_grant_it_is_not_loaded() {
    let origin = Origin::saying("ok");
    let folder = Proxy::folder();
    let yaml = policy(&origin, &only(2), "").replace("shared: true", "shared: false");
    let checked = check(&folder, &yaml);
    std::fs::remove_dir_all(&folder).ok();
    assert_eq!(checked.code, 2, "{checked:?}");
    let told = "imports `shared`, which `grants: { shared: true }` would grant it";
    assert!(checked.text.contains(told), "{checked:?}");
    assert!(checked.text.contains("checked.yaml:8:"), "{checked:?}");
}
