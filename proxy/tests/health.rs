//! Health checks of endpoints, and what is said of them by hand.

mod support;

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderValue, Response};
use serde_json::Value;
use support::admin::{ask, get, json};
use support::http2_origin::{Http2Origin, read_body};
use support::tls::{Authority, put};
use support::tls_origin::Serves;
use support::{Origin, Proxy, Seen, read_head, within};

const TIMES: &str = "interval: 20ms, idle_interval: 20ms, timeout: 5s, \
                     healthy_after: 1, unhealthy_after: 1";

fn yaml(cluster: &str) -> String {
    format!(
        "workers: 1\n\
         admin: {{ address: '127.0.0.1:0' }}\n\
         listeners: [{{ name: web, address: '127.0.0.1:0', cluster: o }}]\n\
         clusters: [{{ name: o, {cluster} }}]\n"
    )
}

/// One endpoint with this check.
fn checking(address: SocketAddr, check: &str) -> Proxy {
    Proxy::start(&yaml(&format!(
        "endpoints: ['{address}'], health_checks: [{{ {check}, {TIMES} }}]"
    )))
}

fn told(proxy: &Proxy, address: SocketAddr) -> Value {
    let clusters = json(&get(proxy.admin(), "/clusters"));
    let endpoints = clusters[0]["endpoints"].as_array().unwrap();
    let is_it = |one: &&Value| one["address"] == *address.to_string();
    endpoints.iter().find(is_it).unwrap().clone()
}

/// Waits until it is so.
fn becomes(proxy: &Proxy, address: SocketAddr, health: &str) {
    within(health, || {
        (told(proxy, address)["health"] == health).then_some(())
    });
}

/// Waits until it is sick for such a reason.
fn is_sick_for(proxy: &Proxy, address: SocketAddr, wanted: &str) {
    within(wanted, || {
        let told = told(proxy, address);
        let why = told["why"].as_str().unwrap_or_default();
        (told["health"] == "sick" && why.contains(wanted)).then_some(())
    });
}

/// Waits until so many checks have passed.
fn passes(proxy: &Proxy) {
    let passed = "lockgate_cluster_health_checks_total{cluster=\"o\",outcome=\"passed\"}";
    within("checks pass", || {
        (support::admin::metric(proxy.admin(), passed) >= 3.0).then_some(())
    });
}

/// Answers checks at `/healthz` by what it is told: well, ill, degraded.
fn patient(name: &str) -> (Origin, Arc<AtomicU8>) {
    let state = Arc::new(AtomicU8::new(0));
    let (told, name) = (state.clone(), name.to_owned());
    let origin = Origin::start(move |seen: &Seen| {
        let is_check = seen.line.contains("/healthz");
        match (is_check, told.load(Ordering::SeqCst)) {
            (true, 1) => b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n".to_vec(),
            (true, 2) => {
                b"HTTP/1.1 200 OK\r\nlockgate-degraded: 1\r\ncontent-length: 0\r\n\r\n".to_vec()
            }
            _ => {
                let length = name.len();
                format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{name}").into_bytes()
            }
        }
    });
    (origin, state)
}

const HTTP: &str = "http: { path: /healthz }";

#[test]
fn a_sick_endpoint_gets_nothing_until_it_is_well() {
    let (one, state) = patient("one");
    let (two, _) = patient("two");
    let proxy = Proxy::start(&yaml(&format!(
        "endpoints: ['{}', '{}'], health_checks: [{{ {HTTP}, {TIMES} }}]",
        one.address, two.address
    )));
    passes(&proxy);
    state.store(1, Ordering::SeqCst);
    is_sick_for(&proxy, one.address, "status 500");
    within("nothing goes there", || {
        (0..10)
            .all(|_| proxy.get("/").text() == "two")
            .then_some(())
    });
    state.store(2, Ordering::SeqCst);
    becomes(&proxy, one.address, "degraded");
    within("nor where it says that others are better", || {
        (0..10)
            .all(|_| proxy.get("/").text() == "two")
            .then_some(())
    });
    state.store(0, Ordering::SeqCst);
    becomes(&proxy, one.address, "healthy");
    within("it is asked again", || {
        (proxy.get("/").text() == "one").then_some(())
    });
}

#[test]
fn where_all_are_sick_all_are_asked_or_none() {
    let (one, state) = patient("one");
    state.store(1, Ordering::SeqCst);
    let proxy = checking(one.address, HTTP);
    becomes(&proxy, one.address, "sick");
    assert_eq!(proxy.get("/").text(), "one", "in panic");
    proxy.edit(&yaml(&format!(
        "endpoints: ['{}'], panic_threshold: 0, health_checks: [{{ {HTTP}, {TIMES} }}]",
        one.address
    )));
    proxy.reload();
    within("nobody is asked", || {
        (proxy.get("/").status == 503).then_some(())
    });
}

#[test]
fn what_an_answer_has_to_be_may_be_said() {
    let origin = Origin::start(|seen: &Seen| {
        let is_asked = seen.line.starts_with("GET /h?x=1 ")
            && seen.header("host") == Some("check.test")
            && seen.header("x-who") == Some("lockgate");
        let (status, body) = if is_asked {
            (200, "all is well")
        } else {
            (404, "what")
        };
        let length = body.len();
        format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes()
    });
    let check = |status: &str, body: &str| {
        format!(
            "http: {{ path: '/h?x=1', host: check.test, headers: {{ x-who: lockgate }}, \
             status: {status}, body: '{body}' }}"
        )
    };
    passes(&checking(origin.address, &check("[200]", "is well")));
    passes(&checking(
        origin.address,
        &check("['100-199', '200-299']", "all"),
    ));
    let proxy = checking(origin.address, &check("[204, '300-302']", "is well"));
    is_sick_for(&proxy, origin.address, "status 200");
    let proxy = checking(origin.address, &check("[200]", "is ill"));
    is_sick_for(&proxy, origin.address, "the body is another");
}

/// Each of these would keep a checker that has no limits.
#[test]
fn answers_that_lie_trickle_or_never_end_are_failures() {
    type Peer = fn(&mut std::net::TcpStream) -> std::io::Result<()>;
    let peers: [(&str, Peer); 5] = [
        ("timeout", |stream| {
            std::io::Read::read(stream, &mut [0]).map(drop)
        }),
        ("upstream_reset", |_| Ok(())),
        ("bad_answer", |stream| {
            stream.write_all(b"SSH-2.0-x\r\n\r\n")
        }),
        ("upstream_reset", |stream| {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\nno")
        }),
        ("answer_too_large", |stream| {
            stream.write_all(b"HTTP/1.1 200 OK\r\n")?;
            loop {
                stream.write_all(&b"x-more: and more\r\n".repeat(64))?;
            }
        }),
    ];
    for (wanted, serve) in peers {
        let origin = Origin::scripted(move |mut stream, _| {
            let mut reader = std::io::BufReader::new(stream.try_clone().unwrap());
            if read_head(&mut reader).is_some() {
                serve(&mut stream).ok();
            }
        });
        let patience = if wanted == "timeout" { "100ms" } else { "1m" };
        let proxy = Proxy::start(&yaml(&format!(
            "endpoints: ['{}'], \
             health_checks: [{{ http: {{ path: /, body: well }}, timeout: {patience} }}]",
            origin.address
        )));
        is_sick_for(&proxy, origin.address, wanted);
    }
}

#[test]
fn a_body_that_never_ends_is_read_to_a_limit() {
    let origin = Origin::scripted(|mut stream, _| {
        let mut reader = std::io::BufReader::new(stream.try_clone().unwrap());
        read_head(&mut reader);
        let mut write = || -> std::io::Result<()> {
            stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")?;
            loop {
                stream.write_all(b"4\r\nwell\r\n")?;
            }
        };
        write().ok();
    });
    passes(&checking(origin.address, "http: { path: /, body: well }"));
    let proxy = checking(origin.address, "http: { path: /, body: ill }");
    becomes(&proxy, origin.address, "sick");
}

#[test]
fn checks_speak_tls_as_requests_do() {
    let authority = Authority::new("root");
    let pair = authority.issue(&["127.0.0.1"]);
    let origin = Serves::new(&pair).start();
    let start = |roots: &Authority, check: &str| {
        let folder = Proxy::folder();
        put(&folder.join("roots.pem"), roots.pem());
        let cluster = format!(
            "endpoints: ['{}'], tls: {{ roots: [roots.pem] }}, \
             health_checks: [{{ {check}, {TIMES} }}]",
            origin.address
        );
        Proxy::start_in(folder, &yaml(&cluster))
    };
    for check in [HTTP, "tcp: {}"] {
        passes(&start(&authority, check));
        let stranger = start(&Authority::new("stranger"), check);
        is_sick_for(&stranger, origin.address, "upstream_tls_failed");
    }
}

#[test]
fn a_connection_may_be_enough() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let proxy = checking(address, "tcp: {}");
    passes(&proxy);
    drop(listener);
    becomes(&proxy, address, "sick");
}

/// Serving, with a field that says so.
const DEGRADED: u8 = 11;

/// A server of gRPC health that answers this status.
fn grpc(
    status: Arc<AtomicU8>,
) -> impl Fn(http::Request<RecvStream>, SendResponse<Bytes>) -> Serving + Clone + Send + Sync + 'static
{
    move |request, mut respond| {
        let status = status.clone();
        Box::pin(async move {
            assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
            assert_eq!(request.headers()["content-type"], "application/grpc");
            let (body, _) = read_body(request.into_body()).await.unwrap();
            assert_eq!(body, b"\0\0\0\0\x06\x0a\x04shop");
            let told = status.load(Ordering::SeqCst);
            let mut head = Response::builder().header("content-type", "application/grpc");
            if told == DEGRADED {
                head = head.header("lockgate-degraded", "yes");
            }
            let head = head.body(()).unwrap();
            let mut stream = respond.send_response(head, false).unwrap();
            let message = [0, 0, 0, 0, 2, 8, told % 10];
            stream
                .send_data(Bytes::copy_from_slice(&message), false)
                .unwrap();
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", HeaderValue::from_static("0"));
            stream.send_trailers(trailers).unwrap();
        })
    }
}

type Serving = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

#[test]
fn services_of_grpc_tell_how_they_are() {
    let status = Arc::new(AtomicU8::new(1));
    let origin = Http2Origin::start(grpc(status.clone()));
    let proxy = Proxy::start(&yaml(&format!(
        "endpoints: ['{}'], protocol: http2, \
         health_checks: [{{ grpc: {{ service: shop }}, {TIMES} }}]",
        origin.address
    )));
    passes(&proxy);
    status.store(2, Ordering::SeqCst);
    is_sick_for(&proxy, origin.address, "not serving");
    status.store(1, Ordering::SeqCst);
    becomes(&proxy, origin.address, "healthy");
    status.store(DEGRADED, Ordering::SeqCst);
    becomes(&proxy, origin.address, "degraded");
}

#[test]
fn services_of_grpc_tell_it_over_tls_too() {
    let status = Arc::new(AtomicU8::new(1));
    let authority = Authority::new("root");
    let pair = authority.issue(&["127.0.0.1"]);
    let serves = Serves {
        alpn: &["h2"],
        ..Serves::new(&pair)
    };
    let origin = Http2Origin::over_tls(serves.config(), grpc(status.clone()));
    let start = |roots: &Authority| {
        let folder = Proxy::folder();
        put(&folder.join("roots.pem"), roots.pem());
        let cluster = format!(
            "endpoints: ['{}'], protocol: http2, tls: {{ roots: [roots.pem] }}, \
             health_checks: [{{ grpc: {{ service: shop }}, {TIMES} }}]",
            origin.address
        );
        Proxy::start_in(folder, &yaml(&cluster))
    };
    let proxy = start(&authority);
    passes(&proxy);
    status.store(2, Ordering::SeqCst);
    is_sick_for(&proxy, origin.address, "not serving");
    let stranger = start(&Authority::new("stranger"));
    is_sick_for(&stranger, origin.address, "upstream_tls_failed");
}

#[test]
fn checks_follow_endpoints_through_reloads() {
    let (one, state) = patient("one");
    let (two, _) = patient("two");
    let cluster = |endpoints: &[&Origin]| {
        let all = endpoints
            .iter()
            .map(|origin| format!("'{}'", origin.address));
        let all: Vec<_> = all.collect();
        yaml(&format!(
            "endpoints: [{}], health_checks: [{{ {HTTP}, {TIMES} }}]",
            all.join(", ")
        ))
    };
    state.store(1, Ordering::SeqCst);
    let proxy = Proxy::start(&cluster(&[&one, &two]));
    becomes(&proxy, one.address, "sick");
    let (three, _) = patient("three");
    proxy.edit(&cluster(&[&one, &two, &three]));
    proxy.reload();
    assert_eq!(told(&proxy, one.address)["health"], "sick", "as before");
    within("the new one is checked", || {
        three
            .seen_now()
            .filter(|seen| seen.line.contains("/healthz"))
    });
    // Without checks nothing speaks against it.
    proxy.edit(&yaml(&format!(
        "endpoints: ['{}', '{}']",
        one.address, two.address
    )));
    proxy.reload();
    becomes(&proxy, one.address, "healthy");
    within("it is asked", || {
        (proxy.get("/").text() == "one").then_some(())
    });
}

/// As `lockgate endpoint` asks.
fn tell(proxy: &Proxy, address: SocketAddr, word: &str) -> u16 {
    let path = format!("/clusters/o/{address}/{word}");
    ask(proxy.admin(), "POST", &path, &[("host", "localhost")]).status
}

#[test]
fn an_endpoint_is_drained_by_hand() {
    let closed = Arc::new(AtomicBool::new(false));
    let told_so = closed.clone();
    let one = Origin::scripted(move |mut stream, _| {
        let mut reader = std::io::BufReader::new(stream.try_clone().unwrap());
        while read_head(&mut reader).is_some() {
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\none";
            stream.write_all(answer).ok();
        }
        told_so.store(true, Ordering::SeqCst);
    });
    let (two, release) = Origin::holding("two");
    let proxy = Proxy::start(&yaml(&format!(
        "endpoints: ['{}', '{}']",
        one.address, two.address
    )));
    within("both are asked", || {
        (proxy.get("/").text() == "one").then_some(())
    });
    within("both are asked", || {
        (proxy.get("/").text() == "two").then_some(())
    });
    assert_eq!(tell(&proxy, one.address, "drain"), 200);
    becomes(&proxy, one.address, "drained");
    within("nothing goes there", || {
        (0..10)
            .all(|_| proxy.get("/").text() == "two")
            .then_some(())
    });
    within("idle connections are closed", || {
        closed.load(Ordering::SeqCst).then_some(())
    });
    // What is under way ends well.
    let mut client = proxy.connect();
    client.send("GET /held HTTP/1.1\r\nhost: a\r\n\r\n");
    within("it is held", || {
        two.seen_now().filter(|seen| seen.line.contains("/held"))
    });
    assert_eq!(tell(&proxy, two.address, "drain"), 200);
    within("nobody is left", || {
        (proxy.get("/").status == 503).then_some(())
    });
    release.send(()).unwrap();
    assert_eq!(client.answer().text(), "two");

    assert_eq!(tell(&proxy, one.address, "auto"), 200);
    becomes(&proxy, one.address, "healthy");
    within("it is asked again", || {
        (proxy.get("/").text() == "one").then_some(())
    });
    assert_eq!(tell(&proxy, ([127, 0, 0, 1], 1).into(), "drain"), 422);
    assert_eq!(tell(&proxy, one.address, "dance"), 404);
    let get = get(proxy.admin(), &format!("/clusters/o/{}/drain", one.address));
    assert_eq!(get.status, 405);
}

#[test]
fn a_word_by_hand_goes_before_checks() {
    let (one, state) = patient("one");
    let (two, _) = patient("two");
    state.store(1, Ordering::SeqCst);
    let proxy = Proxy::start(&yaml(&format!(
        "endpoints: ['{}', '{}'], health_checks: [{{ {HTTP}, {TIMES} }}]",
        one.address, two.address
    )));
    becomes(&proxy, one.address, "sick");
    assert_eq!(tell(&proxy, one.address, "ready"), 200);
    becomes(&proxy, one.address, "healthy");
    within("it is asked", || {
        (proxy.get("/").text() == "one").then_some(())
    });
    assert_eq!(tell(&proxy, one.address, "auto"), 200);
    becomes(&proxy, one.address, "sick");
}

/// What came lately gets little at first: of a window of an hour hardly more than its least.
#[test]
fn who_is_back_begins_slowly() {
    let (one, state) = patient("one");
    let (two, _) = patient("two");
    let proxy = Proxy::start(&yaml(&format!(
        "endpoints: ['{}', '{}'], slow_start: {{ window: 1h, least: 10 }}, \
         health_checks: [{{ {HTTP}, {TIMES} }}]",
        one.address, two.address
    )));
    passes(&proxy);
    state.store(1, Ordering::SeqCst);
    becomes(&proxy, one.address, "sick");
    state.store(0, Ordering::SeqCst);
    becomes(&proxy, one.address, "healthy");
    let mut client = proxy.connect();
    within("it is asked a little", || {
        let mut count = 0;
        for _ in 0..1000 {
            let answer = client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").answer();
            count += u32::from(answer.text() == "one");
        }
        assert!(count < 200, "{count}");
        (count > 20).then_some(())
    });
    let share = told(&proxy, one.address)["slow_start"].as_f64().unwrap();
    assert!(share < 0.2, "{share}");
}

/// What is idle is checked each `idle_interval`, and what is not any more as often as ever.
#[test]
fn a_cluster_that_has_requests_again_is_checked_again() {
    let (origin, state) = patient("a");
    let proxy = Proxy::start(&yaml(&format!(
        "endpoints: ['{}'], outliers: {{ interval: 1h }}, panic_threshold: 0, health_checks: \
         [{{ http: {{ path: /healthz }}, interval: 50ms, idle_interval: 1h, unhealthy_after: 1 }}]",
        origin.address
    )));
    // The first checks, and none since.
    let checks = "lockgate_cluster_health_checks_total{cluster=\"o\",outcome=\"passed\"}";
    let mut before = 0.0;
    within("it is idle", || {
        let now = support::admin::metric(proxy.admin(), checks);
        let is_idle = now > 0.0 && now == before;
        before = now;
        std::thread::sleep(std::time::Duration::from_millis(200));
        is_idle.then_some(())
    });
    state.store(1, Ordering::SeqCst);
    within("it is checked", || {
        (proxy.get("/").status == 503).then_some(())
    });
}
