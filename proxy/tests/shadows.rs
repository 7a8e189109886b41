//! Shadows of filters: what differs is told, and nobody notices them.

#[path = "support/hostile.rs"]
mod hostile;
mod support;

use serde_json::{Value, json};
use support::admin::{ask, get, json, metric_sum};
use support::{Origin, Proxy, within};

/// One filter `guest` with this entry beside its component, in front of an origin.
fn yaml(origin: &Origin, entry: &Value) -> String {
    let mut filter = json!({ "component": "./guest.wasm" });
    let given = entry.as_object().unwrap().clone();
    filter.as_object_mut().unwrap().extend(given);
    format!(
        "admin: {{ address: '127.0.0.1:0' }}\n\
         listeners: [{{ name: web, address: '127.0.0.1:0', cluster: o, filters: [guest] }}]\n\
         filters: {}\nclusters: [{{ name: o, endpoints: ['{}'] }}]\n",
        json!({ "guest": filter }),
        origin.address
    )
}

fn start(origin: &Origin, entry: &Value) -> Proxy {
    let folder = Proxy::folder();
    std::fs::write(folder.join("guest.wasm"), hostile::component()).unwrap();
    Proxy::start_in(folder, &yaml(origin, entry))
}

/// A filter with one configuration, and a shadow with another that sees everything.
fn shadowed(serving: Value, shadow: Value) -> Value {
    json!({
        "config": serving,
        "shadow": { "component": "./guest.wasm", "config": shadow, "percent": 100 },
    })
}

/// What is told of the shadow.
fn told(proxy: &Proxy) -> Value {
    json(&get(proxy.admin(), "/filters"))[0]["version"]["shadow"].clone()
}

/// The same once so many exchanges were compared.
fn compared(proxy: &Proxy, count: u64) -> Value {
    within(&format!("{count} exchanges are compared"), || {
        let told = told(proxy);
        let seen = told["compared"].as_u64();
        (seen >= Some(count)).then_some(told)
    })
}

const ALL: [&str; 3] = ["request", "response", "done"];

fn steps(request: &[&str], response: &[&str]) -> Value {
    json!({ "wants": { "phases": ALL }, "request": request, "response": response })
}

const POST: &str = "POST /path?token=hidden HTTP/1.1\r\nhost: a\r\nx-api-key: LIVE-KEY\r\n\
    content-length: 4\r\n\r\nbody";

/// Sends one request, and gives what the shadow made of it.
#[track_caller]
fn differs(serving: Value, shadow: Value, kind: &str, expected: &str) -> Value {
    let origin = Origin::saying("from the origin");
    let proxy = start(&origin, &shadowed(serving.clone(), shadow));
    let mut client = proxy.connect();
    client.send(POST);
    let answer = client.answer();
    let told = compared(&proxy, 1);
    let alone = Proxy::start_in(
        {
            let folder = Proxy::folder();
            std::fs::write(folder.join("guest.wasm"), hostile::component()).unwrap();
            folder
        },
        &yaml(&origin, &json!({ "config": serving })),
    );
    let mut client = alone.connect();
    client.send(POST);
    let unshadowed = client.answer();
    assert_eq!(answer.status, unshadowed.status);
    assert_eq!(answer.text(), unshadowed.text());
    assert_eq!(told["differed"], 1, "{told}");
    assert_eq!(told["differing"][kind], 1, "{told}");
    let differences = told["samples"][0]["differences"].to_string();
    assert!(differences.contains(expected), "{expected} in {told}");
    assert_eq!(told["samples"][0]["request"], "POST /path", "{told}");
    assert!(!told.to_string().contains("hidden"), "{told}");
    told
}

#[test]
fn a_shadow_that_does_the_same_differs_in_nothing() {
    let origin = Origin::saying("body");
    let steps = || {
        let request = [
            "request.set x-a 1",
            "attribute seen yes",
            "state kept",
            "buffer 100",
        ];
        let response = ["read.state", "response.set x-b 2"];
        let mut steps = steps(&request, &response);
        steps["request_body"] = json!(["upper"]);
        steps
    };
    let proxy = start(&origin, &shadowed(steps(), steps()));
    for _ in 0..20 {
        let mut client = proxy.connect();
        client.send(POST);
        assert_eq!(client.answer().status, 200);
    }
    let told = compared(&proxy, 20);
    let kinds = ["verdict", "head", "answer", "decision"];
    for kind in kinds {
        assert_eq!(told["differing"][kind], 0, "{told}");
    }
    assert_eq!(told["skipped"], 0);
    assert_eq!(told["faults"], 0);
    let counted = metric_sum(
        proxy.admin(),
        "lockgate_filter_shadow_exchanges_total",
        "guest",
    );
    assert_eq!(counted, 20.0);
}

#[test]
fn another_verdict_is_told() {
    let told = differs(
        steps(&[], &[]),
        steps(&["log looked", "respond 403 no"], &[]),
        "verdict",
        "request: verdict: next; shadow: respond 403",
    );
    assert!(
        told["samples"][0]["lines"].to_string().contains("looked"),
        "{told}"
    );
    differs(
        steps(&["log here"], &[]),
        steps(&["leave"], &[]),
        "verdict",
        "verdict: next; shadow: leave",
    );
}

#[test]
fn another_head_is_told_and_reaches_nobody() {
    differs(
        steps(&["request.set x-a one"], &[]),
        steps(&["request.set x-a one", "request.append x-a two"], &[]),
        "head",
        "request header `x-a`: 3 bytes; shadow: 2 values",
    );
    differs(
        steps(&[], &[]),
        steps(&[], &["response.set x-new 1"]),
        "head",
        "response: response header `x-new`: none; shadow: 1 bytes",
    );
    differs(
        steps(&[], &[]),
        steps(&["request.path /other"], &[]),
        "head",
        "request path: /path; shadow: /other",
    );
    // A value may be a secret of somebody else's.
    let told = differs(
        steps(&[], &[]),
        steps(&["request.remove x-api-key"], &[]),
        "head",
        "request header `x-api-key`: 8 bytes; shadow: none",
    );
    assert!(!told.to_string().contains("LIVE-KEY"), "{told}");
}

#[test]
fn a_phase_that_only_the_shadow_wants_is_seen_by_it() {
    let quiet = json!({ "wants": { "phases": [] } });
    differs(
        quiet,
        steps(&[], &["response.status 418"]),
        "head",
        "response: response status: 200 OK; shadow: 418",
    );
}

#[test]
fn another_answer_is_told() {
    differs(
        steps(&["respond 200 yes"], &[]),
        steps(&["respond 200 indeed"], &[]),
        "answer",
        "answer body: 3 bytes; shadow: 6 bytes",
    );
    let body = |step: &str| {
        let mut steps = steps(&["buffer 100"], &[]);
        steps["request_body"] = json!([step]);
        steps
    };
    differs(
        body("replace one"),
        body("replace other"),
        "answer",
        "request-body: replaced body: 3 bytes; shadow: 5 bytes",
    );
}

#[test]
fn another_decision_is_told() {
    differs(
        steps(&["attribute kind one"], &[]),
        steps(&["attribute kind second"], &[]),
        "decision",
        "attribute `guest.kind`: 3 bytes; shadow: 6 bytes",
    );
    differs(
        steps(&[], &[]),
        steps(&["delay 5000"], &[]),
        "decision",
        "delay: 0ns; shadow: 5s",
    );
}

#[test]
fn faults_of_a_shadow_cost_nobody_anything() {
    for (step, fault) in [("trap", "trap"), ("loop", "overrun"), ("panic no", "trap")] {
        let told = differs(
            steps(&[], &[]),
            steps(&[step], &[]),
            "verdict",
            &format!("verdict: next; shadow: failed ({fault})"),
        );
        assert_eq!(told["faults"], 1, "{told}");
    }
}

#[test]
fn a_shadow_rests_when_it_has_used_its_share() {
    let origin = Origin::saying("body");
    let mut entry = shadowed(steps(&[], &[]), steps(&["loop"], &[]));
    entry["shadow"]["cpu_percent"] = json!(1);
    // Else it would be paused first.
    entry["limits"] = json!({ "max_overruns": 1000 });
    let proxy = start(&origin, &entry);
    let mut client = proxy.connect();
    let told = within("it rests", || {
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        assert_eq!(client.answer().status, 200);
        let told = told(&proxy);
        (told["resting"] == true).then_some(told)
    });
    within("copies are not made meanwhile", || {
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        assert_eq!(client.answer().status, 200);
        (self::told(&proxy)["skipped"].as_u64() > Some(0)).then_some(())
    });
    assert!(
        told["faults"].as_u64() >= told["compared"].as_u64(),
        "{told}"
    );
}

#[test]
fn what_is_shared_is_seen_and_not_changed() {
    let origin = Origin::saying("body");
    let limits = |rate: u64| {
        json!({
            "limits": [{
                "name": "all", "key": { "by": "address" },
                "rate": rate, "per": "hour", "burst": rate,
            }]
        })
    };
    let entry = json!({
        "component": "lockgate:rate-limit",
        "grants": { "shared": true },
        "config": limits(6),
        "shadow": { "component": "lockgate:rate-limit", "percent": 100, "config": limits(6) },
    });
    let proxy = start(&origin, &entry);
    let mut client = proxy.connect();
    let mut ask = || {
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        client.answer().status
    };
    let statuses: Vec<_> = (0..10).map(|_| ask()).collect();
    assert_eq!(statuses, [200, 200, 200, 200, 200, 200, 429, 429, 429, 429]);
    let told = compared(&proxy, 10);
    assert_eq!(told["differing"]["verdict"], 0, "{told}");

    // A stricter one would have let fewer pass.
    let mut stricter = entry;
    stricter["config"] = limits(20);
    stricter["shadow"]["config"] = limits(8);
    proxy.edit(&yaml(&origin, &stricter));
    assert!(proxy.reload().ok);
    let statuses: Vec<_> = (0..12).map(|_| proxy.get("/").status).collect();
    assert_eq!(statuses, [200; 12]);
    let told = compared(&proxy, 12);
    assert_eq!(told["differing"]["verdict"], 4, "{told}");
}

#[test]
fn calls_of_a_shadow_are_made_where_they_are_granted() {
    let (origin, called) = (Origin::saying("body"), Origin::saying("called"));
    let entry = |call: &[&str]| {
        json!({
            "component": "./caller.wasm",
            "grants": { "call": ["called"] },
            "config": { "phase": "request", "cluster": "called", "paths": [], "then": "wait" },
            "shadow": {
                "component": "./caller.wasm",
                "percent": 100,
                "call": call,
                "config": {
                    "phase": "request", "cluster": "called", "paths": ["/shadow"], "then": "wait",
                },
            },
        })
    };
    let yaml = |call: &[&str]| {
        let yaml = yaml(&origin, &entry(call));
        yaml.replace(
            "clusters: [",
            &format!(
                "clusters: [{{ name: called, endpoints: ['{}'] }}, ",
                called.address
            ),
        )
    };
    let folder = Proxy::folder();
    std::fs::write(folder.join("caller.wasm"), hostile::caller()).unwrap();
    let proxy = Proxy::start_in(folder, &yaml(&[]));
    assert_eq!(proxy.get("/").status, 200);
    compared(&proxy, 1);
    assert!(called.seen_now().is_none());

    proxy.edit(&yaml(&["called"]));
    assert!(proxy.reload().ok);
    assert_eq!(proxy.get("/").status, 200);
    assert_eq!(called.seen().line, "GET /shadow HTTP/1.1");
    compared(&proxy, 1);
}

#[test]
fn a_shadow_goes_on_over_reloads_and_begins_anew_with_another_version() {
    let origin = Origin::saying("body");
    let entry = shadowed(steps(&[], &[]), steps(&["attribute a b"], &[]));
    let proxy = start(&origin, &entry);
    assert_eq!(proxy.get("/").status, 200);
    compared(&proxy, 1);
    let other =
        yaml(&origin, &entry).replace("name: web", "name: web, limits: { max_headers: 77 }");
    proxy.edit(&other);
    assert!(proxy.reload().ok);
    assert_eq!(told(&proxy)["compared"], 1);
    assert_eq!(proxy.get("/").status, 200);
    compared(&proxy, 2);

    let entry = shadowed(steps(&[], &[]), steps(&["attribute a c"], &[]));
    proxy.edit(&yaml(&origin, &entry));
    assert!(proxy.reload().ok);
    assert_eq!(told(&proxy)["compared"], 0);
    assert_eq!(proxy.get("/").status, 200);
    let told = compared(&proxy, 1);
    assert_eq!(told["samples"].as_array().unwrap().len(), 1, "{told}");
}

#[test]
fn one_that_cannot_be_built_is_refused_at_its_place() {
    let origin = Origin::saying("body");
    let proxy = start(&origin, &shadowed(steps(&[], &[]), steps(&[], &[])));
    let mut entry = shadowed(steps(&[], &[]), steps(&[], &[]));
    entry["shadow"]["component"] = json!("./absent.wasm");
    entry["shadow"]["call"] = json!(["nowhere"]);
    proxy.edit(&yaml(&origin, &entry));
    let outcome = proxy.reload();
    assert!(!outcome.ok);
    let told = outcome.mistakes.join("\n");
    assert!(told.contains("absent.wasm"), "{told}");
    assert!(told.contains("nowhere"), "{told}");
}

/// What `/filters` says of how the version that serves came to serve.
fn is(proxy: &Proxy) -> Value {
    json(&get(proxy.admin(), "/filters"))[0]["version"]["is"].clone()
}

/// An entry that says which version it is, with a shadow that says another.
fn named(name: &str, shadow: &str, request: &[&str]) -> Value {
    let say = |name: &str| format!("response.set x-version {name}");
    let mut entry = shadowed(steps(request, &[&say(name)]), steps(&[], &[&say(shadow)]));
    entry["probation"] = json!({ "time": "1ms", "min_calls": 2, "min_faults": 3 });
    entry
}

/// Waits until the version that serves is one to go back to.
fn proven(proxy: &Proxy) {
    within("the version counts as good", || {
        assert_eq!(proxy.get("/").status, 200);
        let told = json(&get(proxy.admin(), "/filters"));
        (told[0]["version"]["on_probation"] == false).then_some(())
    });
}

#[test]
fn a_shadow_is_compared_with_what_was_promoted_and_told_to_be_the_same() {
    let origin = Origin::saying("body");
    let mut entry = named("one", "second", &[]);
    entry["canary"] = json!({
        "component": "./guest.wasm",
        "config": entry["shadow"]["config"],
        "percent": 0,
    });
    let proxy = start(&origin, &entry);
    assert_eq!(proxy.get("/").status, 200);
    let told = compared(&proxy, 1);
    assert_eq!(told["differing"]["head"], 1, "{told}");
    assert_eq!(told["is_what_serves"], false, "{told}");

    let path = "/filters/guest/promote";
    let promoted = ask(proxy.admin(), "POST", path, &[("host", "localhost")]);
    assert_eq!(promoted.status, 200, "{promoted:?}");
    assert_eq!(self::told(&proxy)["compared"], 0);
    assert_eq!(proxy.get("/").header("x-version"), Some("second"));
    let told = compared(&proxy, 1);
    assert_eq!(told["differing"]["head"], 0, "{told}");
    assert_eq!(told["is_what_serves"], true, "{told}");

    // A reload finds both as they were.
    assert!(proxy.reload().ok);
    assert_eq!(is(&proxy), "promoted");
    assert_eq!(self::told(&proxy)["compared"], 1);
}

#[test]
fn a_shadow_is_compared_with_the_version_that_was_fallen_back_to() {
    let origin = Origin::saying("body");
    let proxy = start(&origin, &named("one", "second", &[]));
    proven(&proxy);
    proxy.edit(&yaml(&origin, &named("bad", "third", &["trap"])));
    assert!(proxy.reload().ok);
    within("it has fallen back", || {
        proxy.get("/");
        (is(&proxy) == "fell-back").then_some(())
    });
    assert_eq!(proxy.get("/").header("x-version"), Some("one"));
    let expected = "response header `x-version`: 3 bytes; shadow: 5 bytes";
    let seen = |what: &str| {
        within(what, || {
            let samples = told(&proxy)["samples"].to_string();
            samples.contains(expected).then_some(())
        });
    };
    seen("it is compared with the good one");

    // So it is after a reload that goes back at once, and nothing is forgotten.
    assert!(proxy.reload().ok);
    assert_eq!(is(&proxy), "fell-back");
    seen("what was seen is still told");
}

#[test]
fn a_shadow_is_compared_with_a_version_that_was_kept() {
    let origin = Origin::saying("body");
    let mut entry = named("one", "second", &[]);
    entry["on_bad"] = json!("keep");
    let proxy = start(&origin, &entry);
    assert_eq!(proxy.get("/").status, 200);
    compared(&proxy, 1);
    entry["component"] = json!("./absent.wasm");
    proxy.edit(&yaml(&origin, &entry));
    let outcome = proxy.reload();
    assert!(outcome.ok, "{outcome:?}");
    assert_eq!(is(&proxy), "kept");
    assert_eq!(told(&proxy)["compared"], 1);
    assert_eq!(proxy.get("/").status, 200);
    compared(&proxy, 2);

    // The same where it is the checks that refuse it.
    entry["component"] = json!("./guest.wasm");
    entry["config"]["response"] = json!(["response.set x-version other"]);
    entry["checks"] = json!([{
        "name": "wants what it does not do",
        "expect": { "response": { "headers": { "x-version": "never" } } },
    }]);
    proxy.edit(&yaml(&origin, &entry));
    let outcome = proxy.reload();
    assert!(outcome.ok, "{outcome:?}");
    assert_eq!(is(&proxy), "kept");
    assert_eq!(told(&proxy)["compared"], 2);
}

#[test]
fn a_shadow_is_compared_with_the_last_good_version_after_a_start() {
    let origin = Origin::saying("body");
    let state = Proxy::folder();
    let of_state = |yaml: String| format!("state_dir: {}\n{yaml}", state.display());
    let folder = Proxy::folder();
    std::fs::write(folder.join("guest.wasm"), hostile::component()).unwrap();
    let entry = named("one", "second", &[]);
    let proxy = Proxy::start_in(folder, &of_state(yaml(&origin, &entry)));
    proven(&proxy);
    within("that is on record", || {
        let records = std::fs::read_to_string(state.join("filters.json")).ok()?;
        records.contains("\"good\": {").then_some(())
    });
    proxy.stop();

    let folder = Proxy::folder();
    std::fs::write(folder.join("shadow.wasm"), hostile::component()).unwrap();
    let mut entry = entry;
    entry["shadow"]["component"] = json!("./shadow.wasm");
    let proxy = Proxy::start_in(folder, &of_state(yaml(&origin, &entry)));
    assert_eq!(is(&proxy), "last-good");
    assert_eq!(proxy.get("/").header("x-version"), Some("one"));
    let told = compared(&proxy, 1);
    assert_eq!(told["differing"]["head"], 1, "{told}");
    std::fs::remove_dir_all(&state).unwrap();
}

const CHUNKED: &str = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\
    \r\n4\r\nbody\r\n0\r\nx-sum: 1\r\n\r\n";

/// An origin whose answers have trailers.
fn with_trailers() -> Origin {
    let answer = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n\
                  4\r\nbody\r\n0\r\nx-sum: 7\r\n\r\n";
    Origin::start(move |_| answer.as_bytes().to_vec())
}

/// What is told of one exchange that was compared, differences but for time.
fn of_one(proxy: &Proxy, request: &str) -> Value {
    let mut client = proxy.connect();
    client.send(request);
    assert_eq!(client.answer().status, 200);
    compared(proxy, 1)
}

#[track_caller]
fn is_alike(told: &Value) {
    for kind in ["verdict", "head", "answer", "decision"] {
        assert_eq!(told["differing"][kind], 0, "{told}");
    }
}

#[test]
fn trailers_are_compared_both_ways() {
    let origin = with_trailers();
    let phases = [
        "request",
        "request-trailers",
        "response",
        "response-trailers",
    ];
    let both = |request: &str, response: &str| {
        json!({
            "wants": { "phases": phases },
            "request_trailers": [request],
            "response_trailers": [response],
        })
    };
    let same = || both("trailers.set x-sum 2", "trailers.remove x-sum");
    let proxy = start(&origin, &shadowed(same(), same()));
    is_alike(&of_one(&proxy, CHUNKED));

    let other = both("trailers.set x-sum 12", "trailers.set x-more 1");
    let proxy = start(&origin, &shadowed(same(), other));
    let told = of_one(&proxy, CHUNKED);
    assert_eq!(told["differing"]["head"], 1, "{told}");
    let differences = told["samples"][0]["differences"].to_string();
    for expected in [
        "request-trailers: trailer `x-sum`: 1 bytes; shadow: 2 bytes",
        "response-trailers: trailer `x-sum`: none; shadow: 1 bytes",
        "response-trailers: trailer `x-more`: none; shadow: 1 bytes",
    ] {
        assert!(differences.contains(expected), "{expected} in {told}");
    }

    // Who does not want them left them as they were.
    let deaf = json!({ "wants": { "phases": ["request", "response"] } });
    let proxy = start(&origin, &shadowed(same(), deaf));
    let told = of_one(&proxy, CHUNKED);
    assert_eq!(told["differing"]["head"], 1, "{told}");
}

#[test]
fn bodies_that_pass_a_transform_are_told_to_be_not_compared() {
    let origin = Origin::saying("from the origin");
    let through = |name: &str| steps(&[&format!("transform {name}")], &["response.set x-a 1"]);
    let proxy = start(&origin, &shadowed(through("upper"), through("twice")));
    let told = of_one(&proxy, POST);
    is_alike(&told);
    assert_eq!(told["transforms_not_compared"], 1, "{told}");
    let counted = metric_sum(
        proxy.admin(),
        "lockgate_filter_shadow_transformed_total",
        "guest",
    );
    assert_eq!(counted, 1.0);

    // That one of them wants none is seen.
    let proxy = start(&origin, &shadowed(steps(&[], &[]), through("upper")));
    let told = of_one(&proxy, POST);
    assert_eq!(told["differing"]["verdict"], 1, "{told}");
    assert_eq!(told["transforms_not_compared"], 1, "{told}");
    let proxy = start(&origin, &shadowed(steps(&[], &[]), steps(&[], &[])));
    assert_eq!(of_one(&proxy, POST)["transforms_not_compared"], 0);
}

#[test]
fn a_shadow_has_an_instance_for_each_exchange_where_the_filter_has() {
    let origin = Origin::saying("body");
    // How often the instance was called so far.
    let calls = || steps(&["read.calls"], &["read.calls"]);
    let mut entry = shadowed(calls(), calls());
    entry["isolation"] = json!("request");
    let proxy = start(&origin, &entry);
    for _ in 0..5 {
        assert_eq!(proxy.get("/").status, 200);
    }
    is_alike(&compared(&proxy, 5));
}

#[test]
fn a_shadow_has_what_the_filter_has_for_routes() {
    let origin = Origin::saying("body");
    let routes: Vec<_> = ["off", "other", "same"]
        .iter()
        .map(|name| {
            json!({
                "name": name,
                "match": { "path_prefix": format!("/{name}") },
                "cluster": "o",
            })
        })
        .collect();
    let mut entry = shadowed(steps(&[], &[]), steps(&["attribute a b"], &[]));
    entry["component"] = json!("./guest.wasm");
    entry["routes"] = json!({
        "off": "off",
        "same": { "config": steps(&["attribute a c"], &[]) },
    });
    let filters = json!({
        "router": { "component": "lockgate:router", "config": { "routes": routes } },
        "guest": entry,
    });
    let yaml = format!(
        "admin: {{ address: '127.0.0.1:0' }}\n\
         listeners: [{{ name: web, address: '127.0.0.1:0', filters: [router, guest] }}]\n\
         filters: {filters}\nclusters: [{{ name: o, endpoints: ['{}'] }}]\n",
        origin.address
    );
    let folder = Proxy::folder();
    std::fs::write(folder.join("guest.wasm"), hostile::component()).unwrap();
    let proxy = Proxy::start_in(folder, &yaml);
    let told = |count| {
        within("so many exchanges are compared", || {
            let told = json(&get(proxy.admin(), "/filters"));
            let mut told = told.as_array().unwrap().iter();
            let guest = told.find(|told| told["name"] == "guest").unwrap();
            let told = guest["version"]["shadow"].clone();
            (told["compared"] == count).then_some(told)
        })
    };
    assert_eq!(proxy.get("/off").status, 200);
    assert_eq!(proxy.get("/same").status, 200);
    is_alike(&told(1));
    assert_eq!(proxy.get("/other").status, 200);
    let told = told(2);
    assert_eq!(told["differing"]["decision"], 1, "{told}");
    assert_eq!(told["samples"][0]["request"], "GET /other", "{told}");
    assert_eq!(told["skipped"], 0, "{told}");
}

#[test]
fn an_exchange_with_a_large_body_is_skipped_and_said_to_be() {
    let origin = Origin::saying("body");
    let collect = || steps(&["buffer 1000000"], &[]);
    let proxy = start(&origin, &shadowed(collect(), collect()));
    let post = |count: usize| {
        let head = format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {count}\r\n\r\n");
        let mut client = proxy.connect();
        client.send(head).send(vec![b'x'; count]);
        assert_eq!(client.answer().status, 200);
    };
    post(300 << 10);
    within("the large one is skipped", || {
        (told(&proxy)["skipped"] == 1).then_some(())
    });
    post(200 << 10);
    let told = compared(&proxy, 1);
    is_alike(&told);
    assert_eq!(told["skipped"], 1, "{told}");
}

#[test]
fn exchanges_that_a_canary_serves_are_not_compared() {
    let origin = Origin::saying("body");
    let mut entry = named("one", "second", &[]);
    let say = steps(&[], &["response.set x-version canary"]);
    entry["canary"] = json!({
        "component": "./guest.wasm",
        "config": say,
        "percent": 100,
        "sticky_by": "header:x-user",
    });
    let proxy = start(&origin, &entry);
    for _ in 0..3 {
        let answer = proxy.ask("/", &[("x-user", "somebody")]);
        assert_eq!(answer.header("x-version"), Some("canary"));
    }
    assert_eq!(proxy.get("/").header("x-version"), Some("one"));
    let told = compared(&proxy, 1);
    assert_eq!(told["compared"], 1, "{told}");
    assert_eq!(told["skipped"], 0, "{told}");
    let filter = json(&get(proxy.admin(), "/filters"))[0].clone();
    let generations = &filter["generations"];
    let digest = filter["digest"].as_str().unwrap();
    assert!(
        digest.starts_with(generations[0].as_str().unwrap()),
        "{filter}"
    );
    for (index, ending) in [(1, "+canary"), (2, "+shadow")] {
        assert!(
            generations[index].as_str().unwrap().ends_with(ending),
            "{filter}"
        );
    }

    // Without the canary, everybody is served by what the shadow is compared with.
    let path = "/filters/guest/abort";
    let aborted = ask(proxy.admin(), "POST", path, &[("host", "localhost")]);
    assert_eq!(aborted.status, 200, "{aborted:?}");
    assert_eq!(self::told(&proxy)["compared"], 1);
    let filter = json(&get(proxy.admin(), "/filters"))[0].clone();
    assert_eq!(
        filter["generations"].as_array().unwrap().len(),
        2,
        "{filter}"
    );
    let answer = proxy.ask("/", &[("x-user", "somebody")]);
    assert_eq!(answer.header("x-version"), Some("one"));
    compared(&proxy, 2);
}
