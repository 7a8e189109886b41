//! What the access log tells of an exchange, however it went.

mod support;

use std::fs;
use std::io::BufReader;

use serde_json::Value;
use support::admin::{metric, metric_sum};
use support::filtered::yaml;
use support::{Origin, Process, Proxy, read_request, refusing, within};

const LOG: &str = "access_log: { to: ./access.log }\nadmin: { address: '127.0.0.1:0' }\n";

fn proxy_to(address: &str, more: &str) -> Proxy {
    Proxy::start(&format!(
        "{LOG}listeners: [{{ name: web, address: '127.0.0.1:0', cluster: o, {more} }}]\n\
         clusters: [{{ name: o, endpoints: [{address}] }}]\n",
    ))
}

/// The records in the order in which their exchanges ended, once there are so
/// many.
fn records(folder: &std::path::Path, count: usize) -> Vec<Value> {
    within(&format!("{count} records"), || {
        let text = fs::read_to_string(folder.join("access.log")).ok()?;
        let lines = text.lines().map(serde_json::from_str);
        let records: Vec<Value> = lines.collect::<Result<_, _>>().ok()?;
        (records.len() >= count).then_some(records)
    })
}

fn only(proxy: &Proxy) -> Value {
    records(proxy.path(), 1).remove(0)
}

#[test]
fn an_exchange_is_told_with_where_it_went() {
    let origin = Origin::saying("hello");
    let proxy = proxy_to(&format!("'{}'", origin.address), "");
    let answer = proxy.ask("/a?b=c", &[("user-agent", "probe/1")]);
    let record = only(&proxy);
    for (key, value) in [
        ("listener", "web"),
        ("client", "127.0.0.1"),
        ("method", "GET"),
        ("authority", "test"),
        ("path", "/a?b=c"),
        ("version", "1.1"),
        ("user_agent", "probe/1"),
        ("cluster", "o"),
        ("endpoint", &origin.address.to_string()),
        ("request_id", answer.header("x-request-id").unwrap()),
        (
            "trace_id",
            &origin.seen().header("traceparent").unwrap()[3..35],
        ),
    ] {
        assert_eq!(record[key], value, "{key} in {record}");
    }
    for (key, value) in [("status", 200), ("bytes_in", 0), ("bytes_out", 5)] {
        assert_eq!(record[key], value, "{key} in {record}");
    }
    assert!(record["duration_us"].as_u64() >= record["upstream_us"].as_u64());
    assert_eq!(record["error"], Value::Null);
}

#[test]
fn a_failure_is_told_with_the_endpoint_that_failed() {
    let origin = Origin::scripted(|stream, seen| {
        let request = read_request(&mut BufReader::new(stream));
        seen.send(request.expect("a request")).ok();
    });
    let proxy = proxy_to(&format!("'{}'", origin.address), "");
    assert_eq!(proxy.get("/").status, 502);
    let record = only(&proxy);
    assert_eq!(record["error"], "upstream_reset", "{record}");
    assert_eq!(record["endpoint"], origin.address.to_string(), "{record}");
    assert_eq!(record["status"], 502);
}

#[test]
fn another_endpoint_is_another_try() {
    let refused = refusing();
    let origin = Origin::saying("ok");
    let proxy = proxy_to(&format!("'{refused}', '{}'", origin.address), "");
    // On one connection, thus by one worker, which takes the endpoints in turn.
    let mut client = proxy.connect();
    for _ in 0..2 {
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        assert_eq!(client.answer().text(), "ok");
    }
    let records = records(proxy.path(), 2);
    let retries = records.iter().map(|record| record["retries"].as_u64());
    assert_eq!(retries.max(), Some(Some(1)), "{records:?}");
    for record in records {
        assert_eq!(record["endpoint"], origin.address.to_string());
    }
}

#[test]
fn a_head_that_is_refused_is_told_by_the_id_that_its_answer_bears() {
    let origin = Origin::saying("ok");
    let proxy = proxy_to(&format!("'{}'", origin.address), "");
    let mut client = proxy.connect();
    client.send("GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n");
    let answer = client.answer();
    assert_eq!(answer.status, 400);
    let record = only(&proxy);
    assert_eq!(record["error"], "ambiguous_request", "{record}");
    assert_eq!(record["detail"], "more than one host", "{record}");
    assert_eq!(record["request_id"], answer.header("x-request-id").unwrap());
    assert_eq!(record["bytes_out"], answer.body.len());
}

#[test]
fn a_filters_delay_counts_within_the_total_time_and_ends_with_its_client() {
    let origin = Origin::saying("ok");
    let delay = |total: &str| {
        let filters = "  faults:\n    component: lockgate:fault\n    \
                       config: { delay: { fixed: 50s } }";
        let listener = format!(", cluster: o, timeouts: {{ total: {total} }}");
        let chain = yaml("faults", &listener, filters, &[("o", &origin)]);
        Proxy::start(&format!("access_log: {{ to: ./access.log }}\n{chain}"))
    };
    let proxy = delay("100ms");
    assert_eq!(proxy.get("/").status, 504);
    assert_eq!(only(&proxy)["error"], "total_timeout");

    let proxy = delay("5m");
    let mut client = proxy.connect();
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    within("the filter was called", || {
        let calls = metric_sum(proxy.admin(), "lockgate_filter_calls_total", "faults");
        (calls > 0.0).then_some(())
    });
    drop(client);
    assert_eq!(only(&proxy)["error"], "client_gone");
    assert_eq!(origin.seen_now(), None);
}

/// With what it was answered, and its line in the log.
#[test]
fn an_exchange_that_a_drain_cuts_off_is_told_so() {
    let (origin, _never) = Origin::holding("ok");
    let mut process = Process::start(&format!(
        "drain_timeout: 100ms\n{LOG}\
         listeners: [{{ name: web, address: '127.0.0.1:0', cluster: o }}]\n\
         clusters: [{{ name: o, endpoints: ['{}'] }}]\n",
        origin.address
    ));
    let mut client = process.connect();
    client.send("GET /held HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(origin.seen().line, "GET /held HTTP/1.1");
    process.signal("TERM");
    assert_eq!(client.answer().status, 503);
    assert_eq!(process.exit_code(), Some(0));
    let record = records(process.path(), 1).remove(0);
    assert_eq!(record["error"], "draining", "{record}");
}

/// Connections of a cluster that a reload replaced are no longer counted.
#[test]
fn idle_connections_of_a_cluster_that_is_gone_are_not_counted() {
    let origin = Origin::saying("ok");
    let config = |head: &str| {
        format!(
            "{LOG}listeners: [{{ name: web, address: '127.0.0.1:0', cluster: o }}]\n\
             clusters: [{{ name: o, endpoints: ['{}'], max_head_bytes: {head} }}]\n",
            origin.address
        )
    };
    let proxy = Proxy::start(&config("32KiB"));
    const IDLE: &str = "lockgate_cluster_connections_idle{cluster=\"o\"}";
    assert_eq!(proxy.get("/").status, 200);
    within("one is idle", || {
        (metric(proxy.admin(), IDLE) == 1.0).then_some(())
    });
    proxy.edit(&config("33KiB"));
    assert!(proxy.reload().ok);
    within("none is left", || {
        (metric(proxy.admin(), IDLE) == 0.0).then_some(())
    });
}

#[test]
fn what_each_filter_did_is_told_on_demand() {
    let origin = Origin::saying("ok");
    let routes = "config: { routes: [{ name: r, match: { path_prefix: / }, cluster: o }] }";
    let fault = "config: { abort: { status: 418 } }";
    let filters = format!(
        "  router: {{ component: lockgate:router, {routes} }}\n  \
         fault: {{ component: lockgate:fault, {fault} }}\n"
    );
    let proxy = |log: &str| {
        let text = yaml("router, fault", "", &filters, &[("o", &origin)]);
        Proxy::start(&format!("access_log: {{ to: ./access.log {log} }}\n{text}"))
    };
    let told = proxy(", filters: true");
    assert_eq!(told.get("/").status, 418);
    let record = only(&told);
    let filters = record["filters"].as_array().unwrap();
    let verdicts: Vec<_> = filters
        .iter()
        .map(|filter| (filter["name"].as_str(), filter["verdict"].as_str()))
        .collect();
    assert_eq!(
        verdicts,
        [
            (Some("router"), Some("leave")),
            (Some("fault"), Some("respond"))
        ],
        "{record}"
    );
    assert!(
        filters.iter().all(|filter| filter["us"].is_u64()),
        "{record}"
    );

    let untold = proxy("");
    assert_eq!(untold.get("/").status, 418);
    assert_eq!(only(&untold)["filters"], Value::Null);
}
