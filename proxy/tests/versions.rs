//! Versions of filters: what happens to one that is bad, or turns out to be.

#[path = "support/hostile.rs"]
mod hostile;
mod support;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use support::admin::{ask, get, json, metric_sum};
use support::{Client, Origin, Process, Proxy, within};

/// A folder for what outlives a process, removed at the end.
struct State(PathBuf);

impl State {
    fn new() -> Self {
        Self(Proxy::folder())
    }
}

impl Drop for State {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// One filter `guest` with this entry beside its component, in front of an origin.
fn yaml(origin: &Origin, state: &State, entry: &Value) -> String {
    let mut filter = json!({ "component": "./guest.wasm" });
    let given = entry.as_object().unwrap().clone();
    filter.as_object_mut().unwrap().extend(given);
    format!(
        "state_dir: {}\nadmin: {{ address: '127.0.0.1:0' }}\n\
         listeners: [{{ name: web, address: '127.0.0.1:0', cluster: o, filters: [guest] }}]\n\
         filters: {}\nclusters: [{{ name: o, endpoints: ['{}'] }}]\n",
        state.0.display(),
        json!({ "guest": filter }),
        origin.address
    )
}

/// An entry whose filter names its version in the answer, after these steps.
fn version(name: &str, steps: &[&str]) -> Value {
    let named = format!("response.set x-version {name}");
    json!({
        "probation": { "time": "1ms", "min_calls": 2, "min_faults": 3 },
        "config": {
            "wants": { "phases": ["request", "response"] },
            "request": steps,
            "response": [named],
        },
    })
}

fn keeping(name: &str) -> Value {
    let mut entry = version(name, &[]);
    entry["on_bad"] = json!("keep");
    entry
}

fn put_guest(folder: &Path) {
    std::fs::write(folder.join("guest.wasm"), hostile::component()).unwrap();
}

/// A folder whose component is none.
fn with_broken_guest() -> PathBuf {
    let folder = Proxy::folder();
    std::fs::write(folder.join("guest.wasm"), b"broken").unwrap();
    folder
}

fn start(origin: &Origin, state: &State, entry: &Value) -> Proxy {
    let folder = Proxy::folder();
    put_guest(&folder);
    Proxy::start_in(folder, &yaml(origin, state, entry))
}

/// What `/filters` tells of the filter.
fn told(proxy: &Proxy) -> Value {
    json(&get(proxy.admin(), "/filters"))[0]["version"].clone()
}

/// What `/metrics` tells of it.
fn is_counted(proxy: &Proxy) -> Vec<String> {
    let metrics = get(proxy.admin(), "/metrics").text();
    let is = |line: &str| {
        let is = line.strip_prefix("lockgate_filter_version{filter=\"guest\",is=\"")?;
        is.strip_suffix("\"} 1").map(str::to_owned)
    };
    metrics.lines().filter_map(is).collect()
}

fn version_of(proxy: &Proxy) -> Option<String> {
    let answer = proxy.get("/");
    answer.header("x-version").map(str::to_owned)
}

/// Waits until the version that serves is on record as good.
fn proven(proxy: &Proxy, state: &State) {
    let records = state.0.join("filters.json");
    let wanted = json(&get(proxy.admin(), "/config"))["filters"]["guest"]["config"].clone();
    within("the version counts as good", || {
        assert_eq!(proxy.get("/").status, 200);
        let records: Value = serde_json::from_slice(&std::fs::read(&records).ok()?).ok()?;
        let good = &records["filters"]["guest"]["good"]["block"]["config"]["value"];
        (*good == wanted).then_some(())
    });
}

#[test]
fn a_filter_that_cannot_be_built_stays_as_it_is_when_the_file_says_so() {
    let (origin, state) = (Origin::saying("body"), State::new());
    let proxy = start(&origin, &state, &keeping("one"));
    assert_eq!(version_of(&proxy).as_deref(), Some("one"));
    std::fs::write(proxy.path().join("guest.wasm"), b"\0asm no component").unwrap();
    // The rest of the file is loaded all the same.
    let more = yaml(&origin, &state, &keeping("two"))
        .replace("name: web", "name: web, limits: { max_headers: 77 }");
    proxy.edit(&more);
    let outcome = proxy.reload();
    assert!(outcome.ok, "{outcome:?}");
    let warnings = outcome.warnings.join("\n");
    assert!(warnings.contains("guest.wasm"), "{warnings}");
    assert!(
        warnings.contains("filter `guest` stays at the version that ran"),
        "{warnings}"
    );
    assert_eq!(version_of(&proxy).as_deref(), Some("one"));
    let told = told(&proxy);
    assert_eq!(told["is"], "kept");
    assert!(
        told["differs_from_file"][0]
            .as_str()
            .unwrap()
            .contains("guest.wasm"),
        "{told}"
    );

    put_guest(proxy.path());
    assert!(proxy.reload().ok);
    assert_eq!(version_of(&proxy).as_deref(), Some("two"));
    assert_eq!(self::told(&proxy)["is"], "file");
}

#[test]
fn without_that_the_reload_is_refused() {
    let (origin, state) = (Origin::saying("body"), State::new());
    let proxy = start(&origin, &state, &version("one", &[]));
    std::fs::write(proxy.path().join("guest.wasm"), b"\0asm no component").unwrap();
    let outcome = proxy.reload();
    assert!(!outcome.ok);
    assert_eq!(version_of(&proxy).as_deref(), Some("one"));
}

#[test]
fn a_version_that_fails_is_replaced_by_the_last_good_one_and_not_tried_again() {
    let (origin, state) = (Origin::saying("body"), State::new());
    let proxy = start(&origin, &state, &version("one", &[]));
    proven(&proxy, &state);
    proxy.edit(&yaml(&origin, &state, &version("two", &["trap"])));
    assert!(proxy.reload().ok);
    // What its faults cost is what `on_error` says; then nothing any more.
    let mut lost = 0;
    within("the last good version serves", || match proxy.get("/") {
        answer if answer.status == 200 => {
            assert_eq!(answer.header("x-version"), Some("one"));
            Some(())
        }
        answer => {
            assert_eq!(answer.status, 500);
            lost += 1;
            None
        }
    });
    assert!(lost >= 3, "only {lost} were lost");
    for _ in 0..50 {
        assert_eq!(version_of(&proxy).as_deref(), Some("one"));
    }
    let told = told(&proxy);
    assert_eq!(told["is"], "fell-back");
    assert!(
        told["differs_from_file"][0]
            .as_str()
            .unwrap()
            .contains("calls failed"),
        "{told}"
    );

    let faults = || metric_sum(proxy.admin(), "lockgate_filter_faults_total", "trap");
    let before = faults();
    let outcome = proxy.reload();
    assert!(outcome.ok, "{outcome:?}");
    assert!(
        outcome
            .warnings
            .join("\n")
            .contains("failed on its probation"),
        "{outcome:?}"
    );
    assert_eq!(version_of(&proxy).as_deref(), Some("one"));
    assert_eq!(faults(), before);

    // Another configuration is another version.
    proxy.edit(&yaml(&origin, &state, &version("three", &[])));
    assert!(proxy.reload().ok);
    assert_eq!(version_of(&proxy).as_deref(), Some("three"));
    assert_eq!(self::told(&proxy)["is"], "file");
}

#[test]
fn a_version_that_failed_is_known_after_a_restart_too() {
    let (origin, state) = (Origin::saying("body"), State::new());
    let proxy = start(&origin, &state, &version("one", &[]));
    proven(&proxy, &state);
    let bad = version("two", &["error no"]);
    proxy.edit(&yaml(&origin, &state, &bad));
    assert!(proxy.reload().ok);
    within("the last good version serves", || {
        (proxy.get("/").status == 200).then_some(())
    });
    let records = state.0.join("filters.json");
    within("that is on record", || {
        let records = std::fs::read_to_string(&records).unwrap();
        records.contains("calls failed").then_some(())
    });
    proxy.stop();
    // What the file says is known to be bad, so a strict start is none.
    let folder = Proxy::folder();
    put_guest(&folder);
    let file = support::process::write_in(&folder, &yaml(&origin, &state, &bad));
    let output = support::process::run(&["run", "--strict", "--config", &file]);
    assert_eq!(output.status.code(), Some(2));
    let told_by_it = String::from_utf8(output.stderr).unwrap();
    for part in [
        "lockgate.yaml:8:19: found a version that failed on its probation: ",
        "wanted another component or another configuration",
    ] {
        assert!(told_by_it.contains(part), "{told_by_it}");
    }
    std::fs::remove_dir_all(folder).ok();

    let proxy = start(&origin, &state, &bad);
    assert_eq!(version_of(&proxy).as_deref(), Some("one"));
    assert_eq!(told(&proxy)["is"], "fell-back");
}

#[test]
fn a_start_with_a_broken_component_is_a_start_with_the_last_good_one() {
    let (origin, state) = (Origin::saying("body"), State::new());
    let proxy = start(&origin, &state, &version("one", &[]));
    proven(&proxy, &state);
    proxy.stop();
    let folder = with_broken_guest();
    let proxy = Proxy::start_in(folder, &yaml(&origin, &state, &version("two", &[])));
    assert_eq!(version_of(&proxy).as_deref(), Some("one"));
    let told = told(&proxy);
    assert_eq!(told["is"], "last-good");
    assert_eq!(is_counted(&proxy), ["last-good"]);
    assert!(
        told["differs_from_file"][0]
            .as_str()
            .unwrap()
            .contains("guest.wasm"),
        "{told}"
    );
    // Mended, it is what the file says again.
    put_guest(proxy.path());
    assert!(proxy.reload().ok);
    assert_eq!(version_of(&proxy).as_deref(), Some("two"));
    assert_eq!(is_counted(&proxy), ["file"]);
}

#[test]
fn a_start_that_is_not_what_the_file_says_is_told_in_the_log() {
    let (origin, state) = (Origin::saying("body"), State::new());
    let proxy = start(&origin, &state, &version("one", &[]));
    proven(&proxy, &state);
    proxy.stop();
    let folder = with_broken_guest();
    let process = Process::start_in(folder, &yaml(&origin, &state, &version("two", &[])));
    let line = process.logged("degraded: filter `guest` starts with its last good version");
    assert!(
        line.contains("ERROR") && line.contains("guest.wasm"),
        "{line}"
    );
}

#[test]
fn a_start_without_a_canary_that_was_given_up_is_no_failure() {
    let (origin, state) = (Origin::saying("body"), State::new());
    let entry = with_canary(&version("two", &[]), &json!({ "percent": 0 }));
    let proxy = start_trial(&origin, &state, &entry);
    assert_eq!(decide(&proxy, "abort").0, 200);
    let records = state.0.join("filters.json");
    within("that is on record", || {
        let records = std::fs::read_to_string(&records).ok()?;
        records.contains("aborted").then_some(())
    });
    proxy.stop();
    let process = Process::start_in(trial_folder(), &yaml(&origin, &state, &entry));
    let line = process.logged("filter `guest` runs without its canary, which was given up");
    assert!(
        line.contains("INFO") && !line.contains("degraded"),
        "{line}"
    );
}

#[test]
fn a_refused_component_is_not_kept() {
    let (origin, state) = (Origin::saying("body"), State::new());
    let proxy = start(&origin, &state, &version("one", &[]));
    proven(&proxy, &state);
    let kept = || {
        std::fs::read_dir(state.0.join("components"))
            .unwrap()
            .count()
    };
    assert_eq!(kept(), 1);
    // In this order, so that no reload finds one without the other.
    let mut refused = version("two", &[]);
    refused["config"]["create"] = json!(["error no"]);
    proxy.edit(&yaml(&origin, &state, &refused));
    let other = [hostile::component(), b"\x00\x05\x04note"].concat();
    std::fs::write(proxy.path().join("guest.wasm"), other).unwrap();
    let outcome = proxy.reload();
    assert!(!outcome.ok, "{outcome:?}");
    within("it is gone", || (kept() == 1).then_some(()));
}

#[test]
fn a_strict_start_is_what_the_file_says_or_none() {
    let (origin, state) = (Origin::saying("body"), State::new());
    let proxy = start(&origin, &state, &version("one", &[]));
    proven(&proxy, &state);
    proxy.stop();
    let folder = with_broken_guest();
    let file = support::process::write_in(&folder, &yaml(&origin, &state, &version("one", &[])));
    let output = support::process::run(&["run", "--strict", "--config", &file]);
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("guest.wasm"), "{told}");
    std::fs::remove_dir_all(folder).ok();
}

#[test]
fn a_version_with_a_grant_that_the_file_takes_back_does_not_stand_in() {
    let (origin, state) = (Origin::saying("body"), State::new());
    let secrets = |entry| {
        format!(
            "secrets: [{{ name: a, value: b }}]\n{}",
            yaml(&origin, &state, entry)
        )
    };
    let mut revealed = keeping("one");
    revealed["grants"] = json!({ "reveal": ["a"] });
    let mut used = keeping("one");
    used["grants"] = json!({ "secrets": ["a"] });
    let folder = Proxy::folder();
    put_guest(&folder);
    let proxy = Proxy::start_in(folder, &secrets(&revealed));
    proven(&proxy, &state);
    std::fs::write(proxy.path().join("guest.wasm"), b"broken").unwrap();
    assert!(proxy.reload().ok);
    assert_eq!(told(&proxy)["is"], "kept");
    proxy.edit(&secrets(&used));
    assert!(!proxy.reload().ok);
    proxy.stop();

    let start = |entry| Proxy::try_start_in(with_broken_guest(), &secrets(entry));
    assert!(start(&used).is_err());
    assert_eq!(told(&start(&revealed).unwrap())["is"], "last-good");
}

#[test]
fn a_last_good_component_that_was_tampered_with_is_not_used() {
    let (origin, state) = (Origin::saying("body"), State::new());
    let proxy = start(&origin, &state, &version("one", &[]));
    proven(&proxy, &state);
    proxy.stop();
    for entry in std::fs::read_dir(state.0.join("components")).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.extend(b"\x00\x06\x04note!");
        std::fs::write(&path, bytes).unwrap();
    }
    let folder = with_broken_guest();
    let started = Proxy::try_start_in(folder, &yaml(&origin, &state, &version("one", &[])));
    assert!(started.is_err());
}

#[test]
fn a_version_that_fails_is_watched_on_where_the_good_one_cannot_be_used() {
    let (origin, state) = (Origin::saying("body"), State::new());
    let mut good = version("one", &[]);
    good["config"]["wants"]["clusters"] = json!(["extra"]);
    let more = "clusters: [{ name: extra, endpoints: ['127.0.0.1:1'] }, ";
    let with_extra = yaml(&origin, &state, &good).replace("clusters: [", more);
    let folder = Proxy::folder();
    put_guest(&folder);
    let proxy = Proxy::start_in(folder, &with_extra);
    proven(&proxy, &state);

    // It fails at trailers only, and without the cluster there is no way back.
    let mut failing = version("two", &[]);
    failing["probation"]["min_calls"] = json!(20);
    failing["config"]["wants"]["phases"] = json!(["request", "response", "request-trailers"]);
    failing["config"]["request_trailers"] = json!(["trap"]);
    proxy.edit(&yaml(&origin, &state, &failing));
    assert!(proxy.reload().ok);
    let records = state.0.join("filters.json");
    let recorded = || -> Option<Value> {
        let records: Value = serde_json::from_slice(&std::fs::read(&records).ok()?).ok()?;
        Some(records["filters"]["guest"].clone())
    };
    let failed = within("it has failed", || {
        let trailers = "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\
                        transfer-encoding: chunked\r\n\r\n0\r\nx-a: b\r\n\r\n";
        Client::connect(proxy.address()).send(trailers).answer();
        let failed = recorded()?["failed"].clone();
        (failed != json!([])).then_some(failed)
    });
    assert_eq!(
        failed[0]["why"].as_str().map(|why| why.contains("failed")),
        Some(true)
    );
    assert_eq!(told(&proxy)["is"], "file");
    assert_eq!(told(&proxy)["on_probation"], true);
    // Once it does well, it is the one to go back to.
    within("it counts as good", || {
        assert_eq!(version_of(&proxy).as_deref(), Some("two"));
        let recorded = recorded()?;
        let good = &recorded["good"]["block"]["config"]["value"];
        (*good == failing["config"]).then_some(())
    });
    assert_eq!(recorded().unwrap()["failed"], json!([]));
}

/// An entry with a canary of the same component that has this configuration.
fn with_canary(canary: &Value, rules: &Value) -> Value {
    let mut entry = version("one", &[]);
    let mut given = json!({ "component": "./canary.wasm", "config": canary["config"] });
    let rules = rules.as_object().unwrap().clone();
    given.as_object_mut().unwrap().extend(rules);
    entry["canary"] = given;
    entry
}

/// As [`start`], with a component for the canary that only differs in its bytes.
fn start_trial(origin: &Origin, state: &State, entry: &Value) -> Proxy {
    Proxy::start_in(trial_folder(), &yaml(origin, state, entry))
}

/// With the component of the canary beside that of the filter.
fn trial_folder() -> PathBuf {
    let folder = Proxy::folder();
    put_guest(&folder);
    let mut canary = hostile::component().to_vec();
    canary.extend_from_slice(b"\x00\x05\x04note");
    std::fs::write(folder.join("canary.wasm"), canary).unwrap();
    folder
}

fn version_for(proxy: &Proxy, user: &str) -> Option<String> {
    let answer = proxy.ask("/", &[("x-user", user)]);
    assert_eq!(answer.status, 200);
    answer.header("x-version").map(str::to_owned)
}

fn decide(proxy: &Proxy, what: &str) -> (u16, Value) {
    let path = format!("/filters/guest/{what}");
    let answer = ask(proxy.admin(), "POST", &path, &[("host", "localhost")]);
    (answer.status, json(&answer))
}

#[test]
fn a_canary_serves_its_share_and_each_client_sees_one_version() {
    let (origin, state) = (Origin::saying("body"), State::new());
    let rules = json!({ "percent": 50, "sticky_by": "header:x-user" });
    let proxy = start_trial(&origin, &state, &with_canary(&version("two", &[]), &rules));
    let seen = |user: u32| version_for(&proxy, &format!("user-{user}")).unwrap();
    let first: Vec<_> = (0..40).map(seen).collect();
    let second: Vec<_> = (0..40).map(seen).collect();
    assert_eq!(first, second);
    let canaries = first.iter().filter(|version| *version == "two").count();
    assert!(
        (8..=32).contains(&canaries),
        "{canaries} of 40 saw the canary"
    );
    // Without the header nobody does.
    assert_eq!(version_of(&proxy).as_deref(), Some("one"));
    let told = told(&proxy);
    assert_eq!(told["canary"]["percent"], 50.0);
    let calls = told["canary"]["fared"]["calls"].as_u64().unwrap();
    assert_eq!(calls, canaries as u64 * 4, "{told}");
    assert_eq!(
        metric_sum(proxy.admin(), "lockgate_filter_calls_total", "guest") as u64,
        162
    );
}

#[test]
fn a_canary_that_fails_is_given_up_and_stays_so_until_the_file_changes() {
    let (origin, state) = (Origin::saying("body"), State::new());
    let rules = json!({
        "percent": 100, "sticky_by": "chance",
        "abort_on": { "min_calls": 5, "fault_percent": 50 },
    });
    let bad = with_canary(&version("two", &["trap"]), &rules);
    let proxy = start_trial(&origin, &state, &bad);
    within("the canary is given up", || {
        (proxy.get("/").status == 200).then_some(())
    });
    let told_now = told(&proxy);
    assert_eq!(told_now["is"], "aborted");
    assert!(told_now["canary"].is_null());
    assert!(
        told_now["differs_from_file"][0]
            .as_str()
            .unwrap()
            .contains("calls failed")
    );
    for _ in 0..20 {
        assert_eq!(version_of(&proxy).as_deref(), Some("one"));
    }
    assert!(proxy.reload().ok);
    assert_eq!(version_of(&proxy).as_deref(), Some("one"));

    proxy.edit(&yaml(
        &origin,
        &state,
        &with_canary(&version("three", &[]), &rules),
    ));
    assert!(proxy.reload().ok);
    assert_eq!(version_of(&proxy).as_deref(), Some("three"));
}

#[test]
fn a_promoted_canary_takes_the_filters_place_across_reloads_and_restarts() {
    let (origin, state) = (Origin::saying("body"), State::new());
    let rules = json!({ "percent": 0 });
    let entry = with_canary(&version("two", &[]), &rules);
    let proxy = start_trial(&origin, &state, &entry);
    assert_eq!(version_of(&proxy).as_deref(), Some("one"));
    assert_eq!(is_counted(&proxy), ["file", "canary"]);
    let (status, outcome) = decide(&proxy, "promote");
    assert_eq!((status, &outcome["ok"]), (200, &json!(true)));
    assert_eq!(version_of(&proxy).as_deref(), Some("two"));
    assert_eq!(told(&proxy)["is"], "promoted");
    assert_eq!(is_counted(&proxy), ["promoted"]);
    assert!(proxy.reload().ok);
    assert_eq!(version_of(&proxy).as_deref(), Some("two"));
    let (status, outcome) = decide(&proxy, "abort");
    assert_eq!(status, 422);
    let mistake = outcome["mistakes"][0].as_str().unwrap();
    assert_eq!(mistake, "filter `guest` has no canary that is being tried");

    let records = state.0.join("filters.json");
    within("that is on record", || {
        let records = std::fs::read_to_string(&records).ok()?;
        records.contains("promoted").then_some(())
    });
    proxy.stop();
    let proxy = start_trial(&origin, &state, &entry);
    assert_eq!(version_of(&proxy).as_deref(), Some("two"));
    // Once the file says the same, nothing differs from it.
    let mut same = version("two", &[]);
    same["component"] = json!("./canary.wasm");
    proxy.edit(&yaml(&origin, &state, &same));
    assert!(proxy.reload().ok);
    assert_eq!(version_of(&proxy).as_deref(), Some("two"));
    assert_eq!(told(&proxy)["is"], "file");
}

#[test]
fn a_decision_holds_until_the_block_says_something_else() {
    let (origin, state) = (Origin::saying("body"), State::new());
    let rules = json!({ "percent": 0 });
    let block = with_canary(&version("two", &[]), &rules);
    let proxy = start_trial(&origin, &state, &block);
    assert_eq!(decide(&proxy, "promote").0, 200);
    // What is written otherwise and says the same, a default among it.
    let same = yaml(&origin, &state, &block);
    let same = same.replace("{\"guest\":{", "{\"guest\":{\"isolation\":\"shared\",");
    proxy.edit(&format!("# A comment.\n{same}"));
    assert!(proxy.reload().ok);
    assert_eq!(told(&proxy)["is"], "promoted");

    let mut other = block;
    for (at, value) in [
        ("/canary/percent", json!(1)),
        ("/canary/sticky_by", json!("header:x-user")),
        ("/canary/promote_after", json!("1h")),
        ("/canary/abort_on", json!({ "min_calls": 1000 })),
        ("/probation/min_faults", json!(4)),
        ("/on_bad", json!("keep")),
    ] {
        let (inside, key) = at.rsplit_once('/').unwrap();
        other.pointer_mut(inside).unwrap()[key] = value;
        proxy.edit(&yaml(&origin, &state, &other));
        assert!(proxy.reload().ok);
        let told = told(&proxy);
        assert_eq!(told["is"], "file", "{at}");
        assert!(!told["canary"].is_null(), "{at}: it is tried again");
        assert_eq!(decide(&proxy, "promote").0, 200, "{at}");
    }
}

#[test]
fn canaries_are_decided_about_by_command_too() {
    let (origin, state) = (Origin::saying("body"), State::new());
    let rules = json!({ "percent": 0 });
    let proxy = start_trial(&origin, &state, &with_canary(&version("two", &[]), &rules));
    let admin = proxy.admin().to_string();
    let run = |arguments: &[&str]| {
        let whom = ["--admin", &admin];
        let output = support::process::run(&[&["filter"], arguments, &whom].concat());
        let told = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.code(), told)
    };
    let (code, told) = run(&["promote", "other"]);
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains("filter `other` has no canary"), "{told}");
    assert_eq!(run(&["promote", "a/b"]).0, Some(2));
    let (code, told) = run(&["promote", "guest"]);
    assert_eq!(code, Some(0), "{told}");
    assert!(
        told.starts_with("promoted: the canary of `guest`"),
        "{told}"
    );
    assert_eq!(version_of(&proxy).as_deref(), Some("two"));
    let (code, told) = run(&["abort", "guest", "--json"]);
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains("\"ok\": false"), "{told}");
}

#[test]
fn a_decision_is_about_the_canary_that_there_was_when_it_was_asked_for() {
    let (origin, state) = (Origin::saying("body"), State::new());
    let canary = |name| with_canary(&version(name, &[]), &json!({ "percent": 0 }));
    let proxy = start_trial(&origin, &state, &canary("two"));
    // Its body comes only when the file has been loaded with another canary, as with
    // one that waits for a reload under way.
    let mut asking = Client::connect(proxy.admin());
    asking.send(
        "POST /filters/guest/promote HTTP/1.1\r\nhost: localhost\r\n\
         content-length: 1\r\nexpect: 100-continue\r\n\r\n",
    );
    assert_eq!(asking.line(), "HTTP/1.1 100 Continue");
    assert_eq!(asking.line(), "");
    proxy.edit(&yaml(&origin, &state, &canary("three")));
    assert!(proxy.reload().ok);
    asking.send("x");
    let answer = asking.answer();
    assert_eq!(answer.status, 422);
    let mistake = json(&answer)["mistakes"][0].to_string();
    let expected = "filter `guest` was loaded with another canary since that was asked for";
    assert!(mistake.contains(expected), "{mistake}");
    assert_eq!(version_of(&proxy).as_deref(), Some("one"));
    assert_eq!(told(&proxy)["is"], "file");

    assert_eq!(decide(&proxy, "promote").0, 200);
    assert_eq!(version_of(&proxy).as_deref(), Some("three"));
}

#[test]
fn an_aborted_canary_is_not_tried_again() {
    let (origin, state) = (Origin::saying("body"), State::new());
    let rules = json!({ "percent": 100 });
    let proxy = start_trial(&origin, &state, &with_canary(&version("two", &[]), &rules));
    assert_eq!(version_of(&proxy).as_deref(), Some("two"));
    assert_eq!(decide(&proxy, "abort").0, 200);
    assert_eq!(version_of(&proxy).as_deref(), Some("one"));
    assert!(proxy.reload().ok);
    assert_eq!(version_of(&proxy).as_deref(), Some("one"));
    assert_eq!(told(&proxy)["is"], "aborted");
}

#[test]
fn a_canary_can_be_promoted_by_time_and_given_up_for_other_verdicts() {
    let (origin, state) = (Origin::saying("body"), State::new());
    let rules = json!({
        "percent": 100, "promote_after": "1s", "abort_on": { "min_calls": 3 },
    });
    let proxy = start_trial(&origin, &state, &with_canary(&version("two", &[]), &rules));
    within("the canary is promoted", || {
        assert_eq!(proxy.get("/").status, 200);
        (told(&proxy)["is"] == "promoted").then_some(())
    });

    let rules = json!({
        "percent": 50, "sticky_by": "chance",
        "abort_on": { "min_calls": 5, "verdict_percent": 20 },
    });
    let strict = version("three", &["respond 403 no"]);
    proxy.edit(&yaml(&origin, &state, &with_canary(&strict, &rules)));
    assert!(proxy.reload().ok);
    within("the canary is given up", || {
        let status = proxy.get("/").status;
        assert!([200, 403].contains(&status), "{status}");
        (told(&proxy)["is"] == "aborted").then_some(())
    });
    assert!(
        told(&proxy)["differs_from_file"][0]
            .as_str()
            .unwrap()
            .contains("end the exchange")
    );
}

#[test]
fn a_canary_that_cannot_be_built_refuses_the_file_at_its_place() {
    let (origin, state) = (Origin::saying("body"), State::new());
    let proxy = start(&origin, &state, &version("one", &[]));
    let bad = with_canary(&version("two", &[]), &json!({ "sticky_by": "moon" }));
    proxy.edit(&yaml(&origin, &state, &bad));
    let outcome = proxy.reload();
    let told = outcome.mistakes.join("\n");
    assert!(!outcome.ok);
    assert!(
        told.contains("\"moon\"") || told.contains("`moon`"),
        "{told}"
    );
    proxy.edit(&yaml(
        &origin,
        &state,
        &with_canary(&version("two", &[]), &json!({})),
    ));
    let outcome = proxy.reload();
    assert!(!outcome.ok);
    assert!(
        outcome.mistakes.join("\n").contains("canary.wasm"),
        "{outcome:?}"
    );
    assert_eq!(version_of(&proxy).as_deref(), Some("one"));
}

/// As [`version`], with a check that wants `wanted` for the version's name.
fn checked(name: &str, wanted: &str) -> Value {
    let mut entry = version(name, &[]);
    let headers = json!({ "x-version": wanted });
    entry["checks"] = json!([{
        "name": "the version",
        "expect": { "response": { "headers": headers } },
    }]);
    entry
}

#[test]
fn a_version_that_fails_its_checks_is_one_that_cannot_be_built() {
    let (origin, state) = (Origin::saying("body"), State::new());
    let proxy = start(&origin, &state, &checked("one", "one"));
    proven(&proxy, &state);
    let mut bad = checked("two", "three");
    proxy.edit(&yaml(&origin, &state, &bad));
    let outcome = proxy.reload();
    assert!(!outcome.ok);
    assert!(outcome.mistakes.join("\n").contains("three"), "{outcome:?}");
    bad["on_bad"] = json!("keep");
    proxy.edit(&yaml(&origin, &state, &bad));
    let outcome = proxy.reload();
    assert!(outcome.ok, "{outcome:?}");
    assert_eq!(version_of(&proxy).as_deref(), Some("one"));
    assert_eq!(told(&proxy)["is"], "kept");
    // What stands in has other checks, which are not those of the file.
    assert!(proxy.reload().ok);
    proxy.stop();
    let proxy = start(&origin, &state, &bad);
    assert_eq!(version_of(&proxy).as_deref(), Some("one"));
    assert_eq!(told(&proxy)["is"], "last-good");
}

/// Also where the version that stands in is the very same, but for its checks.
#[test]
fn checks_that_failed_fail_again() {
    let (origin, state) = (Origin::saying("body"), State::new());
    let proxy = start(&origin, &state, &version("one", &[]));
    proven(&proxy, &state);
    let mut bad = checked("one", "two");
    bad["on_bad"] = json!("keep");
    proxy.edit(&yaml(&origin, &state, &bad));
    for _ in 0..3 {
        let outcome = proxy.reload();
        assert!(outcome.ok, "{outcome:?}");
        assert!(outcome.warnings.join("\n").contains("two"), "{outcome:?}");
        assert_eq!(told(&proxy)["is"], "kept");
    }
    bad["on_bad"] = json!("refuse");
    proxy.edit(&yaml(&origin, &state, &bad));
    let outcome = proxy.reload();
    assert!(!outcome.ok, "{outcome:?}");
    assert!(outcome.mistakes.join("\n").contains("two"), "{outcome:?}");
}

#[test]
fn a_canary_is_checked_too_and_a_promoted_one_as_what_it_is() {
    let (origin, state) = (Origin::saying("body"), State::new());
    let canary = |wanted: &str| {
        let mut entry = with_canary(&version("two", &[]), &json!({ "percent": 0 }));
        let headers = json!({ "x-version": wanted });
        // Also what the stable version is.
        entry["config"] = version("two", &[])["config"].clone();
        entry["checks"] = json!([{
            "name": "the version",
            "expect": { "response": { "headers": headers } },
        }]);
        entry
    };
    let proxy = start_trial(&origin, &state, &canary("two"));
    assert_eq!(decide(&proxy, "promote").0, 200);
    assert!(proxy.reload().ok);
    assert_eq!(told(&proxy)["is"], "promoted");
    let mut other = canary("two");
    other["canary"]["config"] = version("three", &[])["config"].clone();
    proxy.edit(&yaml(&origin, &state, &other));
    let outcome = proxy.reload();
    assert!(!outcome.ok, "{outcome:?}");
    assert!(outcome.mistakes.join("\n").contains("three"), "{outcome:?}");
}

#[test]
fn a_canary_of_the_same_component_is_judged_by_its_own_calls() {
    let (origin, state) = (Origin::saying("body"), State::new());
    let rules = json!({
        "percent": 50, "sticky_by": "chance",
        "abort_on": { "min_calls": 5, "fault_percent": 80 },
    });
    let mut entry = with_canary(&version("two", &["trap"]), &rules);
    entry["canary"]["component"] = json!("./guest.wasm");
    entry["config"]["wants"] = json!({ "phases": ["request"] });
    let proxy = start(&origin, &state, &entry);
    within("the canary is given up", || {
        proxy.get("/");
        (told(&proxy)["is"] == "aborted").then_some(())
    });
    // Its series outlives a reload, and so does what is shared.
    assert!(proxy.reload().ok);
    assert!(metric_sum(proxy.admin(), "lockgate_filter_calls_total", "guest") > 0.0);
}

#[test]
fn a_canary_shares_with_its_filter_from_the_first_start_on() {
    let (origin, state) = (Origin::saying("body"), State::new());
    let config = |headers: bool| {
        json!({
            "headers": headers,
            "limits": [{
                "name": "all", "key": { "by": "address" }, "rate": 6, "per": "hour", "burst": 6,
            }],
        })
    };
    let entry = json!({
        "component": "lockgate:rate-limit",
        "grants": { "shared": true },
        "config": config(true),
        "canary": {
            "component": "lockgate:rate-limit",
            "config": config(false),
            "percent": 50,
            "sticky_by": "chance",
        },
    });
    let proxy = Proxy::start(&yaml(&origin, &state, &entry));
    let passed = (0..40).filter(|_| proxy.get("/").status == 200).count();
    assert_eq!(passed, 6);
}
