//! Who of a cluster's endpoints is asked, by each policy, and what a reload leaves as it was.

mod support;

use std::collections::HashMap;
use std::io::{BufReader, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use support::http2_origin::{Http2Origin, answer};
use support::{Client, LIMIT, Origin, Proxy, read_request};

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
    let policies = [("round_robin", 2), ("random", 110), ("least_request", 110)];
    for (policy, tolerance) in policies {
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
    for policy in ["round_robin", "random", "least_request", "peak_ewma"] {
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

/// How far a quick and a slow origin are, which answer in turns.
#[derive(Default)]
struct Race {
    /// Answers of the quick one.
    quick: usize,
    /// Answers of the slow one.
    slow: usize,
    /// Requests that the slow one has.
    held: usize,
}

const CLIENTS: usize = 6;

/// The slow one answers when the quick one has given so many answers meanwhile, or when
/// nobody is left to ask that one.
fn origins(race: &Arc<(Mutex<Race>, Condvar)>) -> (Origin, Origin) {
    const BEHIND: usize = 30;
    let told = race.clone();
    let quick = Origin::start(move |_| {
        told.0.lock().unwrap().quick += 1;
        told.1.notify_all();
        OK.to_vec()
    });
    let told = race.clone();
    let slow = Origin::start(move |_| {
        let (race, turn) = &*told;
        let mut race = race.lock().unwrap();
        race.held += 1;
        turn.notify_all();
        let until = race.quick + BEHIND;
        let waits = |race: &mut Race| race.quick < until && race.held < CLIENTS;
        let (mut race, _) = turn.wait_timeout_while(race, LIMIT, waits).unwrap();
        race.held -= 1;
        race.slow += 1;
        OK.to_vec()
    });
    (quick, slow)
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[test]
fn a_slow_origin_gets_less() {
    for policy in ["least_request", "peak_ewma"] {
        let race = Arc::default();
        let (quick, slow) = origins(&race);
        let endpoints = weighing(&[(&quick, 1), (&slow, 1)]);
        let proxy = proxy_with(&format!("{endpoints}, balance: {policy}"));
        let address = proxy.address();
        std::thread::scope(|threads| {
            for _ in 0..CLIENTS {
                threads.spawn(|| {
                    let mut client = Client::connect(address);
                    while race.0.lock().unwrap().quick < 600 {
                        let answer = client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").answer();
                        assert_eq!(answer.status, 200, "{policy}");
                    }
                    // Nobody waits for those who have gone home.
                    race.0.lock().unwrap().held += 1;
                    race.1.notify_all();
                });
            }
        });
        let race = race.0.lock().unwrap();
        assert!(
            race.slow * 3 < race.quick,
            "{policy}: {} and {}",
            race.slow,
            race.quick
        );
    }
}

/// Of 200 requests, by one client, one after the other.
fn check_repelled(policy: &str, answer: &'static str) {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    let bad = Origin::start(move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
        answer.as_bytes().to_vec()
    });
    let good = Origin::saying("good");
    let endpoints = weighing(&[(&bad, 1), (&good, 1)]);
    let proxy = proxy_with(&format!("{endpoints}, balance: {policy}"));
    counts(&proxy, 200);
    let asked = asked.load(Ordering::Relaxed);
    // By turns it would be the half.
    assert!((1..30).contains(&asked), "{policy}: {asked}, {answer}");
}

#[test]
fn who_says_that_it_has_too_much_to_do_attracts_less() {
    for policy in ["least_request", "peak_ewma"] {
        for answer in [
            "HTTP/1.1 429 Slow Down\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 503 Busy\r\nretry-after: 1000000000000\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\ngrpc-status: 8\r\ncontent-length: 0\r\n\r\n",
        ] {
            check_repelled(policy, answer);
        }
    }
}

#[test]
fn who_fails_fast_is_no_fast_origin() {
    check_repelled(
        "peak_ewma",
        "HTTP/1.1 500 Broken\r\ncontent-length: 0\r\n\r\n",
    );
    check_repelled("peak_ewma", "nonsense\r\n\r\n");
}

/// What a service of gRPC says behind its answer counts too.
#[test]
fn a_call_that_ends_with_resource_exhausted_repels() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    let busy = Http2Origin::start(move |_, mut respond| {
        counter.fetch_add(1, Ordering::Relaxed);
        async move {
            let mut body = respond.send_response(Response::new(()), false).unwrap();
            body.send_data(Bytes::from_static(b"some"), false).unwrap();
            let status = (
                "grpc-status".parse().unwrap(),
                HeaderValue::from_static("8"),
            );
            body.send_trailers(HeaderMap::from_iter([status])).unwrap();
        }
    });
    let good = Http2Origin::start(|_, mut respond| async move {
        answer(&mut respond, 200, "good");
    });
    let proxy = proxy_with(&format!(
        "endpoints: ['{}', '{}'], protocol: http2, balance: least_request",
        busy.address, good.address
    ));
    counts(&proxy, 200);
    let asked = asked.load(Ordering::Relaxed);
    assert!((1..30).contains(&asked), "{asked}");
}
