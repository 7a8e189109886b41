//! Connections to endpoints: how much one serves, which are made ahead, how many there may be.

mod support;

use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use socket2::{Domain, Socket, Type};
use support::admin::{ask, get, json, metric};
use support::http2_origin::{Http2Origin, answer};
use support::tls::{Authority, put};
use support::tls_origin::Serves;
use support::{Origin, Proxy, read_request, within};
use tokio::sync::watch;

fn yaml(cluster: &str) -> String {
    format!(
        "workers: 1\n\
         admin: {{ address: '127.0.0.1:0' }}\n\
         listeners: [{{ name: web, address: '127.0.0.1:0', cluster: origin }}]\n\
         clusters: [{{ name: origin, {cluster} }}]\n"
    )
}

/// The connections of an origin in their order: requests of each, and whether it has ended.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<(usize, bool)>>>);

impl Seen {
    fn begin(&self) -> usize {
        let mut all = self.0.lock().unwrap();
        all.push((0, false));
        all.len() - 1
    }

    fn count(&self, connection: usize) {
        self.0.lock().unwrap()[connection].0 += 1;
    }

    fn end(&self, connection: usize) {
        self.0.lock().unwrap()[connection].1 = true;
    }

    fn all(&self) -> Vec<(usize, bool)> {
        self.0.lock().unwrap().clone()
    }

    fn requests(&self) -> Vec<usize> {
        self.all().iter().map(|(requests, _)| *requests).collect()
    }
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// One of HTTP/1 that never closes a connection itself.
fn patient() -> (Origin, Seen) {
    patient_at(TcpListener::bind("127.0.0.1:0").unwrap())
}

fn patient_at(listener: TcpListener) -> (Origin, Seen) {
    let seen = Seen::default();
    let told = seen.clone();
    let origin = Origin::listening(listener, move |stream, _| {
        let own = told.begin();
        let mut reader = BufReader::new(stream);
        while read_request(&mut reader).is_some() {
            told.count(own);
            if reader.get_mut().write_all(OK).is_err() {
                break;
            }
        }
        told.end(own);
    });
    (origin, seen)
}

/// One of HTTP/2, that answers once the gate is open.
fn patient_http2(gate: watch::Receiver<bool>) -> (Http2Origin, Seen) {
    let seen = Seen::default();
    let told = seen.clone();
    let origin = Http2Origin::scripted(move |socket| {
        let (told, gate) = (told.clone(), gate.clone());
        async move {
            let own = told.begin();
            let builder = h2::server::Builder::new();
            if let Ok(mut connection) = builder.handshake::<_, Bytes>(socket).await {
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    told.count(own);
                    let mut gate = gate.clone();
                    tokio::spawn(async move {
                        gate.wait_for(|is_open| *is_open).await.ok();
                        answer(&mut respond, 200, "ok");
                    });
                }
            }
            told.end(own);
        }
    });
    (origin, seen)
}

#[test]
fn a_connection_serves_so_many_requests() {
    let (origin, seen) = patient();
    let cluster = format!(
        "endpoints: ['{}'], pool: {{ max_requests: 3 }}",
        origin.address
    );
    let proxy = Proxy::start(&yaml(&cluster));
    for _ in 0..12 {
        assert_eq!(proxy.get("/").text(), "ok");
    }
    let requests = seen.requests();
    assert_eq!(requests.iter().sum::<usize>(), 12);
    assert_eq!(requests.iter().max(), Some(&3), "{requests:?}");
    within("who served three is closed", || {
        let mut full = seen
            .all()
            .into_iter()
            .filter(|(requests, _)| *requests == 3);
        full.all(|(_, has_ended)| has_ended).then_some(())
    });
}

#[test]
fn a_connection_of_http2_serves_so_many_streams() {
    let (gate, held) = watch::channel(false);
    let (origin, seen) = patient_http2(held);
    let cluster = format!(
        "endpoints: ['{}'], protocol: http2, pool: {{ max_requests: 2 }}",
        origin.address
    );
    let proxy = Proxy::start(&yaml(&cluster));
    let mut clients = [(); 3].map(|()| proxy.connect());
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    }
    within("two on one connection, and one on another", || {
        let mut all = seen.requests();
        all.sort_unstable();
        (all == [1, 2]).then_some(())
    });
    gate.send(true).unwrap();
    let full = seen.requests().iter().position(|count| *count == 2);
    let full = full.unwrap();
    // It goes on to the end of its streams.
    for client in &mut clients {
        assert_eq!(client.answer().text(), "ok");
    }
    within("the first connection ends", || {
        seen.all()[full].1.then_some(())
    });
    for _ in 0..9 {
        assert_eq!(proxy.get("/").text(), "ok");
    }
    assert_eq!(seen.requests(), [2, 2, 2, 2, 2, 2]);
}

fn gauge(proxy: &Proxy, name: &str) -> usize {
    let name = format!("lockgate_cluster_{name}{{cluster=\"origin\"}}");
    metric(proxy.admin(), &name) as usize
}

/// Each connection that the origin still has.
fn open(seen: &Seen) -> usize {
    let all = seen.all();
    all.iter().filter(|(_, has_ended)| !has_ended).count()
}

#[test]
fn connections_are_made_before_anybody_asks() {
    let (one, seen_one) = patient();
    let (two, seen_two) = patient();
    let cluster = |rest: &str| {
        format!(
            "endpoints: ['{}', '{}'], pool: {{ warm: 3{rest} }}",
            one.address, two.address
        )
    };
    let proxy = Proxy::start(&yaml(&cluster("")));
    within("three to each", || {
        (open(&seen_one) == 3 && open(&seen_two) == 3).then_some(())
    });
    within("all are kept", || {
        (gauge(&proxy, "connections_idle") == 6).then_some(())
    });
    for _ in 0..20 {
        assert_eq!(proxy.get("/").text(), "ok");
    }
    assert_eq!(
        seen_one.all().len() + seen_two.all().len(),
        6,
        "no other was made"
    );
    // Their cluster goes, and they with it.
    proxy.edit(&yaml(&format!(
        "endpoints: ['{}'], pool: {{ warm: 1 }}",
        two.address
    )));
    within("they are closed, and one is made", || {
        (open(&seen_one) == 0 && open(&seen_two) == 1).then_some(())
    });
}

#[test]
fn connections_that_go_are_made_again() {
    let (origin, seen) = patient();
    let pool = "pool: { warm: 2, idle_timeout: 200ms }";
    let _proxy = Proxy::start(&yaml(&format!("endpoints: ['{}'], {pool}", origin.address)));
    within("others in the place of those that grew old", || {
        let ended = seen
            .all()
            .iter()
            .filter(|(_, has_ended)| *has_ended)
            .count();
        (ended >= 4 && open(&seen) == 2).then_some(())
    });
}

/// One connection carries all that comes.
#[test]
fn of_http2_one_connection_is_made() {
    let (_gate, held) = watch::channel(true);
    let (origin, seen) = patient_http2(held);
    let cluster = format!(
        "endpoints: ['{}'], protocol: http2, pool: {{ warm: 5, max_requests: 2 }}",
        origin.address
    );
    let proxy = Proxy::start(&yaml(&cluster));
    within("one", || (seen.requests() == [0]).then_some(()));
    for _ in 0..2 {
        assert_eq!(proxy.get("/").text(), "ok");
    }
    within("another, as the first takes no more", || {
        (seen.all() == [(2, true), (0, false)]).then_some(())
    });
}

/// With TLS an endpoint says itself which it speaks.
#[test]
fn handshakes_of_tls_are_made_ahead() {
    let authority = Authority::new("ahead");
    let pair = authority.issue(&["127.0.0.1"]);
    for (alpn, spoken, wanted) in [("h2", "http2", 1), ("http/1.1", "http1", 2)] {
        let alpn = &[alpn];
        let origin = Serves {
            alpn,
            ..Serves::new(&pair)
        }
        .start();
        let folder = Proxy::folder();
        put(&folder.join("roots.pem"), authority.pem());
        let cluster = format!(
            "endpoints: ['{}'], protocol: auto, tls: {{ roots: [roots.pem] }}, \
             pool: {{ warm: 2 }}",
            origin.address
        );
        let proxy = Proxy::start_in(folder, &yaml(&cluster));
        within("they are made", || {
            (gauge(&proxy, "connections_opened_total") == wanted).then_some(())
        });
        assert!(proxy.get("/").text().starts_with(spoken));
        assert_eq!(origin.connections(), wanted);
    }
}

/// An endpoint that is not there costs a try now and then, and is warm soon after it came.
#[test]
fn endpoints_that_come_are_made_warm() {
    // Nobody else gets the port, and nobody listens yet.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any: SocketAddr = ([127, 0, 0, 1], 0).into();
    socket.bind(&any.into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let cluster = format!("endpoints: ['{address}'], refused_pause: 100ms, pool: {{ warm: 2 }}");
    let proxy = Proxy::start(&yaml(&cluster));
    within("it is tried in vain", || {
        (gauge(&proxy, "connect_failures_total") >= 1).then_some(())
    });
    let (origin, seen) = patient_at({
        socket.listen(16).unwrap();
        socket.into()
    });
    within("it is warm", || (open(&seen) == 2).then_some(()));
    drop(origin);
}

/// Who is to get nothing gets no connections.
#[test]
fn endpoints_that_are_drained_are_left_alone() {
    let (one, seen_one) = patient();
    let (two, seen_two) = patient();
    let cluster = format!(
        "endpoints: ['{}', '{}'], pool: {{ warm: 1, idle_timeout: 200ms }}",
        one.address, two.address
    );
    let proxy = Proxy::start(&yaml(&cluster));
    within("one to each", || {
        (open(&seen_one) == 1 && open(&seen_two) == 1).then_some(())
    });
    let path = format!("/clusters/origin/{}/drain", one.address);
    let said = ask(proxy.admin(), "POST", &path, &[("host", "localhost")]);
    assert_eq!(said.status, 200, "{}", said.text());
    within("it is closed", || (open(&seen_one) == 0).then_some(()));
    let before = (seen_one.all().len(), seen_two.all().len());
    within("the other's grow old and are made again", || {
        (seen_two.all().len() >= before.1 + 3).then_some(())
    });
    // One may have been on its way.
    assert!(seen_one.all().len() <= before.0 + 1);
}

/// Each worker makes no more than its part of what there may be.
#[test]
fn no_more_are_made_than_there_may_be() {
    let (origin, seen) = patient();
    let cluster = format!(
        "endpoints: ['{}'], limits: {{ connections: 4 }}, \
         pool: {{ warm: 50, idle_timeout: 200ms }}",
        origin.address
    );
    let proxy = Proxy::start(&yaml(&cluster));
    // The thread of jobs is one of two that share them.
    within("some are made, and made again", || {
        assert!(gauge(&proxy, "connections") <= 2);
        (seen.all().len() >= 6).then_some(())
    });
    assert_eq!(proxy.get("/").text(), "ok");
}

/// What `/clusters` tells of the endpoint of this address.
fn told(proxy: &Proxy, address: SocketAddr, what: &str) -> u64 {
    let clusters = json(&get(proxy.admin(), "/clusters"));
    let endpoints = clusters[0]["endpoints"].as_array().unwrap();
    let mut all = endpoints.iter();
    let endpoint = all.find(|one| one["address"] == *address.to_string());
    endpoint.unwrap()[what].as_u64().unwrap()
}

/// Waits until `/clusters` tells so of it.
fn is_told(proxy: &Proxy, address: SocketAddr, wanted: &[(&str, u64)]) {
    for (what, wanted) in wanted {
        within(what, || {
            (told(proxy, address, what) == *wanted).then_some(())
        });
    }
}

#[test]
fn connections_of_each_endpoint_are_told() {
    let (origin, release) = Origin::holding("ok");
    let cluster = format!("endpoints: ['{}'], pool: {{ warm: 2 }}", origin.address);
    let proxy = Proxy::start(&yaml(&cluster));
    let idle = [("connections", 2), ("idle_connections", 2), ("streams", 0)];
    is_told(&proxy, origin.address, &idle);
    let mut client = proxy.connect();
    client.send("GET /held HTTP/1.1\r\nhost: a\r\n\r\n");
    let busy = [("active", 1), ("connections", 2), ("idle_connections", 1)];
    is_told(&proxy, origin.address, &busy);
    release.send(()).unwrap();
    assert_eq!(client.answer().status, 200);
    is_told(&proxy, origin.address, &idle);
}

#[test]
fn streams_of_each_endpoint_are_told() {
    let (gate, held) = watch::channel(false);
    let (origin, _) = patient_http2(held);
    let cluster = format!("endpoints: ['{}'], protocol: http2", origin.address);
    let proxy = Proxy::start(&yaml(&cluster));
    let mut clients = [(); 3].map(|()| proxy.connect());
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    }
    let busy = [("streams", 3), ("connections", 1), ("idle_connections", 0)];
    is_told(&proxy, origin.address, &busy);
    gate.send(true).unwrap();
    let idle = [("streams", 0), ("connections", 1), ("idle_connections", 1)];
    is_told(&proxy, origin.address, &idle);
}

/// What workers told of an endpoint does not stay as it was when its cluster is made anew, and
/// nobody asks there any more.
#[test]
fn what_is_told_outlives_no_cluster() {
    let (one, release) = Origin::holding("one");
    let two = Origin::saying("two");
    let cluster = |one_weighs: u8, keys: &str| {
        yaml(&format!(
            "endpoints: [{{ address: '{}', weight: {one_weighs} }}, '{}'], {keys}",
            one.address, two.address
        ))
    };
    let proxy = Proxy::start(&cluster(1, ""));
    // In turns, so that one of two is held by the first.
    for _ in 0..4 {
        assert_eq!(proxy.get("/").status, 200);
    }
    let mut clients = [proxy.connect(), proxy.connect()];
    for client in &mut clients {
        client.send("GET /held HTTP/1.1\r\nhost: a\r\n\r\n");
    }
    is_told(&proxy, one.address, &[("active", 1), ("requests", 2)]);
    // Another pool makes another cluster; the first endpoint gets nothing any more.
    proxy.edit(&cluster(0, "pool: { max_idle: 7 }"));
    proxy.reload();
    is_told(
        &proxy,
        one.address,
        &[("weight", 0), ("active", 1), ("idle_connections", 0)],
    );
    release.send(()).unwrap();
    for client in &mut clients {
        assert_eq!(client.answer().status, 200);
    }
    let over = [("active", 0), ("connections", 0), ("requests", 3)];
    is_told(&proxy, one.address, &over);
    assert_eq!(proxy.get("/").text(), "two");
    // The counts of the cluster before are not forgotten.
    is_told(&proxy, two.address, &[("requests", 4), ("active", 0)]);
}
