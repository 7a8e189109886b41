//! Filters that fail where it is hardest to clean up behind them: in every phase, in
//! an instance that replaces a lost one, with tables and with bodies that do not
//! end. Over sockets; a neighbour on the same worker is served all the while.

#[path = "support/hostile.rs"]
mod hostile;
mod support;

use hostile::Hostile;
use serde_json::{Value, json};
use support::filtered::counted;
use support::{Client, Origin, Proxy, within};

fn faults(proxy: &Proxy, fault: &str) -> u64 {
    counted(proxy, "lockgate_filter_faults_total", &[("fault", fault)])
}

/// One route with this configuration, and one without the filter.
fn start(origin: &Origin, bad: Value, limits: Value) -> Proxy {
    let guest = json!({ "config": bad, "routes": { "without": "off" }, "limits": limits });
    Hostile::routed(&["bad", "without"])
        .guest("guest", guest)
        .start(origin)
}

fn neighbour_is_well(proxy: &Proxy) {
    assert_eq!(proxy.get("/without").status, 200);
}

/// A request with a body and trailers, to its answer's end.
fn post(proxy: &Proxy) -> String {
    let mut client = proxy.connect();
    client.send(
        "POST /bad HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\
         trailer: x-end\r\n\r\n4\r\nbody\r\n0\r\nx-end: 1\r\n\r\n",
    );
    String::from_utf8(client.rest()).unwrap()
}

/// An origin whose answers have trailers.
fn with_trailers() -> Origin {
    Origin::start(|_| {
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nx-end: 1\r\n\r\n"
            .to_vec()
    })
}

#[test]
fn a_trap_in_any_phase_costs_one_exchange() {
    for (phase, before) in [
        ("request", None),
        ("request_body", Some(("request", "buffer 1000"))),
        ("request_trailers", None),
        ("response", None),
        ("response_body", Some(("response", "buffer 1000"))),
        ("response_trailers", None),
        ("done", None),
    ] {
        let phases = [
            "request",
            "request-trailers",
            "response",
            "response-trailers",
            "done",
        ];
        let mut config = json!({ "wants": { "phases": phases } });
        if let Some((earlier, step)) = before {
            config[earlier] = json!([step]);
        }
        config[phase] = json!(["trap"]);
        let origin = with_trailers();
        let proxy = start(&origin, config, json!({}));
        for times in 1..=2 {
            let all = post(&proxy);
            let is_whole = all.starts_with("HTTP/1.1 200") && all.contains("\r\n0\r\n");
            assert_eq!(is_whole, phase == "done", "{phase}: {all}");
            within(phase, || (faults(&proxy, "trap") == times).then_some(()));
            neighbour_is_well(&proxy);
        }
        let lost = counted(&proxy, "lockgate_filter_instances_lost_total", &[]);
        assert_eq!(lost, 2, "{phase}");
    }
}

#[test]
fn an_instance_that_cannot_be_replaced_is_a_fault_of_its_own() {
    let bad = json!({
        "wants": { "phases": ["request"] },
        // The first two are for the build, which may make a spare one.
        "create": ["trap-from-instance 3"],
        "request": ["trap"],
    });
    let origin = Origin::saying("ok");
    let proxy = start(&origin, bad, json!({}));
    within("there is no instance left", || {
        let status = proxy.get("/bad").status;
        assert!([500, 503].contains(&status), "{status}");
        neighbour_is_well(&proxy);
        (faults(&proxy, "create") >= 2).then_some(())
    });
    let traps = faults(&proxy, "trap");
    assert_eq!(proxy.get("/bad").status, 503, "it was not called at all");
    assert_eq!(faults(&proxy, "trap"), traps);
}

#[test]
fn a_table_that_grows_without_end_is_a_matter_of_memory() {
    let folder = Proxy::folder();
    std::fs::write(folder.join("table.wasm"), hostile::table_bomb()).unwrap();
    let origin = Origin::saying("ok");
    let proxy = Proxy::start_in(
        folder,
        &format!(
            "workers: 1\nadmin: {{ address: '127.0.0.1:0' }}\n\
             listeners: [{{ name: web, address: '127.0.0.1:0', cluster: o, filters: [table] }}]\n\
             filters: {{ table: {{ component: ./table.wasm }} }}\n\
             clusters: [{{ name: o, endpoints: ['{}'] }}]\n",
            origin.address
        ),
    );
    for times in 1..=3 {
        assert_eq!(proxy.get("/").status, 500);
        assert_eq!(faults(&proxy, "memory"), times);
    }
}

#[test]
fn a_head_has_room_for_no_flood() {
    let bad = json!({
        "wants": { "phases": ["request"] },
        "request": ["fields-flood 2000"],
    });
    let origin = Origin::saying("ok");
    // So many calls take a good part of the usual time, and this is not about time.
    let proxy = start(&origin, bad, json!({ "cpu": "1s" }));
    assert_eq!(proxy.get("/bad").status, 200);
    let fields = origin.seen().headers.len();
    assert!((50..=200).contains(&fields), "{fields} fields");
}

#[test]
fn calls_into_the_host_add_up_over_the_phases_of_an_exchange() {
    // A log line is a call, and so is leaving an attribute.
    let phases = json!({ "phases": ["request", "response", "done"] });
    let bad = json!({
        "wants": phases, "request": ["log-flood 60"], "response": ["log-flood 60"],
    });
    let origin = Origin::saying("ok");
    let proxy = start(&origin, bad.clone(), json!({ "max_host_calls": 100 }));
    for times in 1..=2 {
        assert_eq!(proxy.get("/bad").status, 500);
        assert_eq!(faults(&proxy, "host-calls"), times);
        neighbour_is_well(&proxy);
    }
    let proxy = start(&origin, bad, json!({ "max_host_calls": 120 }));
    assert_eq!(proxy.get("/bad").status, 200);
    assert_eq!(proxy.get("/bad").status, 200);
    let counted = counted(
        &proxy,
        "lockgate_filter_host_calls_total",
        &[("filter", "guest")],
    );
    assert_eq!(counted, 240);
}

#[test]
fn what_a_language_asks_of_its_system_is_a_call_into_the_host() {
    let bad = json!({ "wants": { "phases": ["request"] }, "request": ["ask-time 101"] });
    let origin = Origin::saying("ok");
    let proxy = start(&origin, bad.clone(), json!({ "max_host_calls": 100 }));
    assert_eq!(proxy.get("/bad").status, 500);
    assert_eq!(faults(&proxy, "host-calls"), 1);
    let proxy = start(&origin, bad, json!({ "max_host_calls": 101 }));
    assert_eq!(proxy.get("/bad").status, 200);
}

#[test]
fn series_beyond_the_limit_are_dropped_and_counted() {
    let bad = json!({ "wants": { "phases": ["request"] }, "request": ["series-flood 1000"] });
    let limits = json!({ "max_series": 10, "max_host_calls": 100_000, "cpu": "1s" });
    let origin = Origin::saying("ok");
    let proxy = start(&origin, bad, limits);
    assert_eq!(proxy.get("/bad").status, 200);
    let dropped = "lockgate_filter_metric_updates_dropped_total";
    assert_eq!(counted(&proxy, dropped, &[("filter", "guest")]), 990);
    assert_eq!(counted(&proxy, "lockgate_guest_flood_total", &[]), 10);
}

#[test]
fn a_configuration_of_a_megabyte_is_a_configuration() {
    let long = "x".repeat(1 << 20);
    let bad = json!({
        "wants": { "phases": ["request"] },
        "request": [format!("log {long}"), "request.set x-after yes"],
    });
    let origin = Origin::saying("ok");
    let proxy = start(&origin, bad, json!({ "memory": "32MiB", "cpu": "1s" }));
    assert_eq!(proxy.get("/bad").status, 200);
    let seen = origin.seen();
    assert_eq!(seen.header("x-after"), Some("yes"));
    assert!(proxy.reload().ok);
    neighbour_is_well(&proxy);
}

#[test]
fn pieces_of_a_body_have_calls_of_their_own() {
    // `count` calls three times for each piece.
    let bad = json!({ "wants": { "phases": ["request"] }, "request": ["transform count"] });
    let origin = Origin::saying("ok");
    let proxy = start(&origin, bad, json!({ "max_host_calls": 10 }));
    let mut client = proxy.connect();
    client.send("POST /bad HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n");
    let pieces = 20;
    for _ in 0..pieces {
        client.send("1\r\nx\r\n");
        // Each is passed on before the next comes.
        within("a piece", || {
            let given = counted(&proxy, "lockgate_filter_body_in_bytes_total", &[]);
            (given > 0).then_some(())
        });
    }
    assert_eq!(client.send("0\r\n\r\n").answer().status, 200);
    let given = counted(&proxy, "lockgate_filter_body_in_bytes_total", &[]);
    assert_eq!(given, pieces);
}

#[test]
fn a_transform_that_keeps_everything_runs_out_of_memory() {
    let bad = json!({ "wants": { "phases": ["request"] }, "request": ["transform never"] });
    let origin = Origin::saying("ok");
    let proxy = start(&origin, bad, json!({ "memory": "4MiB" }));
    let mut client = proxy.connect();
    client.send("POST /bad HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n");
    let piece = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    let refused = (0..1000).any(|_| {
        neighbour_is_well(&proxy);
        !client.try_send(&piece) || faults(&proxy, "memory") == 1
    });
    assert!(refused, "64 MB went into 4");
    within("it is counted", || {
        (faults(&proxy, "memory") == 1).then_some(())
    });
    ends(&mut client);
}

/// The client is answered or cut off, and not kept.
fn ends(client: &mut Client) {
    let answer = String::from_utf8(client.rest()).unwrap();
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 500"),
        "{answer}"
    );
}
