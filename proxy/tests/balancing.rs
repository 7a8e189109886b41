//! Who of a cluster's endpoints is asked, by each policy, and what a reload leaves as it was.

#[path = "guests/component.rs"]
mod guest;
mod support;

use std::collections::HashMap;
use std::io::{BufReader, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use support::clock::{Clock, percentile};
use support::http2_origin::{Http2Origin, answer};
use support::{Client, LIMIT, Origin, Proxy, read_request, within};

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

/// Where nobody listens, for as long as the port is kept.
fn nobody() -> (socket2::Socket, std::net::SocketAddr) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let any: std::net::SocketAddr = ([127, 0, 0, 1], 0).into();
    socket.bind(&any.into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address)
}

/// Also where an endpoint that weighs nothing is all that is left.
#[test]
fn what_weighs_nothing_does_not_stand_in_for_others() {
    let (_nobody, gone) = nobody();
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

/// Ten origins, of which one takes twenty times as long, and sixty-four requests at once: 99 of
/// a hundred are answered as if it were not there, but for those that are given to it in turn.
#[test]
fn of_ten_the_slow_one_is_not_seen_in_99_of_100() {
    const CLIENTS: usize = 64;
    const TAKES: u64 = 1000;
    let p99 = |policy: &str, slow: u64| {
        let clock = Clock::of(CLIENTS);
        let mut origins: Vec<_> = (0..9).map(|_| clock.origin(TAKES)).collect();
        origins.push(clock.origin(slow));
        let all: Vec<_> = origins.iter().map(|origin| (origin, 1)).collect();
        let proxy = proxy_with(&format!("{}, balance: {policy}", weighing(&all)));
        let address = proxy.address();
        std::thread::scope(|threads| {
            for _ in 0..CLIENTS {
                threads.spawn(|| {
                    let mut client = Client::connect(address);
                    for _ in 0..100 {
                        let answer = client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").answer();
                        assert_eq!(answer.status, 200, "{policy}");
                    }
                    clock.goes_home();
                });
            }
        });
        // Until it is known who is slow, some ask it.
        percentile(clock.took().split_off(1000), 99)
    };
    // By turns it gets 540 of these; with two choices 40 to 46, and 54 would be seen.
    let healthy = p99("round_robin", TAKES);
    assert!(p99("round_robin", 20 * TAKES) > 10 * healthy);
    for policy in ["least_request", "peak_ewma"] {
        let found = p99(policy, 20 * TAKES);
        assert!(found <= 2 * healthy, "{policy}: {found}, {healthy}");
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

const HASHING: [&str; 2] = ["ring_hash", "maglev"];

/// Who answers a request with these fields.
fn who(client: &mut Client, fields: &str) -> String {
    let answer = client
        .send(format!("GET / HTTP/1.1\r\nhost: a\r\n{fields}\r\n"))
        .answer();
    assert_eq!(answer.status, 200);
    answer.text()
}

/// Who answers, for each of these keys in the field `x-key`.
fn owners(proxy: &Proxy, keys: usize) -> Vec<String> {
    let mut client = proxy.connect();
    let keys = 0..keys;
    keys.map(|key| who(&mut client, &format!("x-key: user-{key}\r\n")))
        .collect()
}

fn by_field(endpoints: &[&Origin], policy: &str) -> String {
    let endpoints: Vec<_> = endpoints.iter().map(|origin| (*origin, 1)).collect();
    let endpoints = weighing(&endpoints);
    format!("{endpoints}, balance: {policy}, hash_key: [{{ header: x-key }}]")
}

#[test]
fn few_keys_move_when_one_of_ten_leaves() {
    const KEYS: usize = 1000;
    let names: Vec<_> = (0..10).map(|number| number.to_string()).collect();
    let all: Vec<_> = names.iter().map(|name| Origin::saying(name)).collect();
    for policy in HASHING {
        let every: Vec<_> = all.iter().collect();
        let proxy = proxy_with(&by_field(&every, policy));
        let before = owners(&proxy, KEYS);
        assert_eq!(
            owners(&proxy, KEYS),
            before,
            "{policy}: a key has one owner"
        );
        let share = |name: &String| before.iter().filter(|owner| *owner == name).count();
        assert!(names.iter().all(|name| share(name) > 40), "{policy}");
        let least = (0..10).min_by_key(|index| share(&names[*index])).unwrap();
        // The order says nothing.
        let left = every.iter().rev().copied();
        let left: Vec<_> = left
            .filter(|one| !std::ptr::eq(*one, &all[least]))
            .collect();
        proxy.edit(&yaml(&by_field(&left, policy)));
        proxy.reload();
        let after = owners(&proxy, KEYS);
        let moved = std::iter::zip(&before, &after)
            .filter(|(a, b)| a != b)
            .count();
        assert!(
            moved >= share(&names[least]) && moved * 100 <= KEYS * 12,
            "{policy}: {moved}"
        );
    }
}

#[test]
fn the_first_key_that_there_is_counts() {
    let names: Vec<_> = (0..8).map(|number| number.to_string()).collect();
    let all: Vec<_> = names.iter().map(|name| (Origin::saying(name), 1)).collect();
    let all: Vec<_> = all
        .iter()
        .map(|(origin, weight)| (origin, *weight))
        .collect();
    let endpoints = weighing(&all);
    let keys = "[filter, { header: x-key }, { cookie: session }, address]";
    for policy in HASHING {
        let proxy = proxy_with(&format!("{endpoints}, balance: {policy}, hash_key: {keys}"));
        let mut client = proxy.connect();
        let mut owners = |fields: &dyn Fn(usize) -> String| {
            let mut owners: Vec<_> = (0..40).map(|n| who(&mut client, &fields(n))).collect();
            owners.sort_unstable();
            owners.dedup();
            owners.len()
        };
        let by_field = |n| format!("x-key: {n}\r\ncookie: session=1\r\n");
        assert!(owners(&by_field) > 1, "{policy}");
        let by_field = |n| format!("x-key: 1\r\ncookie: session={n}\r\n");
        assert_eq!(owners(&by_field), 1, "{policy}");
        let by_cookie = |n| format!("cookie: other={n}; session={n}\r\n");
        assert!(owners(&by_cookie) > 1, "{policy}");
        let by_cookie = |n| format!("cookie: other={n}; session=1\r\n");
        assert_eq!(owners(&by_cookie), 1, "{policy}");
        let by_address = |n| format!("cookie: other={n}\r\n");
        assert_eq!(owners(&by_address), 1, "{policy}");
        let mut by_address: Vec<_> = (1..40)
            .map(|last| Client::connect_from([127, 0, 0, last], proxy.address()))
            .map(|mut client| who(&mut client, ""))
            .collect();
        by_address.sort_unstable();
        by_address.dedup();
        assert!(by_address.len() > 1, "{policy}");
    }
}

#[test]
fn an_endpoint_that_is_down_has_its_keys_again_when_it_is_back() {
    let (one, two) = (Origin::saying("one"), Origin::saying("two"));
    for policy in HASHING {
        let (socket, down) = nobody();
        let proxy = proxy_with(&format!(
            "endpoints: ['{}', '{down}', '{}'], balance: {policy}, \
             hash_key: [{{ header: x-key }}], refused_pause: 1ms",
            one.address, two.address
        ));
        let before = owners(&proxy, 60);
        assert_eq!(owners(&proxy, 60), before, "{policy}");
        socket.listen(16).unwrap();
        let listener = std::net::TcpListener::from(socket);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                while read_request(&mut reader).is_some() {
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nback";
                    stream.write_all(answer).unwrap();
                }
            }
        });
        // Each key is one's who was, or of the one that is back once its pause is over.
        within("it is back", || {
            let after = owners(&proxy, 60);
            let pairs = || std::iter::zip(&before, &after);
            assert!(pairs().all(|(before, after)| after == before || after == "back"));
            pairs().any(|(_, after)| after == "back").then_some(())
        });
    }
}

#[test]
fn one_hot_key_is_spread_where_load_is_bounded() {
    for policy in HASHING {
        for (bound, most) in [("", 16), (", bounded_load: 1.25", 5)] {
            let origins: Vec<_> = (0..4).map(|_| Origin::holding("held")).collect();
            let all: Vec<_> = origins.iter().map(|(origin, _)| origin).collect();
            let proxy = proxy_with(&format!("{}{bound}", by_field(&all, policy)));
            let mut got = [0; 4];
            let mut clients = Vec::new();
            for sent in 1..=16 {
                let mut client = proxy.connect();
                client.send("GET /held HTTP/1.1\r\nhost: a\r\nx-key: hot\r\n\r\n");
                clients.push(client);
                within("a request arrives", || {
                    for (got, origin) in got.iter_mut().zip(&all) {
                        *got += usize::from(origin.seen_now().is_some());
                    }
                    (got.iter().sum::<usize>() == sent).then_some(())
                });
            }
            assert_eq!(got.iter().max(), Some(&most), "{policy}{bound}: {got:?}");
        }
    }
}

#[test]
fn a_cookie_binds_a_client_to_an_endpoint_while_that_is_there() {
    let names: Vec<_> = (0..6).map(|number| number.to_string()).collect();
    let all: Vec<_> = names.iter().map(|name| Origin::saying(name)).collect();
    for policy in HASHING {
        let cluster = |origins: &[&Origin]| {
            let origins: Vec<_> = origins.iter().map(|origin| (*origin, 1)).collect();
            let key = "hash_key: [{ cookie: bound, ttl: 1h, path: /shop }]";
            format!("{}, balance: {policy}, {key}", weighing(&origins))
        };
        let every: Vec<_> = all.iter().collect();
        let proxy = proxy_with(&cluster(&every));
        assert_eq!(proxy.get("/shopping").header("set-cookie"), None);
        let first = proxy.get("/shop/cart");
        let set = first.header("set-cookie").unwrap();
        let (cookie, attributes) = set.split_once("; ").unwrap();
        assert_eq!(
            attributes,
            "Max-Age=3600; Path=/shop; HttpOnly; SameSite=Lax"
        );
        let ask = || {
            let answer = proxy.ask("/", &[("cookie", cookie)]);
            assert_eq!(answer.status, 200);
            assert_eq!(answer.header("set-cookie"), None, "it has one");
            answer.text()
        };
        assert_eq!(ask(), first.text(), "{policy}");
        let other = proxy.get("/shop");
        assert_ne!(other.header("set-cookie").unwrap(), set, "another client");

        let reversed: Vec<_> = every.iter().rev().copied().collect();
        proxy.edit(&yaml(&cluster(&reversed)));
        proxy.reload();
        assert_eq!(ask(), first.text(), "{policy}");

        let left = std::iter::zip(&names, &every).filter(|(name, _)| **name != first.text());
        let left: Vec<_> = left.map(|(_, origin)| *origin).collect();
        proxy.edit(&yaml(&cluster(&left)));
        proxy.reload();
        let next = ask();
        assert_ne!(next, first.text(), "{policy}");
        assert_eq!(ask(), next, "{policy}");
    }
}

/// Who answers clients of many addresses.
fn owners_of_addresses(ask: impl Fn(Client) -> String, proxy: &Proxy) -> usize {
    let clients = (1..40).map(|last| Client::connect_from([127, 0, 0, last], proxy.address()));
    let mut owners: Vec<_> = clients.map(ask).collect();
    owners.sort_unstable();
    owners.dedup();
    owners.len()
}

/// A proxy whose guest does these steps, in front of six origins.
fn guided(steps: &str, hash_key: &str) -> (Proxy, Vec<Origin>) {
    let origins: Vec<_> = (0..6).map(|n| Origin::saying(&n.to_string())).collect();
    let endpoints: Vec<_> = origins.iter().map(|origin| (origin, 1)).collect();
    let folder = Proxy::folder();
    std::fs::write(folder.join("guest.wasm"), guest::component()).unwrap();
    let proxy = Proxy::start_in(
        folder,
        &format!(
            "workers: 1\n\
             listeners: [{{ name: web, address: '127.0.0.1:0', cluster: o, filters: [guest] }}]\n\
             filters:\n  guest:\n    component: ./guest.wasm\n    \
             config: {{ wants: {{ phases: [request] }}, request: [{steps}] }}\n\
             clusters: [{{ name: o, {}, balance: maglev, hash_key: {hash_key} }}]\n",
            weighing(&endpoints)
        ),
    );
    (proxy, origins)
}

#[test]
fn a_key_of_a_filter_counts_where_the_cluster_says_so() {
    let ask = |mut client: Client| who(&mut client, "");
    let (proxy, _origins) = guided("set-hash-key k", "[filter, address]");
    assert_eq!(owners_of_addresses(ask, &proxy), 1);
    let (proxy, _origins) = guided("set-hash-key k", "[address]");
    assert!(owners_of_addresses(ask, &proxy) > 1, "nobody takes it");
    let (proxy, _origins) = guided("", "[filter, address]");
    assert!(owners_of_addresses(ask, &proxy) > 1, "nobody sets it");
}

#[test]
fn connections_have_keys_too() {
    let origins: Vec<_> = (0..6)
        .map(|number| {
            Origin::scripted(move |mut stream, _| {
                stream.write_all(number.to_string().as_bytes()).ok();
            })
        })
        .collect();
    let endpoints: Vec<_> = origins.iter().map(|origin| (origin, 1)).collect();
    let endpoints = weighing(&endpoints);
    for (words, is_one) in [("hash", true), ("", false)] {
        let folder = Proxy::folder();
        std::fs::write(folder.join("gate.wasm"), guest::gate()).unwrap();
        let proxy = Proxy::start_in(
            folder,
            &format!(
                "workers: 1\n\
                 listeners:\n- {{ name: web, address: '127.0.0.1:0', protocols: [tcp], cluster: o, \
                 connection_filters: [gate] }}\n\
                 filters: {{ gate: {{ component: ./gate.wasm, config: {{ do: '{words}' }} }} }}\n\
                 clusters: [{{ name: o, {endpoints}, balance: ring_hash }}]\n"
            ),
        );
        let ask = |mut client: Client| String::from_utf8(client.rest()).unwrap();
        assert_eq!(owners_of_addresses(ask, &proxy) == 1, is_one, "{words}");
    }
}
