//! Cases of a guest that does what it is told.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::{LONGEST, Outcome, Subject, run_within};
use crate::config::load_cases_text;
use crate::digest::Digest;
use crate::filter::tests::guests;
use crate::filter::{EngineOptions, FilterEngine, Module, Pace};

fn engine() -> &'static FilterEngine {
    static ENGINE: OnceLock<Arc<FilterEngine>> = OnceLock::new();
    ENGINE.get_or_init(|| FilterEngine::start(EngineOptions::default()).unwrap())
}

fn load(bytes: &'static [u8]) -> Arc<Module> {
    engine().load(Digest::of(bytes), bytes, Pace::Full).unwrap()
}

fn guest() -> Arc<Module> {
    static MODULE: OnceLock<Arc<Module>> = OnceLock::new();
    MODULE.get_or_init(|| load(guests::component())).clone()
}

fn caller() -> Arc<Module> {
    static MODULE: OnceLock<Arc<Module>> = OnceLock::new();
    MODULE.get_or_init(|| load(guests::caller())).clone()
}

/// What came of these cases of a filter `mine`, of which `head` says more.
fn outcomes(module: &Arc<Module>, head: &str, cases: &str) -> Vec<Outcome> {
    outcomes_within(module, head, cases, LONGEST)
}

fn outcomes_within(
    module: &Arc<Module>,
    head: &str,
    cases: &str,
    longest: Duration,
) -> Vec<Outcome> {
    let text = format!("name: mine\ncomponent: ./guest.wasm\n{head}\ncases:\n{cases}");
    let env = |name: &str| (name == "TOKEN").then(|| "correct-horse".to_owned());
    let file = load_cases_text(&text, "x.yaml", &env).unwrap_or_else(|error| panic!("{error}"));
    let subject = Subject {
        module,
        filter: &file.filter,
        secrets: &[],
        places: &file.places,
    };
    run_within(&subject, &file.cases, longest).unwrap()
}

/// That exactly these differences and notes are told of one case of the guest.
fn check(case: &str, wanted: &[&str]) {
    let case = format!("- name: it\n{case}");
    let outcomes = outcomes(&guest(), "", &case);
    assert_eq!(told(&outcomes[0]), wanted, "{case}");
}

fn told(outcome: &Outcome) -> Vec<String> {
    let differences = outcome.differences.iter().map(ToString::to_string);
    let notes = outcome.notes.iter().map(|note| format!("note: {note}"));
    let notes = notes.filter(|_| !outcome.passed());
    differences.chain(notes).collect()
}

/// A configuration of the guest.
fn config(phases: &str, steps: &str) -> String {
    format!("  config: {{ wants: {{ phases: [{phases}], clusters: [a, b] }}, {steps} }}\n")
}

#[test]
fn heads() {
    let changes = config(
        "request, response",
        "request: [request.set x-a 1, request.path /b, route-to a, attribute who me], \
         response: [response.set x-b 2, response.status 201]",
    );
    check(
        &(changes.clone()
            + "  request: { headers: { x-many: [a, b] } }
  response: { status: 404, headers: { x-o: 1 }, body: gone }
  expect:
    verdict: next
    cluster: a
    attributes: { mine.who: me, mine.other: null }
    request: { method: GET, path: /b, authority: example.test, headers: { x-a: 1, x-many: [a, b], x-no: null } }
    response: { status: 201, headers: { x-o: 1, x-b: 2, content-length: 4 }, body: gone }
"),
        &[],
    );
    check(
        &(changes
            + "  expect:
    verdict: respond
    cluster: b
    attributes: { mine.who: null }
    request: { path: /, headers: { x-a: [1, 2], x-no: [] } }
    response: { status: 200, headers: { x-b: null, x-c: 3 } }
"),
        &[
            "verdict: expected `respond`, found `next`",
            "cluster: expected `b`, found `a`",
            "request.path: expected `/`, found `/b`",
            "request.headers.x-a: expected `1`, `2`, found `1`",
            "response.status: expected `200`, found `201`",
            "response.headers.x-b: expected nothing, found `2`",
            "response.headers.x-c: expected `3`, found nothing",
            "attributes.mine.who: expected nothing, found `me`",
        ],
    );
}

#[test]
fn verdicts() {
    let answered = config("request", "request: [respond 403 no entry]");
    check(
        &(answered.clone()
            + "  expect: { verdict: respond, response: { status: 403, body: no entry } }\n"),
        &[],
    );
    check(
        &(answered + "  expect: { request: { path: / } }\n"),
        &["request: expected a request, found none"],
    );
    check(
        &(config("request", "request: [reset]") + "  expect: { verdict: reset }\n"),
        &[],
    );
    check(
        &(config("request", "request: [reset]") + "  expect: { response: { status: 200 } }\n"),
        &[
            "response: expected a response, found none",
            "note: the proxy: filter_reset",
        ],
    );
    check(
        "  response: { unavailable: true }\n  expect: { verdict: next, response: { status: 502 } }\n",
        &[],
    );
}

#[test]
fn faults() {
    for (step, fault) in [
        ("trap", "trap"),
        ("loop", "overrun"),
        ("recurse", "stack"),
        ("allocate", "memory"),
        ("error no", "error"),
        ("respond-huge 2000000", "reply-too-large"),
    ] {
        let case = config("request", &format!("request: [request.set x-a 1, {step}]"));
        let fails = format!(
            "- name: it\n{case}  expect: {{ verdict: fail, fault: {fault}, response: {{ status: 500 }} }}\n"
        );
        let head = "limits: { cpu: 20ms, memory: 16MiB }";
        assert_eq!(
            told(&outcomes(&guest(), head, &fails)[0]),
            [""; 0],
            "{step}"
        );
    }
    check(
        &config("request", "request: [error does not like it]"),
        &[
            "fault: expected none, found `error`",
            "note: the filter failed: error: does not like it",
            "note: the proxy: filter_failed",
        ],
    );
    check(
        &(config("request", "request: [leave]") + "  expect: { fault: trap }\n"),
        &["fault: expected `trap`, found none"],
    );
    let skipped = "- name: it\n  expect: { verdict: next, fault: trap, request: { headers: { x-a: null } } }\n";
    let head = "on_error: skip\nconfig: { wants: { phases: [request] }, request: [request.set x-a 1, trap] }";
    let outcome = &outcomes(&guest(), head, skipped)[0];
    assert_eq!(told(outcome), [""; 0]);
}

#[test]
fn bodies_and_trailers() {
    check(
        &(config("request, response", "request: [transform upper], response: [transform end]")
            + "  request: { method: POST, body: [ab, c], trailers: { x-t: 1 } }
  response: { body: [x, y], trailers: { x-u: [1, 2] } }
  expect:
    request: { body: ABC, trailers: { x-t: 1 }, headers: { transfer-encoding: chunked, content-length: null } }
    response: { body: xy the end, trailers: { x-u: [1, 2] }, cut_off: false }
"),
        &[],
    );
    check(
        &(config("request", "request: [transform count]")
            + "  request: { method: POST, body: [ab, c] }
  expect: { attributes: { mine.passed: '3' } }\n"),
        &[],
    );
    check(
        &(config("request, response", "request: [buffer 9], request_body: [replace other], response: [buffer 9], response_body: [upper]")
            + "  request: { method: POST, body_base64: AAEC }
  response: { body: answer }
  expect: { request: { body: other, headers: { content-length: 5 } }, response: { body: ANSWER } }\n"),
        &[],
    );
    check(
        &(config("request", "request: [buffer 3]")
            + "  request: { method: POST, body: abcd }
  expect: { verdict: refuse, response: { status: 413 } }\n"),
        &[],
    );
    check(
        &(config("response", "response: [transform trap-at-end]")
            + "  response: { body: abc }
  expect: { fault: trap, response: { cut_off: true, body: abc } }\n"),
        &[],
    );
    check(
        "  request: { method: POST, body_base64: AAEC/w== }
  response: { body: \"a\\nb\\nc\\n\" }
  expect: { request: { body_base64: AAE= }, response: { body: \"a\\nx\\nc\" } }\n",
        &[
            "request.body: expected 2 bytes: 0001, found 4 bytes: 000102ff",
            "response.body, line 2: expected `x`, found `b`",
        ],
    );
    check(
        "  response: { body: a }\n  expect: { response: { body: \"a\\nb\", trailers: { x-t: 1 } } }\n",
        &[
            "response.body, line 2: expected `b`, found no such line",
            "response.trailers.x-t: expected `1`, found nothing",
        ],
    );
}

#[test]
fn lines_and_copies() {
    let case = config(
        "request, done",
        "request: [log hello there, mirror-to b v], done: [stderr at the end]",
    );
    check(
        &(case.clone()
            + "  expect: { log: [hello, key=a value, at the end], mirrors: [ { cluster: b, headers: { x-copy: v } } ] }\n"),
        &[],
    );
    check(
        &(case + "  expect: { log: [goodbye], mirrors: [] }\n"),
        &[
            "log: expected a line with `goodbye`, found `info: hello there key=a value`, `warn: at the end`",
            "mirrors: expected 0, found 1: `b`",
            "note: logged info: hello there key=a value",
            "note: logged warn: at the end",
        ],
    );
}

#[test]
fn calls() {
    let head = "config: { phase: request, cluster: idp, paths: [/a, /b], then: wait }";
    let case = "- name: answered
  answers: [ { cluster: idp, path: /b, error: timeout }, { cluster: idp, body: one } ]
  expect:
    request: { headers: { x-call: [200 one, 'CallError::Timeout'] } }
    calls: [ { cluster: idp, method: GET, path: /a, headers: { x-called-by: caller, host: idp } }, { path: /b } ]
- name: in turn
  answers: [ { cluster: idp, body: one }, { cluster: idp, status: 404, body: two }, { cluster: other } ]
  expect: { request: { headers: { x-call: [200 one, 404 two] } } }
- name: not answered
  answers: [ { cluster: idp, path: /a, body: one } ]
  expect: { verdict: respond, calls: [ { path: /c } ] }
- name: without end
  config: { phase: request, cluster: idp, paths: [/a], then: again }
  expect: { fault: overrun }
";
    let outcomes = outcomes(&caller(), head, case);
    let told: Vec<_> = outcomes.iter().map(told).collect();
    assert_eq!(told[0], [""; 0]);
    assert_eq!(told[1], [""; 0]);
    assert_eq!(
        told[2],
        [
            "verdict: expected `respond`, found `next`",
            "calls: expected 1, found 2: `GET idp /a`, `GET idp /b`",
            "calls[0].path: expected `/c`, found `/a`",
            "note: no answer in the case for GET /b of the cluster `idp`",
        ]
    );
    assert_eq!(told[3], [""; 0]);
}

#[test]
fn exchanges_in_order() {
    let counted = config("request", "request: [read.calls]");
    check(
        &(counted.clone()
            + "  steps:
  - { repeat: 2 }
  - { expect: { attributes: { mine.read: '3' } } }
  - { repeat: 3, expect: { attributes: { mine.read: '4' } } }
"),
        &[
            "attributes.mine.read: expected `4`, found `5`",
            "note: step 3, time 2 of 3",
        ],
    );
    // Another case has another instance.
    check(
        &(counted + "  expect: { attributes: { mine.read: '1' } }\n"),
        &[],
    );
}

#[test]
fn configurations() {
    let head = "config: { wants: { phases: [request] }, request: [respond 201 a] }
routes: { b: { config: { wants: { phases: [request] }, request: [respond 202 b] } }, c: off }";
    let cases = "- { name: none, expect: { response: { status: 201 } } }
- { name: other, route: x, expect: { response: { status: 201 }, route: x } }
- { name: b, route: b, expect: { response: { status: 202 } } }
- { name: c, route: c, expect: { response: { status: 200 } } }
";
    for outcome in outcomes(&guest(), head, cases) {
        assert_eq!(told(&outcome), [""; 0], "{}", outcome.name);
    }
    let refused = outcomes(&guest(), "", "- { name: it, config: { nothing: 1 } }\n");
    let told = told(&refused[0]).join("\n");
    assert!(
        told.starts_with(
            "config: expected one that the filter takes, found unknown field `nothing`"
        ),
        "{told}"
    );
    let refused = outcomes(&guest(), "", "- { name: it, config: 5 }\n");
    assert_eq!(refused[0].differences[0].pointer, "/cases/0/config");
    assert_eq!(
        refused[0].differences[0].to_string(),
        "config: expected a map, found the number 5"
    );
}

#[test]
fn requests_that_the_proxy_does_not_let_in() {
    check(
        "  request: { path: /%00 }\n",
        &["request: expected one that the proxy lets in, found bad_path: encoded NUL in the path"],
    );
}

#[test]
fn what_an_earlier_filter_left() {
    check(
        &(config("request", "request: [read.attribute auth.user]")
            + "  request: { attributes: { auth.user: alice }, client_address: '2001:db8::1' }
  expect: { attributes: { mine.read: 'Some(\"alice\")', auth.user: alice } }\n"),
        &[],
    );
}

#[test]
fn what_is_secret_is_masked() {
    check(
        "  request: { headers: { x-token: 'Bearer ${TOKEN}' } }
  expect: { request: { headers: { x-token: other } } }\n",
        &["request.headers.x-token: expected `other`, found `***`"],
    );
    let head = "secrets: { key: shibboleth }\nconfig: { wants: { phases: [request] } }";
    let case = "- name: it
  request: { headers: { x-key: as shibboleth } }
  expect: { request: { headers: { x-key: shibboleth } } }\n";
    let outcome = &outcomes(&guest(), head, case)[0];
    assert_eq!(
        told(outcome),
        ["request.headers.x-key: expected `***`, found `as ***`"]
    );
}

#[test]
fn all_cases_together_have_an_end() {
    let delayed = config("request", "request: [delay 9000]");
    let fast = config("request", "request: []");
    let cases = format!("- name: delayed\n{delayed}  repeat: 1000\n- name: after it\n{fast}");
    let head = "limits: { max_delay: 10s }";
    let outcomes = outcomes_within(&guest(), head, &cases, Duration::from_millis(200));
    let names: Vec<_> = outcomes.iter().map(|outcome| &*outcome.name).collect();
    assert_eq!(names, ["delayed"]);
    assert_eq!(
        told(&outcomes[0]),
        [
            "time: expected an end within 200ms, cases before it included, found none",
            "note: time 1 of 1000"
        ]
    );
}
