//! Calls that filters make, over sockets: through the clusters' pools, several at
//! once, cancelled with what asked for them, and never at others' cost.

#[path = "guests/component.rs"]
mod guests;
mod support;

use std::io::{BufReader, Read};
use std::net::TcpListener;
use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier};

use serde_json::{Value, json};
use support::filtered::{check, counted};
use support::{Answer, Client, Origin, Proxy, refusing, within};

/// Everything goes to `origin`; the filter calls `asked`, which is `called`.
fn policy(origin: &Origin, asked: &str, entry: Value) -> String {
    let mut filter = json!({ "component": "./caller.wasm", "grants": { "call": ["asked"] } });
    let given = entry.as_object().unwrap().clone();
    filter.as_object_mut().unwrap().extend(given);
    format!(
        "workers: 1\nadmin: {{ address: '127.0.0.1:0' }}\n\
         listeners: [{{ name: web, address: '127.0.0.1:0', cluster: o, filters: [caller] }}]\n\
         clusters:\n  - {{ name: o, endpoints: ['{}'] }}\n  \
         - {{ name: asked, endpoints: ['{asked}'] }}\n\
         filters: {}\n",
        origin.address,
        json!({ "caller": filter })
    )
}

fn start(origin: &Origin, asked: &str, entry: Value) -> Proxy {
    let folder = Proxy::folder();
    std::fs::write(folder.join("caller.wasm"), guests::caller()).unwrap();
    Proxy::start_in(folder, &policy(origin, asked, entry))
}

fn asking(paths: &[&str], rest: Value) -> Value {
    let mut config = json!({ "phase": "request", "cluster": "asked", "paths": paths });
    let given = rest.as_object().unwrap().clone();
    config.as_object_mut().unwrap().extend(given);
    json!({ "config": config })
}

/// What the origin saw of what came of the calls.
fn told(proxy: &Proxy, origin: &Origin) -> Vec<String> {
    assert_eq!(proxy.get("/").status, 200);
    let seen = origin.seen();
    seen.all("x-call").iter().map(ToString::to_string).collect()
}

#[test]
fn a_filter_calls_a_cluster_and_goes_on_with_its_answer() {
    let (origin, asked) = (Origin::saying("ok"), Origin::saying("hello"));
    let address = asked.address.to_string();
    let proxy = start(&origin, &address, asking(&["/a?b"], json!({})));
    assert_eq!(told(&proxy, &origin), ["200 hello"]);
    let seen = asked.seen();
    assert_eq!(seen.line, "GET /a?b HTTP/1.1");
    assert_eq!(seen.header("host"), Some("asked"));
    assert_eq!(seen.header("x-called-by"), Some("caller"));
    assert!(seen.header("traceparent").is_some());
    let entry = asking(&["/"], json!({ "method": "POST", "body": "what" }));
    let proxy = start(&origin, &address, entry);
    assert_eq!(told(&proxy, &origin), ["200 hello"]);
    let seen = asked.seen();
    assert_eq!(
        (seen.header("content-length"), &*seen.body),
        (Some("4"), &b"what"[..])
    );
    // Another request takes the pool's connection.
    told(&proxy, &origin);
    let reused = counted(
        &proxy,
        "lockgate_cluster_connections_reused_total",
        &[("cluster", "asked")],
    );
    assert_eq!(reused, 1);
}

#[test]
fn calls_are_made_in_every_phase_that_can_wait() {
    let (origin, asked) = (Origin::saying("ok"), Origin::saying("hello"));
    let address = asked.address.to_string();
    let entry = asking(&["/"], json!({ "phase": "request-body" }));
    assert_eq!(
        told(&start(&origin, &address, entry), &origin),
        ["200 hello"]
    );
    let entry = asking(&["/"], json!({ "phase": "response" }));
    let answer = start(&origin, &address, entry).get("/");
    assert_eq!(answer.header("x-call"), Some("200 hello"));
}

#[test]
fn a_call_may_carry_a_secret_that_is_granted() {
    let (origin, asked) = (Origin::saying("ok"), Origin::saying("hello"));
    let address = asked.address.to_string();
    let secrets = "secrets: [{ name: token, value: 'a token' }]\n";
    let folder = Proxy::folder();
    std::fs::write(folder.join("caller.wasm"), guests::caller()).unwrap();
    let mut entry = asking(&["/"], json!({ "secret": "token" }));
    let yaml = |entry: &Value| policy(&origin, &address, entry.clone()) + secrets;
    let proxy = Proxy::start_in(folder, &yaml(&entry));
    assert_eq!(told(&proxy, &origin), ["CallError::Denied"]);
    entry["grants"] = json!({ "call": ["asked"], "secrets": ["token"] });
    proxy.edit(&yaml(&entry));
    assert!(proxy.reload().ok);
    assert_eq!(told(&proxy, &origin), ["200 hello"]);
    assert_eq!(asked.seen().header("authorization"), Some("Bearer a token"));
}

#[test]
fn several_calls_are_under_way_at_once() {
    let both = Arc::new(Barrier::new(2));
    let asked = Origin::start(move |_| {
        // Neither is answered before both are there.
        both.wait();
        b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nboth".to_vec()
    });
    let origin = Origin::saying("ok");
    let entry = asking(&["/1", "/2"], json!({}));
    let proxy = start(&origin, &asked.address.to_string(), entry);
    assert_eq!(told(&proxy, &origin), ["200 both", "200 both"]);
}

#[test]
fn what_is_wrong_with_a_call_is_told_to_the_filter() {
    let (origin, asked) = (Origin::saying("ok"), Origin::saying("hello"));
    let address = asked.address.to_string();
    let check = |entry: Value, expected: &str| {
        let proxy = start(&origin, &address, entry);
        assert_eq!(told(&proxy, &origin), [expected]);
    };
    check(
        asking(&["/"], json!({ "cluster": "o" })),
        "CallError::Denied",
    );
    check(
        asking(&["/"], json!({ "cluster": "none" })),
        "CallError::Denied",
    );
    check(asking(&["not a path"], json!({})), "CallError::Invalid");
    check(
        asking(&["/"], json!({ "method": "G T" })),
        "CallError::Invalid",
    );
    let mut small = asking(&["/"], json!({}));
    small["limits"] = json!({ "max_call_bytes": 4 });
    check(small, "CallError::TooLarge");
    let mut few = asking(&["/", "/"], json!({}));
    few["limits"] = json!({ "max_calls": 1 });
    let proxy = start(&origin, &address, few);
    let too_many = "CallError::Other(\"as many calls are under way as may be\")";
    assert_eq!(told(&proxy, &origin), ["200 hello", too_many]);
    // A port that nobody listens on.
    let nobody = refusing();
    let proxy = start(&origin, &nobody.to_string(), asking(&["/"], json!({})));
    assert_eq!(told(&proxy, &origin), ["CallError::Unavailable"]);
}

/// An origin that takes requests and never answers, and tells when a connection
/// is closed.
fn silent() -> (Origin, std::sync::mpsc::Receiver<()>) {
    let (closed, closes) = channel();
    let closed = std::sync::Mutex::new(closed);
    let origin = Origin::scripted(move |stream, seen| {
        let mut reader = BufReader::new(stream);
        if let Some(request) = support::read_request(&mut reader) {
            seen.send(request).ok();
            let mut rest = Vec::new();
            reader.read_to_end(&mut rest).ok();
            closed.lock().unwrap().send(()).ok();
        }
    });
    (origin, closes)
}

#[test]
fn a_call_has_its_time() {
    let origin = Origin::saying("ok");
    let (asked, closes) = silent();
    let entry = asking(&["/"], json!({ "timeout_ms": 30 }));
    let proxy = start(&origin, &asked.address.to_string(), entry);
    assert_eq!(told(&proxy, &origin), ["CallError::Timeout"]);
    closes.recv_timeout(support::LIMIT).unwrap();
}

#[test]
fn who_waits_holds_nobody_up() {
    let origin = Origin::saying("ok");
    let (asked, release) = Origin::holding("hello");
    let mut entry = asking(&["/held"], json!({}));
    entry["limits"] = json!({ "call_timeout": "60s", "max_call_time": "60s" });
    let proxy = start(&origin, &asked.address.to_string(), entry);
    let mut waiting: Vec<Client> = (0..3).map(|_| begin(&proxy)).collect();
    for _ in 0..3 {
        asked.seen();
    }
    // The one worker serves its admin address no worse, and a fourth client.
    let mut fourth = begin(&proxy);
    asked.seen();
    for _ in 0..4 {
        release.send(()).unwrap();
    }
    for client in &mut waiting {
        assert_eq!(client.answer().status, 200);
    }
    assert_eq!(fourth.answer().status, 200);
}

fn begin(proxy: &Proxy) -> Client {
    let mut client = proxy.connect();
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    client
}

#[test]
fn a_call_ends_with_what_asked_for_it() {
    let origin = Origin::saying("ok");
    let (asked, closes) = silent();
    let address = asked.address.to_string();
    for then in ["drop", "forget"] {
        let proxy = start(&origin, &address, asking(&["/"], json!({ "then": then })));
        assert_eq!(proxy.get("/").status, 200);
        // It may not even have been sent.
        let refused = proxy.get("/").status;
        assert_eq!(refused, 200);
    }
    // A client that goes away takes the exchange with it, and that its call.
    let mut entry = asking(&["/"], json!({}));
    entry["limits"] = json!({ "call_timeout": "60s", "max_call_time": "60s" });
    let proxy = start(&origin, &address, entry);
    while asked.seen_now().is_some() {}
    while closes.try_recv().is_ok() {}
    let client = begin(&proxy);
    asked.seen();
    drop(client);
    closes.recv_timeout(support::LIMIT).unwrap();
    within("the instance that waited is gone", || {
        let lost = counted(&proxy, "lockgate_filter_instances_lost_total", &[]);
        (lost == 1).then_some(())
    });
}

#[test]
fn an_exchange_whose_time_is_over_while_a_filter_waits_is_answered() {
    let origin = Origin::saying("ok");
    let (asked, closes) = silent();
    let mut entry = asking(&["/"], json!({}));
    entry["limits"] = json!({ "call_timeout": "60s", "max_call_time": "60s" });
    let folder = Proxy::folder();
    std::fs::write(folder.join("caller.wasm"), guests::caller()).unwrap();
    let yaml = policy(&origin, &asked.address.to_string(), entry);
    let yaml = yaml.replace(
        "filters: [caller]",
        "filters: [caller], timeouts: { total: 100ms }",
    );
    let proxy = Proxy::start_in(folder, &yaml);
    let answer: Answer = proxy.get("/");
    assert_eq!(answer.status, 504);
    closes.recv_timeout(support::LIMIT).unwrap();
}

#[test]
fn a_filter_that_fails_after_it_waited_leaves_nothing_behind() {
    let (origin, asked) = (Origin::saying("ok"), Origin::saying("hello"));
    let mut entry = asking(&["/"], json!({ "then": "trap" }));
    entry["on_error"] = json!("skip");
    let proxy = start(&origin, &asked.address.to_string(), entry);
    for _ in 0..3 {
        assert_eq!(proxy.get("/").status, 200);
        assert_eq!(origin.seen().header("x-half"), None);
    }
    let faults = counted(&proxy, "lockgate_filter_faults_total", &[("fault", "trap")]);
    assert_eq!(faults, 3);
}

#[test]
fn a_phase_that_cannot_wait_says_so() {
    let (origin, asked) = (Origin::saying("ok"), Origin::saying("hello"));
    let entry = asking(&["/"], json!({ "phase": "done" }));
    let proxy = start(&origin, &asked.address.to_string(), entry);
    assert_eq!(proxy.get("/").status, 200);
    assert_eq!(proxy.get("/").status, 200);
    let lost = counted(&proxy, "lockgate_filter_instances_lost_total", &[]);
    assert_eq!(lost, 0);
    let folder = Proxy::folder();
    std::fs::write(folder.join("caller.wasm"), guests::caller()).unwrap();
    let entry = asking(&["/"], json!({ "phase": "create" }));
    let yaml = policy(&origin, &asked.address.to_string(), entry);
    let checked = check(&folder, &yaml);
    std::fs::remove_dir_all(&folder).ok();
    let why = "there is nothing to call while a configuration is made";
    assert!(checked.text.contains(why), "{checked:?}");
}

#[test]
fn a_filter_that_calls_through_itself_comes_to_an_end() {
    let origin = Origin::saying("ok");
    // The address of the proxy's own listener has to be known before it starts.
    let own = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = own.local_addr().unwrap().to_string();
    drop(own);
    let folder = Proxy::folder();
    std::fs::write(folder.join("caller.wasm"), guests::caller()).unwrap();
    let entry = asking(&["/"], json!({}));
    let yaml = policy(&origin, &address, entry).replacen(
        "name: web, address: '127.0.0.1:0'",
        &format!("name: web, address: '{address}'"),
        1,
    );
    let proxy = Proxy::start_in(folder, &yaml);
    assert_eq!(proxy.get("/").status, 200);
    let mut calls = Vec::new();
    while let Some(seen) = origin.seen_now() {
        calls.extend(seen.all("x-call").iter().map(ToString::to_string));
    }
    let why = "CallError::Other(\"calls of filters led to calls too often: a loop\")";
    assert_eq!(
        calls.iter().filter(|call| *call == why).count(),
        1,
        "{calls:?}"
    );
    assert_eq!(calls.len(), 5, "{calls:?}");
}

#[test]
fn a_client_cannot_pretend_to_be_a_loop() {
    let (origin, asked) = (Origin::saying("ok"), Origin::saying("hello"));
    let proxy = start(
        &origin,
        &asked.address.to_string(),
        asking(&["/"], json!({})),
    );
    for forged in ["4", "4-0", "x"] {
        let head = format!("GET / HTTP/1.1\r\nhost: a\r\nlockgate-call-depth: {forged}\r\n\r\n");
        assert_eq!(proxy.connect().send(head).answer().status, 200);
        let seen = origin.seen();
        assert_eq!(seen.all("x-call"), ["200 hello"]);
        assert_eq!(seen.header("lockgate-call-depth"), None);
    }
}

#[test]
fn waiting_again_and_again_uses_the_budget_up() {
    let origin = Origin::saying("ok");
    let nobody = refusing();
    let mut entry = asking(&["/"], json!({ "then": "again" }));
    entry["limits"] = json!({ "cpu": "2ms", "max_call_time": "60s", "max_host_calls": 1_000_000 });
    let proxy = start(&origin, &nobody.to_string(), entry);
    assert_eq!(proxy.get("/").status, 500);
    let labels = [("fault", "overrun")];
    assert_eq!(counted(&proxy, "lockgate_filter_faults_total", &labels), 1);
}

#[test]
fn an_exchange_waits_so_long_for_calls_and_no_longer() {
    let origin = Origin::saying("ok");
    let (asked, closes) = silent();
    let mut entry = asking(&["/", "/"], json!({ "timeout_ms": 60_000 }));
    entry["limits"] = json!({ "call_timeout": "60s", "max_call_time": "50ms" });
    let proxy = start(&origin, &asked.address.to_string(), entry);
    let answer = proxy.get("/");
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (500, "a filter failed\n")
    );
    let count = |name: &str, labels: &[_]| counted(&proxy, name, labels);
    assert_eq!(
        count("lockgate_filter_faults_total", &[("fault", "call-time")]),
        1
    );
    assert_eq!(count("lockgate_filter_call_waits_total", &[]), 1);
    // Both calls ended with it.
    for _ in 0..2 {
        closes.recv_timeout(support::LIMIT).unwrap();
    }
}

#[test]
fn waits_of_one_exchange_add_up() {
    let origin = Origin::saying("ok");
    let (asked, _closes) = silent();
    // Each call ends in its time; all of them together do not.
    let paths = ["/"; 16];
    let mut entry = asking(&paths, json!({ "timeout_ms": 60, "then": "one by one" }));
    entry["limits"] = json!({ "max_call_time": "500ms" });
    let proxy = start(&origin, &asked.address.to_string(), entry);
    assert_eq!(proxy.get("/").status, 500);
    let labels = [("fault", "call-time")];
    assert_eq!(counted(&proxy, "lockgate_filter_faults_total", &labels), 1);
    assert_ne!(counted(&proxy, "lockgate_filter_call_waits_total", &[]), 1);
}

#[test]
fn without_the_grant_it_is_not_loaded() {
    let (origin, asked) = (Origin::saying("ok"), Origin::saying("hello"));
    let folder = Proxy::folder();
    std::fs::write(folder.join("caller.wasm"), guests::caller()).unwrap();
    let refused = |grants: Value| {
        let mut entry = asking(&["/"], json!({}));
        entry["grants"] = grants;
        let yaml = policy(&origin, &asked.address.to_string(), entry);
        let checked = check(&folder, &yaml);
        assert_eq!(checked.code, 2, "{checked:?}");
        checked.text
    };
    let text = refused(json!({}));
    let told = "imports `http-client`, which `grants: { call: [CLUSTER] }` would grant it";
    assert!(text.contains(told), "{text}");
    let text = refused(json!({ "call": ["askd"] }));
    assert!(
        text.contains("found `askd`, wanted the name of a cluster, such as `asked`"),
        "{text}"
    );
    std::fs::remove_dir_all(&folder).ok();
}
