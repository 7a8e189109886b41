//! Jobs of filters, over sockets: run before their configuration is published and
//! then again and again, under limits, at nobody's cost, and for no longer than
//! their filter lives.

#[path = "guests/component.rs"]
mod guests;
mod support;

use std::io::{BufReader, Write};

use serde_json::{Value, json};
use support::admin::{get, json as read, metric_sum};
use support::filtered::{check, warned};
use support::{Origin, Proxy, read_request, within};

/// The filter `job` answers everything; its job calls `asked`.
fn policy(asked: &str, entry: &Value, rest: &str) -> String {
    let mut filter = json!({
        "component": "./job.wasm",
        "grants": { "call": ["asked"], "shared": true },
    });
    let given = entry.as_object().unwrap().clone();
    filter.as_object_mut().unwrap().extend(given);
    format!(
        "workers: 1\nadmin: {{ address: '127.0.0.1:0' }}\n\
         listeners: [{{ name: web, address: '127.0.0.1:0', filters: [job] }}]\n\
         clusters: [{{ name: asked, endpoints: ['{asked}'] }}]\n\
         filters: {}\n{rest}",
        json!({ "job": filter })
    )
}

fn start(asked: &Origin, entry: Value) -> Proxy {
    Proxy::start_in(folder(), &policy(&asked.address.to_string(), &entry, ""))
}

fn folder() -> std::path::PathBuf {
    let folder = Proxy::folder();
    std::fs::write(folder.join("job.wasm"), guests::job()).unwrap();
    folder
}

/// A job of these runs.
fn runs(runs: &[&[&str]]) -> Value {
    json!({ "config": { "name": "a", "runs": runs } })
}

/// What is shared by this key.
fn shared(proxy: &Proxy, key: &str) -> Option<Vec<u8>> {
    let answer = proxy.get(&format!("/{}", key.replace(' ', "+")));
    (answer.status == 200).then_some(answer.body)
}

fn told(proxy: &Proxy) -> Option<String> {
    shared(proxy, "told").map(|told| String::from_utf8(told).unwrap())
}

/// How often a job of this name began to run.
fn begun(proxy: &Proxy, name: &str) -> i64 {
    let count = shared(proxy, &format!("runs {name}"));
    count.map_or(0, |count| i64::from_le_bytes(count.try_into().unwrap()))
}

fn metric(proxy: &Proxy, name: &str, label: &str) -> f64 {
    metric_sum(proxy.admin(), name, label)
}

fn faults(proxy: &Proxy, fault: &str) -> f64 {
    let label = format!("fault=\"{fault}\"");
    metric(proxy, "lockgate_filter_job_faults_total", &label)
}

/// The only job, as `/filters` shows it.
fn shown(proxy: &Proxy) -> Value {
    read(&get(proxy.admin(), "/filters"))[0]["jobs"][0].clone()
}

#[test]
fn a_job_has_run_when_its_configuration_is_published() {
    let asked = Origin::saying("hello");
    let proxy = start(&asked, runs(&[&["call /keys", "count", "log a line"]]));
    assert_eq!(told(&proxy).as_deref(), Some("200 hello"));
    let seen = asked.seen();
    assert_eq!(seen.line, "GET /keys HTTP/1.1");
    assert_eq!(seen.header("host"), Some("asked"));
    let count = |name| metric(&proxy, name, "config=\"/filters/job/config\"");
    assert_eq!(count("lockgate_filter_job_runs_total"), 1.0);
    assert!(count("lockgate_filter_job_last_success_time_seconds") > 1e9);
    assert!(count("lockgate_filter_job_cpu_seconds_total") > 0.0);
    assert_eq!(metric(&proxy, "lockgate_guest_worked_total", ""), 1.0);
    // Its calls count as all calls do.
    let requests = metric(&proxy, "lockgate_cluster_requests_total", "asked");
    assert_eq!(requests, 1.0);
    assert!(metric(&proxy, "lockgate_filter_log_lines_dropped_total", "") > 0.0);
    let shown = shown(&proxy);
    assert_eq!(shown["at"], "/filters/job/config");
    assert_eq!(shown["state"], "resting");
    assert_eq!(
        (&shown["runs"], &shown["last_error"]),
        (&json!(1), &Value::Null)
    );
    assert!(shown["next_run"].as_f64() > shown["last_run"].as_f64());
}

#[test]
fn a_first_run_that_fails_holds_nothing_up_and_is_tried_again() {
    let asked = Origin::saying("hello");
    let good = ["set told late", "call /late"];
    let entry = runs(&[&["fail no luck"], &["fail once more"], &good]);
    let proxy = start(&asked, entry);
    within("the job is tried again", || {
        (told(&proxy)? == "200 hello").then_some(())
    });
    within("its success is told", || {
        (shown(&proxy)["last_error"] == Value::Null).then_some(())
    });
    assert_eq!(faults(&proxy, "error"), 2.0);
    assert_eq!(begun(&proxy, "a"), 3);
}

#[test]
fn a_reload_tells_of_a_first_run_that_fails_and_keeps_what_was_shared() {
    let asked = Origin::saying("hello");
    let address = asked.address.to_string();
    let proxy = start(&asked, runs(&[&["call /"]]));
    let warnings = warned(&proxy, |attempt| {
        let name = format!("b{attempt}");
        let entry = json!({ "config": { "name": name, "runs": [["fail no luck"]] } });
        policy(&address, &entry, "")
    });
    assert!(
        warnings.contains("`/filters/job/config` error: no luck"),
        "{warnings}"
    );
    assert_eq!(told(&proxy).as_deref(), Some("200 hello"));
    assert!(
        shown(&proxy)["last_error"]
            .as_str()
            .unwrap()
            .contains("no luck")
    );
    let warnings = warned(&proxy, |attempt| {
        let entry = json!({ "config": { "name": format!("c{attempt}"), "refused": true } });
        policy(&address, &entry, "")
    });
    assert!(warnings.contains("create: not this one"), "{warnings}");
    assert!(faults(&proxy, "create") >= 1.0);
}

#[test]
fn a_first_run_is_waited_for_no_longer_than_its_limit() {
    let (asked, release) = Origin::holding("hello");
    let mut entry = runs(&[&["call /held"]]);
    entry["limits"] = json!({ "first_run": "1ms" });
    let proxy = start(&asked, entry);
    assert_eq!(told(&proxy), None);
    assert_eq!(shown(&proxy)["state"], "running");
    release.send(()).unwrap();
    within("the run is over", || told(&proxy));
}

/// What a job does, what its limits are, and the fault that it is.
const BAD: [(&str, &str, &str); 6] = [
    ("loop", "job_cpu", "overrun"),
    ("clutter", "job_cpu", "overrun"),
    ("trap", "", "trap"),
    ("allocate", "", "memory"),
    ("call /held", "job_time", "late"),
    ("fail as told", "", "error"),
];

#[test]
fn every_bad_run_has_a_name_and_costs_nobody_else() {
    for (step, limit, fault) in BAD {
        let (asked, _release) = Origin::holding("hello");
        let mut entry = runs(&[&[step]]);
        entry["limits"] = json!({ "first_run": "0s", "memory": "8MiB" });
        if !limit.is_empty() {
            entry["limits"][limit] = json!("50ms");
        }
        let proxy = start(&asked, entry);
        within(step, || {
            assert_eq!(proxy.get("/none").status, 404);
            (faults(&proxy, fault) >= 2.0).then_some(())
        });
        let all = metric(&proxy, "lockgate_filter_job_faults_total", "");
        let runs = metric(&proxy, "lockgate_filter_job_runs_total", "");
        assert_eq!((all, faults(&proxy, fault)), (runs, runs), "{step}");
        let faults = metric(&proxy, "lockgate_filter_faults_total", "");
        assert_eq!(faults, 0.0, "the filter itself is blameless");
        let error = shown(&proxy)["last_error"].to_string();
        assert!(error.contains(fault), "{error}");
        if fault == "overrun" {
            let cpu = metric(&proxy, "lockgate_filter_job_cpu_seconds_total", "");
            assert!(cpu >= 0.05 * runs, "{cpu} in {runs} runs");
        }
    }
}

#[test]
fn a_job_that_works_long_lets_others_run() {
    let asked = Origin::saying("hello");
    let both = |long: &str| {
        let filters = json!({
            "job": {
                "component": "./job.wasm", "grants": { "call": ["asked"], "shared": true },
                "config": { "runs": [["call /"]] },
            },
            "long": {
                "component": "./job.wasm", "grants": { "call": ["asked"], "shared": true },
                "limits": { "first_run": "0s", "job_cpu": "60s", "job_time": "10m" },
                "config": { "runs": [[long]] },
            },
        });
        let yaml = policy(&asked.address.to_string(), &json!({}), "");
        let before = yaml.split("filters: {").next().unwrap().to_owned();
        format!("{before}filters: {filters}\n")
    };
    let proxy = Proxy::start_in(folder(), &both("loop"));
    assert_eq!(told(&proxy).as_deref(), Some("200 hello"));
    let jobs = read(&get(proxy.admin(), "/filters"));
    assert_eq!(jobs[1]["jobs"][0]["state"], "running");
    // Its end is not waited for, neither in a reload nor in a drain.
    proxy.edit(&both("loop ").replace("10m", "9m"));
    assert!(proxy.reload().ok);
}

#[test]
fn a_job_that_wants_no_rest_has_some() {
    let asked = Origin::saying("hello");
    let proxy = start(&asked, runs(&[&["rest 0"]]));
    within("it runs again", || (begun(&proxy, "a") >= 3).then_some(()));
    let rest = within("it rests", || {
        let shown = shown(&proxy);
        Some(shown["next_run"].as_f64()? - shown["last_run"].as_f64()?)
    });
    assert!(rest >= 0.1, "{rest}");
}

#[test]
fn a_job_may_rest_for_good() {
    let asked = Origin::saying("hello");
    let address = asked.address.to_string();
    let proxy = start(&asked, runs(&[&["done"]]));
    assert_eq!(shown(&proxy)["state"], "done");
    assert_eq!(shown(&proxy)["next_run"], Value::Null);
    // Its filter is carried over, and it with it.
    proxy.edit(&policy(
        &address,
        &runs(&[&["done"]]),
        "drain_timeout: 2s\n",
    ));
    assert!(proxy.reload().ok);
    assert_eq!((&shown(&proxy)["runs"], begun(&proxy, "a")), (&json!(1), 1));
    // Until its configuration changes.
    proxy.edit(&policy(&address, &runs(&[&[], &["set told again"]]), ""));
    assert!(proxy.reload().ok);
    assert_eq!(told(&proxy).as_deref(), Some("again"));
}

#[test]
fn a_job_outlives_a_reload_of_others_and_calls_the_clusters_of_today() {
    let (first, second) = (Origin::saying("first"), Origin::saying("second"));
    let entry = runs(&[&["call /", "rest 100"]]);
    let proxy = start(&first, entry.clone());
    assert_eq!(told(&proxy).as_deref(), Some("200 first"));
    let before = shown(&proxy)["runs"].as_u64();
    proxy.edit(&policy(&second.address.to_string(), &entry, ""));
    assert!(proxy.reload().ok);
    within("the job calls the new address", || {
        (told(&proxy)? == "200 second").then_some(())
    });
    assert!(shown(&proxy)["runs"].as_u64() >= before);
    // A generation is not kept by its jobs.
    within("the old generation ends", || {
        (support::admin::live(&proxy) == 1).then_some(())
    });
}

#[test]
fn a_job_ends_with_its_filter() {
    let asked = Origin::saying("hello");
    let address = asked.address.to_string();
    let named = |name: &str| json!({ "config": { "name": name, "runs": [["rest 100"]] } });
    let proxy = start(&asked, named("a"));
    proxy.edit(&policy(&address, &named("b"), ""));
    assert!(proxy.reload().ok);
    within("the new job runs", || {
        (begun(&proxy, "b") >= 2).then_some(())
    });
    let (old, new) = (begun(&proxy, "a"), begun(&proxy, "b"));
    within("the new job goes on", || {
        (begun(&proxy, "b") >= new + 3).then_some(())
    });
    assert_eq!(begun(&proxy, "a"), old);
}

#[test]
fn each_configuration_has_a_job() {
    let asked = Origin::saying("hello");
    let mut entry = runs(&[&["rest 3600000"]]);
    entry["routes"] = json!({ "a": { "config": { "name": "b", "runs": [["done"]] } } });
    // The same component declares the route, under another name.
    let yaml = policy(&asked.address.to_string(), &entry, "")
        .replace("filters: [job]", "filters: [namer, job]")
        .replace(
            "filters: {",
            "filters: { \"namer\": { \"component\": \"./job.wasm\", \"grants\": \
             { \"call\": [\"asked\"], \"shared\": true } },",
        );
    let proxy = Proxy::start_in(folder(), &yaml);
    let filters = read(&get(proxy.admin(), "/filters"));
    let job = filters.as_array().unwrap().iter();
    let job = job.clone().find(|filter| filter["name"] == "job").unwrap();
    let jobs = job["jobs"].as_array().unwrap();
    let told: Vec<_> = jobs.iter().map(|job| (&job["at"], &job["state"])).collect();
    let expected = [
        (&json!("/filters/job/config"), &json!("resting")),
        (&json!("/filters/job/routes/a/config"), &json!("done")),
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_job_sees_no_exchange_and_cannot_change_one() {
    let asked = Origin::saying("hello");
    let proxy = start(&asked, runs(&[&["exchange"]]));
    let late = "Err(HeadError::TooLate)";
    let route = "Err(RouteError::TooLate)";
    let expected = [
        "GET /",
        "None",
        late,
        late,
        "0",
        "None",
        late,
        "None",
        late,
        "None",
        "Some(\"\")",
        "0",
        route,
        route,
        route,
        "0.0.0.0",
        "Err(SecretError::Denied)",
    ];
    assert_eq!(told(&proxy), Some(expected.join("; ")));
}

#[test]
fn a_job_has_the_secrets_of_its_filter() {
    let asked = Origin::saying("hello");
    let address = asked.address.to_string();
    let mut entry = runs(&[&["secret token", "rest 3600000"]]);
    let secrets = "secrets: [{ name: token, value: 'a token' }]\n";
    entry["grants"] = json!({ "call": ["asked"], "shared": true, "reveal": ["token"] });
    let proxy = Proxy::start_in(folder(), &policy(&address, &entry, secrets));
    assert_eq!(
        told(&proxy).as_deref(),
        Some("Ok(true) Ok(32) Ok(\"a token\")")
    );
}

#[test]
fn calls_of_a_job_are_limited_like_all_others() {
    let asked = Origin::saying("hello");
    let mut entry = runs(&[&["calls /"]]);
    entry["limits"] = json!({ "max_calls": 3 });
    let proxy = start(&asked, entry);
    let told = told(&proxy).unwrap();
    assert!(
        told.contains("as many calls are under way as may be"),
        "{told}"
    );
    assert!(told.ends_with("answered"), "{told}");
    let calls = metric(&proxy, "lockgate_cluster_requests_total", "asked");
    assert_eq!(calls, 3.0);
}

#[test]
fn a_job_is_ended_in_the_middle_of_a_call() {
    let closed = std::sync::Mutex::new(None);
    let (sender, receiver) = std::sync::mpsc::channel();
    *closed.lock().unwrap() = Some(sender);
    let asked = Origin::scripted(move |mut stream, seen| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let Some(request) = read_request(&mut reader) else {
            return;
        };
        seen.send(request).ok();
        // Nothing more comes until the proxy closes.
        assert!(read_request(&mut reader).is_none());
        stream.write_all(b"late").ok();
        if let Some(sender) = closed.lock().unwrap().take() {
            sender.send(()).ok();
        }
    });
    let mut entry = runs(&[&["call /"]]);
    entry["limits"] = json!({ "first_run": "0s" });
    let proxy = start(&asked, entry);
    asked.seen();
    proxy.stop();
    receiver.recv_timeout(support::LIMIT).unwrap();
}

#[test]
fn a_check_runs_no_job() {
    let asked = Origin::saying("hello");
    let checked = check(
        &folder(),
        &policy(&asked.address.to_string(), &runs(&[&["call /"]]), ""),
    );
    assert_eq!(checked.code, 0, "{}", checked.text);
    assert!(asked.seen_now().is_none());
}
