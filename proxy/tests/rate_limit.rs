//! The shipped rate limiter, and with it what filters share, over sockets: exact
//! over all workers, kept across reloads, granted or not loaded.

mod support;

use std::net::SocketAddr;
use std::sync::Barrier;

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
