//! Versions of filters while clients go on asking: one that fails, one that is slow, and
//! one whose job does not come to its end.

#[path = "support/hostile.rs"]
mod hostile;
mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::admin::{get, json as read, metric_sum};
use support::{Client, Origin, Proxy, within};

const CLIENTS: usize = 4;

/// A folder for what outlives a process, removed at the end.
struct State(PathBuf);

impl Drop for State {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

fn yaml(state: &Path, cluster: &str, guest: &Value, others: &[(&str, &Origin)]) -> String {
    let clusters = others
        .iter()
        .map(|(name, origin)| json!({ "name": name, "endpoints": [origin.address.to_string()] }));
    format!(
        "workers: 2\nstate_dir: {}\nadmin: {{ address: '127.0.0.1:0' }}\n\
         listeners: [{{ name: web, address: '127.0.0.1:0', filters: [guest] {cluster} }}]\n\
         filters: {}\nclusters: {}\n",
        state.display(),
        json!({ "guest": guest }),
        Value::Array(clusters.collect())
    )
}

/// Names its version in the answer, after these steps.
fn version(name: &str, steps: &[&str]) -> Value {
    json!({
        "component": "./guest.wasm",
        "probation": { "time": "1ms", "min_calls": 2, "min_faults": 3 },
        "config": {
            "wants": { "phases": ["request", "response"] },
            "request": steps,
            "response": [format!("response.set x-version {name}")],
        },
    })
}

fn told(proxy: &Proxy) -> Value {
    read(&get(proxy.admin(), "/filters"))[0]["version"].clone()
}

/// Waits until the version that serves is on record as good.
fn proven(proxy: &Proxy, state: &Path) {
    within("the version counts as good", || {
        proxy.get("/");
        let records = std::fs::read_to_string(state.join("filters.json")).ok()?;
        let records: Value = serde_json::from_str(&records).ok()?;
        (!records["filters"]["guest"]["good"].is_null()).then_some(())
    });
}

fn start(yaml: &str) -> Proxy {
    let folder = Proxy::folder();
    std::fs::write(folder.join("guest.wasm"), hostile::component()).unwrap();
    Proxy::start_in(folder, yaml)
}

#[test]
fn a_version_that_fails_under_load_is_replaced_and_costs_its_faults_alone() {
    let (origin, state) = (Origin::saying("body"), State(Proxy::folder()));
    let policy = |guest: &Value| yaml(&state.0, ", cluster: o", guest, &[("o", &origin)]);
    let proxy = start(&policy(&version("one", &[])));
    proven(&proxy, &state.0);
    let is_over = AtomicBool::new(false);
    let (good, lost) = (AtomicU64::new(0), AtomicU64::new(0));
    let address = proxy.address();
    let ask = || {
        while !is_over.load(Relaxed) {
            let mut client = Client::connect(address);
            let answer = client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").answer();
            match answer.status {
                // A request that is not answered at all panics.
                200 => assert_eq!(answer.header("x-version"), Some("one")),
                status => assert_eq!((status, &*answer.text()), (500, "a filter failed\n")),
            }
            let count = if answer.status == 200 { &good } else { &lost };
            count.fetch_add(1, Relaxed);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(ask);
        }
        proxy.edit(&policy(&version("two", &["trap"])));
        assert!(proxy.reload().ok);
        let until = Instant::now() + Duration::from_secs(1);
        let has_fallen = || told(&proxy)["is"] == "fell-back";
        let in_time = std::iter::repeat_with(has_fallen)
            .take_while(|_| Instant::now() < until)
            .any(|has| has);
        let after = good.load(Relaxed);
        within("they are served again", || {
            (good.load(Relaxed) > after + 100).then_some(())
        });
        is_over.store(true, Relaxed);
        assert!(in_time, "the bad version serves on");
    });
    let lost = lost.load(Relaxed);
    assert!(lost >= 3, "only {lost} were lost");
    let faults = metric_sum(proxy.admin(), "lockgate_filter_faults_total", "trap");
    assert_eq!(lost as f64, faults);
}

#[test]
fn a_canary_that_takes_longer_is_given_up() {
    let (origin, state) = (Origin::saying("body"), State(Proxy::folder()));
    let mut guest = version("one", &[]);
    guest["limits"] = json!({ "cpu": "1s" });
    let slow = version("two", &["busy 20000000"]);
    guest["canary"] = json!({
        "component": "./guest.wasm", "config": slow["config"],
        "percent": 50, "sticky_by": "chance",
        "abort_on": { "min_calls": 30, "fault_percent": 100, "added_latency": "1ms" },
    });
    let proxy = start(&yaml(&state.0, ", cluster: o", &guest, &[("o", &origin)]));
    within("the canary is given up", || {
        assert_eq!(proxy.get("/").status, 200);
        (told(&proxy)["is"] == "aborted").then_some(())
    });
    let why = told(&proxy)["differs_from_file"].to_string();
    assert!(
        why.contains("a call takes") && why.contains("without the canary"),
        "{why}"
    );
    for _ in 0..20 {
        assert_eq!(proxy.get("/").header("x-version"), Some("one"));
    }
}

/// What serves for long has hardly a call in a hundred measured.
#[test]
fn a_canary_that_takes_as_long_is_none_that_takes_longer() {
    let (origin, state) = (Origin::saying("body"), State(Proxy::folder()));
    let busy = |name: &str| {
        let mut guest = version(name, &["busy 6000000"]);
        guest["limits"] = json!({ "cpu": "1s" });
        guest
    };
    let mut guest = busy("one");
    let policy = |guest: &Value| yaml(&state.0, ", cluster: o", guest, &[("o", &origin)]);
    let proxy = start(&policy(&guest));
    for _ in 0..200 {
        assert_eq!(proxy.get("/").header("x-version"), Some("one"));
    }
    guest["canary"] = json!({
        "component": "./guest.wasm", "config": busy("two")["config"],
        "percent": 50, "sticky_by": "chance",
        // Less than a call takes, and more than two differ by.
        "abort_on": { "min_calls": 20, "fault_percent": 100, "added_latency": "1ms" },
    });
    proxy.edit(&policy(&guest));
    assert!(proxy.reload().ok);
    let mut tried = 0;
    within("the canary has been judged", || {
        let answer = proxy.get("/");
        tried += usize::from(answer.header("x-version") == Some("two"));
        (tried == 60).then_some(())
    });
    assert_eq!(told(&proxy)["is"], "file");
}

#[test]
fn nobody_waits_for_the_job_of_a_version_that_serves_again() {
    let silent = Origin::scripted(|mut stream, seen| {
        seen.send(support::Seen::named("a call")).ok();
        std::io::copy(&mut stream, &mut std::io::sink()).ok();
    });
    let state = State(Proxy::folder());
    let policy = |guest: &Value| yaml(&state.0, "", guest, &[("asked", &silent)]);
    // Its first run comes to an end, and no later one.
    let grants = json!({ "call": ["asked"], "shared": true });
    let limits = json!({ "first_run": "1m", "call_timeout": "1h", "job_time": "1h" });
    let job = json!({
        "component": "./job.wasm", "grants": grants, "limits": limits,
        "probation": { "time": "0s" },
        "config": { "name": "a", "runs": [["done"], ["call /"]] },
    });
    let folder = Proxy::folder();
    std::fs::write(folder.join("job.wasm"), hostile::job()).unwrap();
    std::fs::write(folder.join("guest.wasm"), hostile::component()).unwrap();
    let proxy = Proxy::start_in(folder, &policy(&job));
    assert_eq!(proxy.get("/runs+a").status, 200);
    let mut bad = version("two", &["trap"]);
    bad["grants"] = grants;
    proxy.edit(&policy(&bad));
    assert!(proxy.reload().ok);
    within("the version with the job serves again", || {
        (proxy.get("/runs+a").status != 500).then_some(())
    });
    assert_eq!(silent.seen().line, "a call");

    // The job waits for an hour, and a start or a reload would wait for it for a minute.
    let mut control = TcpStream::connect(proxy.admin()).unwrap();
    control
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let asked = b"POST /filters/guest/promote HTTP/1.1\r\nhost: localhost\r\n\r\n";
    control.write_all(asked).unwrap();
    let mut answer = [0; 12];
    control.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 422");
    assert_eq!(
        read(&get(proxy.admin(), "/filters"))[0]["jobs"][0]["state"],
        "running"
    );
}
