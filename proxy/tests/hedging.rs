//! A second try beside a first that takes long.

mod support;

use std::io::{BufReader, Write};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use h2::Reason;
use serde_json::{Value, json};
use support::admin::metric;
use support::http2_origin::{Http2Origin, answer};
use support::{Answer, LIMIT, Origin, Proxy, Seen, read_request, read_some, within};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// The endpoints are asked in this order: each is of a tier of its own.
fn proxy(policy: &str, cluster: &str, endpoints: &[SocketAddr]) -> Proxy {
    Proxy::start(&yaml(policy, cluster, endpoints))
}

fn yaml(policy: &str, cluster: &str, endpoints: &[SocketAddr]) -> String {
    let endpoints = endpoints.iter().enumerate();
    let endpoints = endpoints.map(|(tier, at)| format!("{{ address: '{at}', tier: {tier} }}"));
    format!(
        "workers: 1\nadmin: {{ address: '127.0.0.1:0' }}\n\
         access_log: {{ to: ./access.log }}\n\
         listeners: [{{ name: web, address: '127.0.0.1:0', cluster: o }}]\n\
         retry_policies: [{{ name: it, backoff: {{ base: 1ms, max: 1ms }}, {policy} }}]\n\
         clusters: [{{ name: o, retry: it, endpoints: [{}], {cluster} }}]\n",
        endpoints.collect::<Vec<_>>().join(", ")
    )
}

const AT_ONCE: &str = "hedge: { after: 1ms }";

/// Takes one request for each connection, tells of its end, and says nothing.
fn silent() -> Origin {
    Origin::scripted(|stream, seen| {
        let mut reader = BufReader::new(stream);
        if let Some(request) = read_request(&mut reader) {
            seen.send(request).ok();
            let rest = read_some(&mut reader);
            let end = if rest.is_empty() { "closed" } else { "more" };
            seen.send(Seen::named(end)).ok();
        }
    })
}

/// Does with each request for `/held` what it is told, once it is told, and says `ok` to others.
fn told() -> (Origin, Sender<&'static [u8]>) {
    let (tell, told): (_, Receiver<&'static [u8]>) = channel();
    let told = Mutex::new(told);
    let origin = Origin::scripted(move |stream, seen| {
        let mut reader = BufReader::new(stream);
        while let Some(request) = read_request(&mut reader) {
            let is_held = request.line.contains(" /held ");
            seen.send(request).ok();
            let bytes = match is_held {
                true => told.lock().unwrap().recv_timeout(LIMIT).unwrap_or_default(),
                false => OK,
            };
            if bytes.is_empty() || reader.get_mut().write_all(bytes).is_err() {
                return;
            }
        }
    });
    (origin, tell)
}

const RESET: &[u8] = b"";

fn counted(proxy: &Proxy, what: &str) -> f64 {
    let series = format!("lockgate_cluster_{what}_total{{cluster=\"o\"}}");
    metric(proxy.admin(), &series)
}

fn denied(proxy: &Proxy, reason: &str) -> f64 {
    let series =
        format!("lockgate_cluster_retries_denied_total{{cluster=\"o\",reason=\"{reason}\"}}");
    metric(proxy.admin(), &series)
}

fn record(proxy: &Proxy) -> Value {
    within("a record", || {
        let text = std::fs::read_to_string(proxy.path().join("access.log")).ok()?;
        serde_json::from_str(text.lines().next()?).ok()
    })
}

/// Of the first record, each try's endpoint and end.
fn tries(record: &Value) -> Vec<(String, String)> {
    let tries = record["tries"].as_array().expect("several tries");
    let text = |told: &Value| told.as_str().unwrap().to_owned();
    let pair = |told: &Value| (text(&told["endpoint"]), text(&told["end"]));
    tries.iter().map(pair).collect()
}

fn ended(endpoint: &Origin, end: &str) -> (String, String) {
    (endpoint.address.to_string(), end.to_owned())
}

fn begin(proxy: &Proxy, request: &str) -> support::Client {
    let mut client = proxy.connect();
    client.send(request);
    client
}

fn get_held(proxy: &Proxy) -> support::Client {
    begin(proxy, "GET /held HTTP/1.1\r\nhost: a\r\n\r\n")
}

#[test]
fn what_takes_long_is_asked_elsewhere_too() {
    let (slow, fast) = (silent(), Origin::saying("fast"));
    let proxy = proxy(AT_ONCE, "", &[slow.address, fast.address]);
    let answer = proxy.get("/");
    assert_eq!((answer.status, &*answer.text()), (200, "fast"));
    assert!(slow.seen().line.starts_with("GET / "));
    assert_eq!(slow.seen().line, "closed");
    assert!(fast.seen().line.starts_with("GET / "));
    let counts = ["hedges", "hedges_won", "retries", "requests"];
    assert_eq!(counts.map(|what| counted(&proxy, what)), [1.0; 4]);
    let record = record(&proxy);
    let wanted = [ended(&slow, "overtaken"), ended(&fast, "200")];
    assert_eq!(tries(&record), wanted);
    assert_eq!(record["endpoint"], json!(fast.address.to_string()));
    assert_eq!(record["retries"], 1);
}

#[test]
fn the_first_counts_where_it_is_answered_before_the_second() {
    let ((first, tell), second) = (told(), silent());
    let proxy = proxy(AT_ONCE, "", &[first.address, second.address]);
    let mut client = get_held(&proxy);
    second.seen();
    tell.send(OK).unwrap();
    assert_eq!(client.answer().text(), "ok");
    assert_eq!(second.seen().line, "closed");
    let record = record(&proxy);
    let wanted = [ended(&second, "overtaken"), ended(&first, "200")];
    assert_eq!(tries(&record), wanted);
    assert_eq!(record["endpoint"], json!(first.address.to_string()));
    assert_eq!(counted(&proxy, "hedges_won"), 0.0);
    // Its connection serves again.
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(client.answer().text(), "ok");
    assert!(counted(&proxy, "connections_reused") >= 1.0);
}

#[test]
fn what_is_answered_in_time_is_asked_once() {
    let (first, second) = (Origin::saying("first"), Origin::saying("second"));
    let proxy = proxy("hedge: { after: 1h }", "", &[first.address, second.address]);
    assert_eq!(proxy.get("/").text(), "first");
    assert!(second.seen_now().is_none());
    assert_eq!(counted(&proxy, "hedges"), 0.0);
    assert_eq!(record(&proxy)["tries"], Value::Null);
}

#[test]
fn without_a_token_there_is_no_second() {
    let check = |budget: &str, reason: &str| {
        let ((first, tell), second) = (told(), silent());
        let budget = format!("retry_budget: {{ percent: 0, {budget} }}");
        let proxy = proxy(AT_ONCE, &budget, &[first.address, second.address]);
        let mut client = get_held(&proxy);
        within("it is denied", || {
            (denied(&proxy, reason) == 1.0).then_some(())
        });
        tell.send(OK).unwrap();
        assert_eq!(client.answer().text(), "ok");
        assert!(second.seen_now().is_none());
        assert_eq!(counted(&proxy, "hedges"), 0.0);
        assert_eq!(record(&proxy)["no_retry"], reason);
    };
    check("floor: 0, floor_at_once: 100", "budget");
    check("floor: 100, floor_at_once: 0", "at_once");
}

/// Another request that began later was sent twice: the time of the first was over.
#[test]
fn only_what_may_be_sent_twice_and_is_there_is_asked_elsewhere() {
    let check = |policy: &str, request: &str, rest: &str, is_hedged: bool| {
        let ((first, tell), second) = (told(), Origin::saying("other"));
        // By when a body that was sent at once has come, however slow the machine is.
        let after = match is_hedged {
            true => "hedge: { after: 2s }",
            false => AT_ONCE,
        };
        let policy = format!("{after}, {policy}");
        let proxy = proxy(&policy, "", &[first.address, second.address]);
        let mut client = begin(&proxy, request);
        let other = get_held(&proxy).answer();
        assert_eq!(other.text(), "other", "{request}");
        client.send(rest);
        if !is_hedged {
            tell.send(OK).unwrap();
            tell.send(OK).unwrap();
        }
        let answer = client.answer();
        let wanted = if is_hedged { "other" } else { "ok" };
        assert_eq!(answer.text(), wanted, "{request}");
        let seen: Vec<_> = std::iter::from_fn(|| second.seen_now()).collect();
        assert_eq!(seen.len(), 1 + usize::from(is_hedged), "{request}");
    };
    let plain = "POST /held HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n";
    check("methods: idempotent", plain, "", false);
    check("methods: any", plain, "", true);
    let large = "PUT /held HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\n";
    check("max_body: 3", large, "body", false);
    check("max_body: 4", &format!("{large}body"), "", true);
    // Not all of it has come when the time is over.
    check("max_body: 4", &format!("{large}bo"), "dy", false);
}

#[test]
fn a_body_goes_to_both() {
    let check = |head: &str, body: &str| {
        let (slow, fast) = (silent(), Origin::saying("fast"));
        // By when all of it has come.
        let policy = "hedge: { after: 5s }";
        let proxy = proxy(policy, "", &[slow.address, fast.address]);
        let mut client = begin(&proxy, &format!("{head}\r\n\r\n{body}"));
        assert_eq!(client.answer().text(), "fast");
        [slow.seen(), fast.seen()]
    };
    let large = "0123456789".repeat(3000);
    let head = "PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 30000";
    for seen in check(head, &large) {
        assert_eq!(seen.header("content-length"), Some("30000"));
        assert_eq!(seen.body, large.as_bytes());
    }
    let head = "PUT / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ntrailer: x-end";
    let chunked = format!("{}0\r\nx-end: yes\r\n\r\n", "3\r\nabc\r\n".repeat(1000));
    for seen in check(head, &chunked) {
        assert_eq!(seen.body, "abc".repeat(1000).as_bytes());
        assert_eq!(seen.trailers, [("x-end".to_owned(), "yes".to_owned())]);
    }
}

#[test]
fn nobody_is_asked_twice() {
    let only = silent();
    let policy = "hedge: { after: 1ms }, on: [503], try_timeout: 2s";
    let proxy = proxy(policy, "", &[only.address]);
    assert_eq!(proxy.get("/").status, 504);
    only.seen();
    assert_eq!(only.seen().line, "closed");
    assert!(only.seen_now().is_none());
    assert_eq!(counted(&proxy, "hedges"), 0.0);
    assert_eq!(counted(&proxy, "retries"), 0.0);
}

#[test]
fn of_a_row_of_hops_one_hedges() {
    let ((first, tell), second) = (told(), Origin::saying("other"));
    let both = [first.address, second.address];
    let inner = proxy(AT_ONCE, "", &both);
    let outer = proxy(
        "hedge: { after: 1h }, try_timeout: 2h",
        "",
        &[inner.address()],
    );
    let mut client = get_held(&outer);
    let seen = first.seen();
    assert_eq!(seen.header("lockgate-retry"), Some("hedge"));
    tell.send(OK).unwrap();
    assert_eq!(client.answer().text(), "ok");
    assert_eq!(counted(&inner, "hedges"), 0.0);
    assert!(second.seen_now().is_none());
    // It does so for who does not.
    assert_eq!(get_held(&inner).answer().text(), "other");
    assert_eq!(counted(&inner, "hedges"), 1.0);
    tell.send(OK).unwrap();
}

#[test]
fn where_both_fail_it_is_tried_on() {
    let check = |attempts: u32, status: u16, ends: &[&str]| {
        let ((first, tell_first), (second, tell_second)) = (told(), told());
        let third = Origin::saying("third");
        let policy = format!("on: [reset], attempts: {attempts}, {AT_ONCE}");
        let origins = [&first, &second, &third];
        let proxy = proxy(&policy, "", &origins.map(|origin| origin.address));
        let mut client = get_held(&proxy);
        second.seen();
        tell_first.send(RESET).unwrap();
        tell_second.send(RESET).unwrap();
        assert_eq!(client.answer().status, status);
        let ends = std::iter::zip(origins, ends).map(|(origin, end)| ended(origin, end));
        assert_eq!(tries(&record(&proxy)), ends.collect::<Vec<_>>());
        assert_eq!(third.seen_now().is_some(), attempts > 2);
    };
    let reset = "upstream_reset";
    check(3, 200, &[reset, reset, "200"]);
    check(2, 502, &[reset, reset]);
}

#[test]
fn a_second_that_fails_leaves_it_to_the_first() {
    let ((first, tell_first), (second, tell_second)) = (told(), told());
    let proxy = proxy(AT_ONCE, "", &[first.address, second.address]);
    let mut client = get_held(&proxy);
    second.seen();
    tell_second.send(RESET).unwrap();
    // Blamed as ever.
    within("it has failed", || {
        (failures(&proxy, &second) == 1).then_some(())
    });
    tell_first.send(OK).unwrap();
    assert_eq!(client.answer().text(), "ok");
    let wanted = [ended(&second, "upstream_reset"), ended(&first, "200")];
    assert_eq!(tries(&record(&proxy)), wanted);
}

fn of_endpoint(proxy: &Proxy, origin: &Origin, key: &str) -> u64 {
    let clusters = support::admin::json(&support::admin::get(proxy.admin(), "/clusters"));
    let endpoints = clusters[0]["endpoints"].as_array().unwrap();
    let address = json!(origin.address.to_string());
    let mut endpoints = endpoints.iter();
    let endpoint = endpoints.find(|endpoint| endpoint["address"] == address);
    endpoint.unwrap()[key].as_u64().unwrap()
}

fn failures(proxy: &Proxy, origin: &Origin) -> u64 {
    of_endpoint(proxy, origin, "failures")
}

#[test]
fn who_is_overtaken_is_not_blamed() {
    let (slow, fast) = (silent(), Origin::saying("fast"));
    let proxy = proxy(AT_ONCE, "", &[slow.address, fast.address]);
    assert_eq!(proxy.get("/").text(), "fast");
    let requests = |origin| of_endpoint(&proxy, origin, "requests");
    within("it is counted", || (requests(&fast) == 1).then_some(()));
    assert_eq!((requests(&slow), failures(&proxy, &slow)), (0, 0));
}

#[test]
fn a_deadline_holds_for_both() {
    let (first, second) = (silent(), silent());
    let cluster = "timeouts: { total: 2s }";
    let proxy = proxy(AT_ONCE, cluster, &[first.address, second.address]);
    assert_eq!(proxy.get("/").status, 504);
    let wanted = [ended(&second, "given_up"), ended(&first, "total_timeout")];
    assert_eq!(tries(&record(&proxy)), wanted);
    for origin in [first, second] {
        origin.seen();
        assert_eq!(origin.seen().line, "closed");
    }
}

#[test]
fn the_time_for_a_try_holds_for_each() {
    let (first, second) = (silent(), silent());
    let policy = format!("on: [503], try_timeout: 3s, {AT_ONCE}");
    let proxy = proxy(&policy, "", &[first.address, second.address]);
    assert_eq!(proxy.get("/").status, 504);
    let wanted = [ended(&first, "try_timeout"), ended(&second, "try_timeout")];
    assert_eq!(tries(&record(&proxy)), wanted);
}

#[test]
fn a_stream_that_is_overtaken_is_reset() {
    let (told, resets) = channel();
    let slow = Http2Origin::start(move |_, mut respond| {
        let told = told.clone();
        async move {
            let reason = std::future::poll_fn(|context| respond.poll_reset(context)).await;
            told.send(reason.unwrap()).unwrap();
        }
    });
    let fast = Http2Origin::start(|_, mut respond| async move {
        answer(&mut respond, 200, "fast");
    });
    let endpoints = [slow.address, fast.address];
    let proxy = proxy(AT_ONCE, "protocol: http2", &endpoints);
    for _ in 0..2 {
        assert_eq!(proxy.get("/").text(), "fast");
        assert_eq!(resets.recv_timeout(LIMIT), Ok(Reason::CANCEL));
    }
    assert_eq!([slow.connections(), fast.connections()], [1, 1]);
}

#[test]
fn a_percentile_is_learnt() {
    let ((first, tell), second) = (told(), Origin::saying("other"));
    let policy = "hedge: { after: p95, least: 1ms }";
    let both = [first.address, second.address];
    let proxy = proxy(policy, "", &both);
    // It comes before anything is known.
    let mut unhedged = get_held(&proxy);
    first.seen();
    let mut client = proxy.connect();
    for _ in 0..100 {
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        assert_eq!(client.answer().text(), "ok");
    }
    assert_eq!(counted(&proxy, "hedges"), 0.0);
    // What was learnt outlives the cluster.
    proxy.edit(&yaml(policy, "max_head_bytes: 63KiB", &both));
    assert!(proxy.reload().ok);
    let other: Answer = get_held(&proxy).answer();
    assert_eq!(other.text(), "other");
    assert_eq!(counted(&proxy, "hedges_won"), 1.0);
    tell.send(OK).unwrap();
    tell.send(OK).unwrap();
    assert_eq!(unhedged.answer().text(), "ok");
    assert_eq!(counted(&proxy, "hedges"), 1.0);
}
