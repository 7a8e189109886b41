//! What goes on across reloads: exchanges under way, and everything that did
//! not change.

mod support;

use std::net::TcpStream;

use support::admin::{get, json, live, metric, metric_sum, refusal};
use support::{Client, Origin, Proxy, within};

/// Everything goes to the origin, and the router says by which policy.
fn policy(origin: &Origin, name: &str) -> String {
    format!(
        "admin: {{ address: '127.0.0.1:0' }}\n\
         listeners: [{{ name: web, address: '127.0.0.1:0', filters: [router] }}]\n\
         clusters: [{{ name: origin, endpoints: ['{}'] }}]\n\
         filters:\n  router:\n    component: ./router.wasm\n    config:\n      routes:\n      \
         - name: all\n        match: {{ path_prefix: / }}\n        cluster: origin\n        \
         headers: {{ response: {{ set: {{ x-policy: {name} }} }} }}\n",
        origin.address
    )
}

fn start(origin: &Origin, name: &str) -> Proxy {
    let folder = Proxy::folder();
    std::fs::write(folder.join("router.wasm"), component(0)).unwrap();
    Proxy::start_in(folder, &policy(origin, name))
}

/// As [`policy`], with no more than one generation beside the current one.
fn limited(origin: &Origin, name: &str) -> String {
    format!("max_generations: 2\n{}", policy(origin, name))
}

/// The shipped router, made another by a section that means nothing.
fn component(version: u8) -> Vec<u8> {
    let shipped = lockgate::shipped::SHIPPED;
    let shipped = shipped
        .iter()
        .find(|shipped| shipped.name == "lockgate:router")
        .unwrap();
    let mut bytes = shipped.bytes.to_vec();
    bytes.extend_from_slice(b"\x00\x06\x04note");
    bytes.push(version);
    bytes
}

/// Publishes this configuration, whether the watch or the command is first.
fn publish(proxy: &Proxy, yaml: &str) {
    proxy.edit(yaml);
    let outcome = proxy.reload();
    assert!(outcome.ok, "{outcome:?}");
}

/// A request that the origin holds.
fn hold(proxy: &Proxy, origin: &Origin) -> Client {
    let mut client = proxy.connect();
    client.send("GET /held HTTP/1.1\r\nhost: test\r\n\r\n");
    while !origin.seen().line.contains("/held") {}
    client
}

#[test]
fn an_exchange_keeps_the_generation_it_began_with() {
    let (origin, release) = Origin::holding("body");
    let proxy = start(&origin, "one");
    let mut held = hold(&proxy, &origin);
    publish(&proxy, &policy(&origin, "two"));
    assert_eq!(proxy.get("/").header("x-policy"), Some("two"));
    // A change of the file may be noticed twice.
    within("only these two are left", || {
        let told = metric(proxy.admin(), "lockgate_live_generations");
        (told == 2.0 && live(&proxy) == 2).then_some(())
    });

    release.send(()).unwrap();
    let answer = held.answer();
    assert_eq!(answer.header("x-policy"), Some("one"));
    assert_eq!(answer.text(), "body");
    within("the old generation ends, and the metric says so", || {
        let told = metric(proxy.admin(), "lockgate_live_generations");
        (told == 1.0 && live(&proxy) == 1).then_some(())
    });
    // The same connection goes on, by the new policy.
    held.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
    assert_eq!(held.answer().header("x-policy"), Some("two"));
}

#[test]
fn a_body_goes_on_streaming_although_its_cluster_is_gone() {
    let (release, gate) = std::sync::mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let old = Origin::scripted(move |mut stream, seen| {
        use std::io::Write;
        let mut reader = std::io::BufReader::new(stream.try_clone().unwrap());
        let Some(request) = support::read_request(&mut reader) else {
            return;
        };
        seen.send(request).unwrap();
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nfour")
            .unwrap();
        gate.lock().unwrap().recv_timeout(support::LIMIT).unwrap();
        stream.write_all(b"more").unwrap();
    });
    let new = Origin::saying("new");
    let proxy = start(&old, "one");
    let mut client = proxy.connect();
    client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
    while !client.line().is_empty() {}
    assert_eq!(client.exactly(4), b"four");
    publish(&proxy, &policy(&new, "two"));
    assert_eq!(proxy.get("/").text(), "new");
    release.send(()).unwrap();
    assert_eq!(client.exactly(4), b"more");
}

const OPENED: &str = "lockgate_cluster_connections_opened_total";
const INSTANCES: &str = "lockgate_filter_instances_made_total";

#[test]
fn what_did_not_change_is_carried_over() {
    let origin = Origin::saying("body");
    let proxy = start(&origin, "one");
    let admin = proxy.admin();
    let mut client = proxy.connect();
    let mut ask = || {
        client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
        assert_eq!(client.answer().status, 200);
    };
    ask();
    let counted = || {
        (
            metric_sum(admin, OPENED, "origin"),
            metric_sum(admin, INSTANCES, "router"),
        )
    };
    let before = counted();
    assert!(before.0 >= 1.0 && before.1 >= 1.0, "{before:?}");
    let address = proxy.address();
    for round in 0..5 {
        let more = format!("drain_timeout: {}s\n{}", round + 2, policy(&origin, "one"));
        publish(&proxy, &more);
        ask();
    }
    assert_eq!(counted(), before);
    assert_eq!(proxy.address(), address);

    publish(&proxy, &policy(&origin, "two"));
    ask();
    let after = counted();
    assert_eq!(after.0, before.0, "the cluster is the same");
    assert!(after.1 > before.1, "the filter is not: {after:?}");
}

#[test]
fn listeners_come_and_go() {
    let origin = Origin::saying("body");
    let proxy = start(&origin, "one");
    let web = proxy.address();
    let two = policy(&origin, "one").replace(
        "listeners: [",
        "listeners: [{ name: other, address: '127.0.0.1:0', filters: [router] }, ",
    );
    publish(&proxy, &two);
    let other = proxy.listener("other").expect("it is bound");
    let get = b"GET / HTTP/1.1\r\nhost: test\r\n\r\n";
    let mut idle = Client::connect(other);
    assert_eq!(idle.send(get).answer().status, 200);

    publish(&proxy, &policy(&origin, "one"));
    assert_eq!(idle.rest(), b"", "its idle connections are closed");
    within("nobody listens there", || TcpStream::connect(other).err());
    assert_eq!(proxy.address(), web);
    assert_eq!(proxy.get("/").status, 200);
}

#[test]
fn at_the_limit_of_generations_a_reload_is_refused_and_no_exchange_ends() {
    let (origin, release) = Origin::holding("body");
    let folder = Proxy::folder();
    std::fs::write(folder.join("router.wasm"), component(0)).unwrap();
    let proxy = Proxy::start_in(folder, &limited(&origin, "one"));
    let mut held = hold(&proxy, &origin);
    // Not by command: the watch may come first, and then it is at the limit.
    proxy.edit(&limited(&origin, "two"));
    within("the new policy", || {
        (proxy.get("/").header("x-policy") == Some("two")).then_some(())
    });
    let refused = proxy.reload();
    assert!(!refused.ok);
    let reason = refused.mistakes.join("\n");
    assert!(
        reason.contains("2 live generations (the oldest, "),
        "{reason}"
    );
    let told = json(&get(proxy.admin(), "/generations"));
    assert_eq!(told["last_reload"]["mistakes"][0], reason);

    release.send(()).unwrap();
    assert_eq!(held.answer().header("x-policy"), Some("one"));
    within("there is room again", || proxy.reload().ok.then_some(()));
}

#[test]
fn a_change_that_found_no_room_is_loaded_when_there_is_some() {
    let (origin, release) = Origin::holding("body");
    let folder = Proxy::folder();
    std::fs::write(folder.join("router.wasm"), component(0)).unwrap();
    let proxy = Proxy::start_in(folder, &limited(&origin, "one"));
    let mut held = hold(&proxy, &origin);
    let wait_for = |policy: &str| {
        within(&format!("the policy {policy}"), || {
            (proxy.get("/").header("x-policy") == Some(policy)).then_some(())
        });
    };
    proxy.edit(&limited(&origin, "two"));
    wait_for("two");
    proxy.edit(&limited(&origin, "three"));
    assert!(refusal(&proxy).contains("2 live generations"));
    let refused = metric(proxy.admin(), REFUSED);
    assert_eq!(proxy.get("/").header("x-policy"), Some("two"));

    release.send(()).unwrap();
    assert_eq!(held.answer().status, 200);
    wait_for("three");
    assert_eq!(
        metric(proxy.admin(), REFUSED),
        refused,
        "it is not tried in vain"
    );
}

const REFUSED: &str = "lockgate_reloads_total{outcome=\"refused\"}";

#[test]
fn the_series_of_a_filter_stay_as_long_as_its_last_exchange() {
    let (origin, release) = Origin::holding("body");
    let proxy = start(&origin, "one");
    let admin = proxy.admin();
    let digest = json(&get(admin, "/filters"))[0]["digest"]
        .as_str()
        .unwrap()
        .to_owned();
    let series = || {
        let text = get(admin, "/metrics").text();
        let mut lines = text.lines();
        lines.any(|line| line.contains("generation=") && line.contains(&digest[..19]))
    };
    assert!(series());
    let mut held = hold(&proxy, &origin);
    std::fs::write(proxy.path().join("router.wasm"), component(1)).unwrap();
    publish(&proxy, &policy(&origin, "two"));
    assert!(series(), "it is still called");

    release.send(()).unwrap();
    assert_eq!(held.answer().status, 200);
    within("the next reload forgets it", || {
        proxy.reload();
        (!series()).then_some(())
    });
}

#[test]
fn a_response_stays_open_across_five_hundred_generations() {
    let (origin, release) = Origin::holding("body");
    let proxy = start(&origin, "first");
    let mut held = hold(&proxy, &origin);
    for number in 0..500 {
        proxy.edit(&policy(&origin, &format!("p{number}")));
        // Where exchanges just end, there may be no room for a moment.
        within("it is published", || proxy.reload().ok.then_some(()));
    }
    within("the first and the last are left", || {
        (live(&proxy) == 2).then_some(())
    });
    let told = json(&get(proxy.admin(), "/generations"));
    let first = &told["live"][0];
    assert_eq!(
        (&first["generation"], &first["exchanges"]),
        (&1.into(), &1.into())
    );
    assert!(
        first["filter_memory_bytes"].as_i64().unwrap() > 0,
        "{first}"
    );
    assert_eq!(told["live"][1]["exchanges"], 0);
    release.send(()).unwrap();
    let answer = held.answer();
    assert_eq!(answer.header("x-policy"), Some("first"));
    assert_eq!(answer.text(), "body");
    within("the first generation ends", || {
        (live(&proxy) == 1).then_some(())
    });
}
