//! Who of a cluster's endpoints is asked, by each policy, and what a reload leaves as it was.

mod support;

use std::collections::HashMap;
use std::io::{BufReader, Write};
use std::sync::atomic::{AtomicUsize, Ordering};

use support::{Origin, Proxy, read_request};

/// One worker, so that its balancer is seen whole. `cluster` is what stands in the cluster
/// beside its name.
fn yaml(cluster: &str) -> String {
    format!(
        "workers: 1\n\
         listeners: [{{ name: web, address: '127.0.0.1:0', cluster: origin }}]\n\
         clusters: [{{ name: origin, {cluster} }}]\n"
    )
}

fn proxy_with(cluster: &str) -> Proxy {
    Proxy::start(&yaml(cluster))
}

/// An origin that answers with its name and the number of the connection.
fn numbering(name: &'static str) -> Origin {
    let next = AtomicUsize::new(0);
    Origin::scripted(move |mut stream, _| {
        let text = format!("{name} {}", next.fetch_add(1, Ordering::Relaxed));
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        while read_request(&mut reader).is_some() {
            let length = text.len();
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{text}");
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    })
}

/// How often each text was the answer.
fn counts(proxy: &Proxy, requests: usize) -> HashMap<String, usize> {
    let mut client = proxy.connect();
    let mut counts = HashMap::new();
    for _ in 0..requests {
        let answer = client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").answer();
        *counts.entry(answer.text()).or_insert(0) += 1;
    }
    counts
}

/// Endpoints in YAML, with weights.
fn weighing(endpoints: &[(&Origin, u32)]) -> String {
    let one = |(origin, weight): &(&Origin, u32)| {
        format!("{{ address: '{}', weight: {weight} }}", origin.address)
    };
    let all: Vec<_> = endpoints.iter().map(one).collect();
    format!("endpoints: [{}]", all.join(", "))
}

#[test]
fn weights_are_shares() {
    let (heavy, light, none) = (
        Origin::saying("3"),
        Origin::saying("1"),
        Origin::saying("0"),
    );
    let endpoints = weighing(&[(&heavy, 300), (&light, 100), (&none, 0)]);
    for (policy, tolerance) in [("round_robin", 2), ("random", 110), ("least_request", 110)] {
        let proxy = proxy_with(&format!("{endpoints}, balance: {policy}"));
        let counts = counts(&proxy, 2000);
        // By chance, 110 is more than five standard deviations.
        assert!(
            counts["3"].abs_diff(1500) <= tolerance,
            "{policy}: {counts:?}"
        );
        assert_eq!(counts.get("0"), None, "{policy}");
    }
}

#[test]
fn where_nothing_weighs_all_are_equal() {
    let (one, two) = (Origin::saying("1"), Origin::saying("2"));
    let proxy = proxy_with(&weighing(&[(&one, 0), (&two, 0)]));
    assert_eq!(
        counts(&proxy, 10),
        [("1".into(), 5), ("2".into(), 5)].into()
    );
}

/// Also where an endpoint that weighs nothing is all that is left.
#[test]
fn what_weighs_nothing_does_not_stand_in_for_others() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let gone = nobody.local_addr().unwrap();
    drop(nobody);
    let origin = Origin::saying("drained");
    for policy in ["round_robin", "random", "least_request"] {
        let proxy = proxy_with(&format!(
            "endpoints: ['{gone}', {{ address: '{}', weight: 0 }}], balance: {policy}",
            origin.address
        ));
        for _ in 0..3 {
            assert_eq!(proxy.get("/").status, 502, "{policy}");
        }
    }
}

/// What is known of endpoints, and their connections, stay where they are.
#[test]
fn weights_and_members_change_live() {
    let (a, b, c) = (numbering("a"), numbering("b"), numbering("c"));
    let proxy = proxy_with(&weighing(&[(&a, 1), (&b, 1)]));
    let found = counts(&proxy, 8);
    assert_eq!(found, [("a 0".into(), 4), ("b 0".into(), 4)].into());

    let reload = |cluster: &str| {
        proxy.edit(&yaml(cluster));
        proxy.reload();
        counts(&proxy, 8)
    };
    let found = reload(&weighing(&[(&a, 3), (&b, 1)]));
    assert_eq!(found, [("a 0".into(), 6), ("b 0".into(), 2)].into());
    let found = reload(&weighing(&[(&c, 1), (&b, 1)]));
    assert_eq!(found, [("c 0".into(), 4), ("b 0".into(), 4)].into());
    let found = reload(&format!("{}, balance: random", weighing(&[(&b, 1)])));
    assert_eq!(found, [("b 0".into(), 8)].into());
    // Who left is another when it comes back; and connections by other rules are others.
    let found = reload(&weighing(&[(&a, 1), (&b, 1)]));
    assert_eq!(found, [("a 1".into(), 4), ("b 0".into(), 4)].into());
    let found = reload(&format!("{}, max_head_bytes: 32KiB", weighing(&[(&b, 1)])));
    assert_eq!(found, [("b 1".into(), 8)].into());
}
