//! More than the process can carry: what is new is turned away, step by step, what is
//! under way goes on, and the admin address answers.

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use support::admin::{get, metric, metric_sum};
use support::http2::{GOAWAY, HEADERS, RawHttp2};
use support::{Client, Origin, Process, Proxy, within};

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

/// Beyond a mark of 1 is any process, and none is beyond one of 100.
const FINE: &str = "{ limit: 64GiB, close: 100, shed: 100, refuse: 100 }";
const CLOSES: &str = "{ limit: 256MiB, close: 1, shed: 100, refuse: 100 }";
const SHEDS: &str = "{ limit: 256MiB, close: 1, shed: 1, refuse: 100 }";
const REFUSES: &str = "{ limit: 256MiB, close: 1, shed: 1, refuse: 1 }";

/// With these marks of memory.
fn yaml(origin: &Origin, memory: &str) -> String {
    let origin = origin.address;
    format!(
        "admin: {{ address: '127.0.0.1:0' }}\n\
         overload: {{ memory: {memory} }}\n\
         listeners:\n\
         - {{ name: web, address: '127.0.0.1:0', cluster: origin }}\n\
         - {{ name: tcp, address: '127.0.0.1:0', cluster: origin, protocols: [tcp] }}\n\
         - {{ name: any, address: '127.0.0.1:0', cluster: origin, protocols: [http1, tcp] }}\n\
         clusters: [{{ name: origin, endpoints: ['{origin}'] }}]\n"
    )
}

fn start(origin: &Origin) -> Proxy {
    Proxy::start(&yaml(origin, FINE))
}

/// Reloads with these marks, and waits until the level is there.
fn turn(proxy: &Proxy, origin: &Origin, memory: &str, level: f64) {
    proxy.edit(&yaml(origin, memory));
    let outcome = proxy.reload();
    assert!(outcome.ok, "{outcome:?}");
    within("the level", || {
        let series = "lockgate_overload_level{resource=\"memory\"}";
        (metric(proxy.admin(), series) == level).then_some(())
    });
}

fn readiness(admin: SocketAddr) -> (u16, String) {
    let answer = get(admin, "/ready");
    (answer.status, answer.text())
}

#[test]
fn idle_connections_are_closed_first_and_others_behind_their_answer() {
    let origin = Origin::saying("ok");
    let proxy = start(&origin);
    let mut idle = proxy.connect();
    assert_eq!(idle.send(GET).answer().header("connection"), None);
    let mut http2 = RawHttp2::connect(proxy.address());
    http2.get(1);
    assert!(http2.read_one_of(&[HEADERS]).is_some());
    let mut unused = proxy.connect();

    turn(&proxy, &origin, CLOSES, 1.0);
    assert_eq!(idle.rest(), b"");
    assert!(http2.read_one_of(&[GOAWAY]).is_some());
    within("those to origins are closed too", || {
        let left = metric_sum(proxy.admin(), "lockgate_cluster_connections_idle", "");
        (left == 0.0).then_some(())
    });
    for mut client in [unused, proxy.connect()] {
        let answer = client.send(GET).answer();
        assert_eq!(
            (answer.status, answer.header("connection")),
            (200, Some("close"))
        );
        assert_eq!(client.rest(), b"");
    }
    let told = "ready\noverload: memory: closing connections\n".to_owned();
    assert_eq!(readiness(proxy.admin()), (200, told));

    turn(&proxy, &origin, FINE, 0.0);
    unused = proxy.connect();
    assert_eq!(unused.send(GET).answer().header("connection"), None);
    assert_eq!(readiness(proxy.admin()), (200, "ready\n".to_owned()));
}

#[test]
fn new_requests_are_shed_and_those_under_way_are_served() {
    let (origin, release) = Origin::holding("there");
    let proxy = start(&origin);
    let mut held = proxy.connect();
    held.send("GET /held HTTP/1.1\r\nhost: a\r\n\r\n");
    origin.seen();
    let mut tunnel = Client::connect(proxy.listener("tcp").unwrap());
    tunnel.send("GET /held HTTP/1.1\r\nhost: a\r\n\r\n");
    origin.seen();

    turn(&proxy, &origin, SHEDS, 2.0);
    let mut client = proxy.connect();
    let answer = client.send(GET).answer();
    assert_eq!(answer.status, 503);
    let seconds: u32 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=5).contains(&seconds), "{seconds}");
    assert_eq!(
        answer.header("proxy-status"),
        Some("lockgate; error=proxy_internal_error")
    );
    assert_eq!(client.rest(), b"", "it is closed too");
    let mut http2 = RawHttp2::connect(proxy.address());
    http2.get(1);
    assert!(http2.read_one_of(&[HEADERS]).is_some(), "it is told");
    let mut tcp = Client::connect(proxy.listener("tcp").unwrap());
    assert_eq!(tcp.rest(), b"");
    // What speaks is known before it is turned away.
    let mut any = Client::connect(proxy.listener("any").unwrap());
    assert_eq!(any.send(GET).answer().status, 503);
    let mut any = Client::connect(proxy.listener("any").unwrap());
    any.try_send("SET key value");
    assert_eq!(any.rest(), b"");
    assert_eq!(origin.seen_now(), None, "it went on");

    release.send(()).unwrap();
    release.send(()).unwrap();
    assert_eq!(held.answer().text(), "there");
    assert_eq!(tunnel.answer().text(), "there");
    let told = "ready\noverload: memory: shedding requests\n".to_owned();
    assert_eq!(readiness(proxy.admin()), (200, told));
    let errors = "lockgate_request_errors_total";
    assert_eq!(
        metric_sum(proxy.admin(), errors, "error=\"overloaded\""),
        4.0
    );

    turn(&proxy, &origin, FINE, 0.0);
    assert_eq!(proxy.get("/").status, 200);
}

#[test]
fn new_connections_are_refused_last() {
    let (origin, release) = Origin::holding("there");
    let proxy = start(&origin);
    let mut held = proxy.connect();
    held.send("GET /held HTTP/1.1\r\nhost: a\r\n\r\n");
    origin.seen();

    turn(&proxy, &origin, REFUSES, 3.0);
    for _ in 0..20 {
        assert_eq!(proxy.connect().rest(), b"");
    }
    let refused = "lockgate_connections_refused_total";
    let limit = "listener=\"web\",limit=\"overload\"";
    assert_eq!(metric_sum(proxy.admin(), refused, limit), 20.0);
    let told = "overloaded\noverload: memory: refusing connections\n".to_owned();
    assert_eq!(readiness(proxy.admin()), (503, told));
    assert_eq!(get(proxy.admin(), "/live").status, 200);

    release.send(()).unwrap();
    assert_eq!(held.answer().text(), "there");
    turn(&proxy, &origin, FINE, 0.0);
    assert_eq!(proxy.get("/").status, 200);
}

/// Connections take every descriptor there is. Whoever is in is served, the admin address
/// answers, and once there are descriptors again everybody is.
#[test]
fn without_descriptors_the_admin_address_answers() {
    let (origin, release) = Origin::holding("there");
    let folder = Proxy::folder();
    let admin = folder.join("admin.sock");
    let yaml = format!(
        "admin: {{ address: 'unix:{}' }}\n\
         overload: {{ memory: {FINE}, descriptors: {{ close: 100, shed: 100, refuse: 100 }} }}\n\
         listeners: [{{ name: web, address: '127.0.0.1:0', cluster: origin }}]\n\
         clusters: [{{ name: origin, endpoints: ['{}'] }}]\n",
        admin.display(),
        origin.address,
    );
    const MAX: usize = 150;
    let proxy = Process::start_limited_in(folder, &yaml, MAX);
    let told = || support::admin::ask_unix(&admin, "GET", "/metrics").text();
    assert!(
        told().contains(&format!("lockgate_max_fds {MAX}\n")),
        "the hard limit counts"
    );
    let mut held = proxy.connect();
    held.send("GET /held HTTP/1.1\r\nhost: a\r\n\r\n");
    origin.seen();

    let flood: Vec<_> = (0..2 * MAX).map(|_| proxy.connect()).collect();
    within("there are none left", || {
        let told = told();
        let level = told
            .lines()
            .any(|line| line == "lockgate_overload_level{resource=\"descriptors\"} 3");
        level.then_some(())
    });
    proxy.logged("overloaded resource=\"descriptors\"");
    for _ in 0..20 {
        assert_eq!(support::admin::ask_unix(&admin, "GET", "/live").status, 200);
    }
    release.send(()).unwrap();
    assert_eq!(held.answer().text(), "there");

    drop(flood);
    within("it has recovered", || {
        let mut client = proxy.connect();
        client.try_send("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        client.rest().starts_with(b"HTTP/1.1 200").then_some(())
    });
}

/// A worker that is held up again and again, here by a stop of its process.
#[test]
fn a_worker_that_is_late_sheds_requests() {
    let origin = Origin::saying("ok");
    let proxy = Process::start(&format!(
        "workers: 1\n\
         overload: {{ delay: {{ shed: 50ms, refuse: 1h }} }}\n\
         listeners: [{{ name: web, address: '127.0.0.1:0', cluster: origin }}]\n\
         clusters: [{{ name: origin, endpoints: ['{}'] }}]\n",
        origin.address
    ));
    let mut client = proxy.connect();
    let shed = within("a request is shed", || {
        proxy.signal("STOP");
        // What the test is about: for so long nothing is taken up.
        std::thread::sleep(Duration::from_millis(250));
        proxy.signal("CONT");
        let answers = (0..5).map(|_| client.send(GET).answer());
        answers.into_iter().find(|answer| answer.status == 503)
    });
    assert!(shed.header("retry-after").is_some());
    assert_eq!(
        shed.header("connection"),
        None,
        "a new connection would cost more"
    );
    within("it has recovered", || {
        (client.send(GET).answer().status == 200).then_some(())
    });
}
