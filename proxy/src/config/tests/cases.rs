//! Files of cases, and cases in `checks`.

use super::env;
use crate::config::{SecretUse, load_cases_text, load_text};

fn load(text: &str) -> Result<crate::config::cases::CaseFile, String> {
    let loaded = load_cases_text(text, "x.yaml", &env);
    loaded.map_err(|mistakes| mistakes.to_string().replace("x.yaml:", ""))
}

fn check(text: &str, wanted: &[&str]) {
    let told = load(text).expect_err(text);
    assert_eq!(told, wanted.join("\n"), "{text}");
}

#[test]
fn structure() {
    check(
        "component: ./a.wasm",
        &["1:1: found no case, wanted at least one in `cases`"],
    );
    check(
        "component: ./a.wasm\ncases: []",
        &["2:8: found an empty list, wanted at least 1 item"],
    );
    check(
        "cases:\n- { name: a }",
        &[
            "1:1: found no key `component`, wanted `component`, or `--component` on the command line",
        ],
    );
    check(
        "component: ./a.wasm\ncase: []\ncases:\n- nmae: a\n  expect: { status: 200, verdict: pass }\n- 5\n",
        &[
            "2:1: found the unknown key `case`, wanted `cases`",
            "4:3: found the unknown key `nmae`, wanted `name`",
            "5:13: found the unknown key `status`, wanted `attributes`, `calls`, `cluster`, `fault`, `log`, `mirrors`, `request`, `response`, `route` or `verdict`",
            "5:35: found `pass`, wanted `next`, `respond`, `reset`, `fail`, `refuse` or `deny`",
            "6:3: found the number 5, wanted a map with `name`",
        ],
    );
}

#[test]
fn what_means_nothing() {
    check(
        "component: ./a.wasm
cases:
- name: a
  steps: []
- name: b
  response: { status: 200, body: x, unavailable: true }
  answers: [ { cluster: a, status: 503, error: timeout } ]
- name: c
  response: { status: 204, body: abc }
  answers: [ { cluster: a, status: 304, body_base64: [YWJj] } ]
- name: d
  response: { status: 204, trailers: { x-a: b } }
- name: e
  response: { status: 204, headers: { x-a: b } }
  answers: [ { cluster: a, error: timeout }, { cluster: a, status: 304 } ]
- name: f
  response: { unavailable: true }
",
        &[
            "4:10: found an empty list, wanted at least 1 item",
            "6:15: found `status`, wanted it without `unavailable`, with which there is no answer",
            "6:28: found `body`, wanted it without `unavailable`, with which there is no answer",
            "7:28: found `status`, wanted it without `error`, with which there is no answer",
            "9:28: found `body`, wanted none of it with the status 204",
            "10:41: found `body_base64`, wanted none of it with the status 304",
            "12:28: found `trailers`, wanted none of it with the status 204",
        ],
    );
}

#[test]
fn values() {
    check(
        "component: ./a.wasm
cases:
- name: a
  request:
    method: G T
    path: no
    headers: { host: a, content-length: 5, 'x y': 1, x-a: \" b\", x-b: [1, { }] }
    client_address: home
  response: { status: 99, body: a, body_base64: '?' }
  answers: [ { path: / }, { cluster: a, error: tired } ]
- name: a
  repeat: 0
- name: c
  repeat: 2
  expect: { request: { body_base64: '?' } }
  steps: [ {} ]
",
        &[
            "5:13: found `G T`, wanted a method such as `GET`",
            "6:11: found `no`, wanted a path such as `/shop?page=2`, or `*`",
            "7:16: found the key `host`, wanted `authority`, which is sent as `host`",
            "7:25: found the key `content-length`, wanted `body`, of which a message's length comes",
            "7:44: found the key `x y`, wanted the name of a field",
            "7:59: found ` b`, wanted the value of a field: one line, without spaces around it",
            "7:74: found an empty map, wanted a string",
            "8:21: found `home`, wanted an IP address",
            "9:23: found the number 99, wanted a whole number from 200 to 599",
            "9:49: found `body_base64` beside `body`, wanted one of them",
            "10:14: found no key `cluster`, wanted `cluster` with a string that is not empty",
            "10:48: found `tired`, wanted `timeout` or `unavailable`",
            "11:9: found the case `a` again, first at 3:9, wanted each name once",
            "12:11: found the number 0, wanted a whole number from 1 to 1000",
            "14:3: found `repeat`, wanted it in each of the `steps`",
            "15:3: found `expect`, wanted it in each of the `steps`",
        ],
    );
}

#[test]
fn faults_have_names() {
    let told = load("component: ./a.wasm\ncases: [ { name: a, expect: { fault: traps } } ]");
    let told = told.unwrap_err();
    assert!(
        told.starts_with("2:38: found `traps`, wanted `error`, `trap`, "),
        "{told}"
    );
}

#[test]
fn a_file_is_a_filter_with_its_cases() {
    let file = load(
        "component: lockgate:auth
on_error: skip
limits: { cpu: 5ms }
secrets: { one: a, two: b }
cases:
- name: a
  secrets: { two: c, three: '${SECRET}' }
  answers: [ { cluster: idp } ]
- { name: b, steps: [ { answers: [ { cluster: other } ] }, { repeat: 5 } ] }
",
    )
    .unwrap();
    let filter = &file.filter;
    assert_eq!(&*filter.name, "auth");
    assert_eq!(filter.limits.cpu.as_millis(), 5);
    assert!(filter.grants.shared);
    let call: Vec<_> = filter.grants.call.iter().map(|name| &**name).collect();
    assert_eq!(call, ["idp", "other"]);
    let secrets: Vec<_> = filter
        .grants
        .secrets
        .iter()
        .map(|(name, granted)| (&**name, *granted))
        .collect();
    assert_eq!(
        secrets,
        [
            ("one", SecretUse::Use),
            ("three", SecretUse::Use),
            ("two", SecretUse::Use)
        ]
    );
    let names = |case: usize| {
        let secrets = file.cases[case].secrets.iter();
        secrets
            .map(|secret| (&*secret.name, secret.bytes.to_vec()))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        names(0),
        [
            ("three", b"hunter2".to_vec()),
            ("two", b"c".to_vec()),
            ("one", b"a".to_vec())
        ]
    );
    assert_eq!(names(1), [("one", b"a".to_vec()), ("two", b"b".to_vec())]);
    assert_eq!(file.cases[1].steps[1].repeat, 5);

    let granted = load("component: ./x/hello.wasm\nsecrets: { one: a }\ngrants: { reveal: [one] }\ncases: [ { name: a } ]").unwrap();
    assert_eq!(&*granted.filter.name, "hello");
    assert!(!granted.filter.grants.shared);
    assert_eq!(granted.filter.grants.secrets["one"], SecretUse::Reveal);
    check(
        "component: ./a.wasm\ngrants: { secrets: [two] }\nsecrets: { one: a }\ncases: [ { name: a } ]",
        &["2:21: found `two`, wanted the name of a secret: `one`"],
    );
}

#[test]
fn checks_of_a_filter() {
    let text = |checks: &str| {
        format!(
            "listeners: [{{ name: web, address: '0.0.0.0:80', filters: [f] }}]
filters:
  f:
    component: ./a.wasm
    checks:
{checks}"
        )
    };
    let good =
        text("    - { name: a, route: r, request: { headers: { authorization: '${SECRET}' } } }\n");
    let config = load_text(&good, "x.yaml", &env).unwrap().config;
    assert_eq!(config.filters[0].checks[0].pointer, "/filters/f/checks/0");
    assert!(
        !config.shown.to_string().contains("hunter2"),
        "{}",
        config.shown
    );
    let bad =
        text("    - { name: a, config: {}, secrets: { a: b } }\n    - { name: a, expects: {} }\n");
    let told = load_text(&bad, "x.yaml", &env).unwrap_err().to_string();
    assert_eq!(
        told.replace("x.yaml:", ""),
        "6:18: found `config`, wanted no other configuration in a check (`route` selects that of a route)
6:30: found `secrets`, wanted no secrets in a check: the filter has those that it is granted
7:15: found the case `a` again, first at x.yaml:6:15, wanted each name once
7:18: found the unknown key `expects`, wanted `expect`"
            .replace("x.yaml:", "")
    );
}
