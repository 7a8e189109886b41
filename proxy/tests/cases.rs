//! Cases: what `lockgate filter test` tells of them, and that a check that fails keeps
//! a configuration from being published.

#[path = "guests/component.rs"]
mod guests;
mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use lockgate::app::StartError;
use serde_json::Value;
use support::process::lockgate;
use support::{Client, Origin, Proxy, within};

const MANY: &str = r#"
cases:
- name: no key, no entry
  expect: { verdict: respond, response: { status: 401, headers: { x-user: null } } }
- name: alice
  request: { headers: { x-api-key: correct-horse } }
  expect: { verdict: next, request: { headers: { x-user: alice } }, attributes: { auth.subject: alice } }
"#;

/// What the command told.
struct Ran {
    code: Option<i32>,
    out: String,
    folder: PathBuf,
}

impl Drop for Ran {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.folder).ok();
    }
}

/// `lockgate filter test` of a file of cases, beside the guest.
fn test(cases: &str, arguments: &[&str]) -> Ran {
    let folder = Proxy::folder();
    std::fs::write(folder.join("guest.wasm"), guests::component()).unwrap();
    std::fs::write(folder.join("cases.yaml"), cases).unwrap();
    let output = lockgate(&["filter", "test", "cases.yaml"])
        .args(arguments)
        .env("XDG_CACHE_HOME", support::component_cache())
        .current_dir(&folder)
        .output()
        .unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(err, "");
    Ran {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        folder,
    }
}

fn passes(cases: &str) {
    let ran = test(cases, &[]);
    assert!(ran.out.ends_with(", all ok\n"), "{}", ran.out);
    assert_eq!(ran.code, Some(0));
}

#[test]
fn the_shipped_filters_have_cases() {
    passes(&format!(
        "component: lockgate:auth
config: {{ api_keys: [ {{ name: alice, secret: key }} ], identity_header: x-user }}
secrets: {{ key: correct-horse }}
{MANY}"
    ));
    passes(
        "component: lockgate:rate-limit
config: { limits: [ { name: client, key: { by: address }, rate: 2, per: hour } ] }
cases:
- name: the third is too much
  steps:
  - { repeat: 2, expect: { verdict: next } }
  - expect: { verdict: respond, response: { status: 429 } }
  - { request: { client_address: 192.0.2.9 }, expect: { verdict: next } }
- { name: another case begins anew, repeat: 2, expect: { verdict: next } }
",
    );
    passes(
        "component: lockgate:router
config:
  routes:
  - { name: shop, match: { path_prefix: /shop }, cluster: shop }
  - { name: old, match: { path_prefix: /old }, redirect: { path: /new } }
cases:
- name: to the shop
  request: { path: /shop/cart?x=1 }
  expect: { verdict: next, cluster: shop, route: shop, request: { path: /shop/cart?x=1 } }
- name: moved
  request: { path: /old }
  expect: { verdict: respond, route: old, response: { headers: { location: /new } } }
- { name: nowhere, request: { path: /else }, expect: { cluster: origin } }
",
    );
    passes(
        "component: lockgate:fault
config: { abort: { status: 503, body: later }, match: { path_prefix: /a } }
cases:
- name: aborted
  request: { path: /a }
  expect: { verdict: respond, response: { status: 503, body: later } }
- { name: spared, expect: { verdict: next, response: { status: 200 } } }
",
    );
    passes(
        "component: lockgate:mirror
config: { cluster: shadow, match: { method: GET }, headers: { x-env: shadow } }
cases:
- name: copied
  expect: { cluster: origin, mirrors: [ { cluster: shadow, headers: { x-env: shadow } } ] }
- { name: not copied, request: { method: POST, body: x }, expect: { mirrors: [] } }
",
    );
}

#[test]
fn who_has_a_certificate_and_who_connects_can_be_told() {
    passes(
        "component: lockgate:authz
config: { allow: [ { name: web, when: { spiffe: 'spiffe://example.org/ns/shop/*' } } ] }
cases:
- name: a workload
  request: { tls: { sni: shop, alpn: h2, peer: { uris: ['spiffe://example.org/ns/shop/web'] } } }
  expect: { verdict: next }
- name: one of elsewhere
  request: { tls: { peer: { uris: ['spiffe://example.org/ns/ops/web'] } } }
  expect: { verdict: respond, response: { status: 403 } }
- { name: nobody, expect: { verdict: respond, response: { status: 403 } } }
",
    );
    passes(
        "component: lockgate:l4-authz
config: { allow: [ { name: shop, clients: [10.0.0.0/8], ports: [5432] } ] }
cases:
- name: from the shop
  connection: { client_address: 10.1.2.3, destination: '10.9.9.9:5432' }
  expect: { verdict: next, cluster: origin }
- name: to another port
  connection: { client_address: 10.1.2.3, destination: '10.9.9.9:22' }
  expect: { verdict: deny, log: [denied] }
- name: from elsewhere, then from the shop
  steps:
  - { connection: {}, repeat: 3, expect: { verdict: deny } }
  - connection: { client_address: 10.0.0.1, destination: '[::1]:5432', http: true }
    expect: { verdict: next }
",
    );
    passes(
        "component: lockgate:tcp-router
config: { routes: [ { match: { sni: ['*.example.com'] }, cluster: shops } ] }
cases:
- { name: by its name, connection: { sni: a.example.com }, expect: { cluster: shops } }
- { name: by none, connection: { protocol: opaque, preview: hello }, expect: { cluster: origin } }
- name: of TLS that ends here
  connection: { tls: { sni: b.example.com } }
  expect: { verdict: next, cluster: shops }
- name: where HTTP is spoken nobody is sent anywhere
  connection: { sni: a.example.com, http: true }
  expect: { verdict: fail, fault: error, cluster: origin }
",
    );
}

#[test]
fn a_case_is_of_what_its_filter_sees() {
    let ran = test(
        "component: lockgate:l4-authz
config: { allow: [ {} ] }
cases:
- { name: one, expect: { verdict: next } }
- { name: two, connection: {}, expect: { verdict: deny } }
",
        &[],
    );
    assert_eq!(
        ran.out,
        "failed  one
        cases.yaml:4:3: case: expected a `connection`: this is a filter of connections, \
found an exchange
failed  two
        cases.yaml:5:51: verdict: expected `deny`, found `next`
2 cases, 2 failed
"
    );
    let ran = test(
        "component: lockgate:l4-authz
cases:
- name: one
  route: shop
  connection: { client_address: here, http: true, protocol: tls, preview: a, preview_base64: 'YQ==' }
  response: { status: 200 }
  expect: { mirrors: [] }
",
        &[],
    );
    for words in [
        "cases.yaml:4:3: found `route`, wanted none of it beside `connection`",
        "cases.yaml:5:33: found `here`, wanted an IP address",
        "found `http: true` beside a `protocol` that is otherwise, wanted one of them",
        "found `preview_base64` beside `preview`",
        "cases.yaml:6:3: found `response`",
        "cases.yaml:7:13: found `mirrors`",
    ] {
        assert!(ran.out.contains(words), "no `{words}` in {}", ran.out);
    }
    assert_eq!(ran.code, Some(2));
}

const GUEST: &str = "component: ./guest.wasm
config: { wants: { phases: [request] }, request: [request.set x-a 1] }
cases:
- { name: one, expect: { request: { headers: { x-a: 1 } } } }
- name: two
  config: { wants: { phases: [request] }, request: [trap] }
  expect:
    verdict: next
- { name: three, expect: { verdict: next } }
";

#[test]
fn a_difference_is_told_at_its_place() {
    let ran = test(GUEST, &[]);
    assert_eq!(
        ran.out,
        "ok      one
failed  two
        cases.yaml:8:14: verdict: expected `next`, found `fail`
        cases.yaml:8:5: fault: expected none, found `trap`
        note: the filter failed: trap: wasm trap: wasm `unreachable` instruction executed
        note: the proxy: filter_failed
ok      three
3 cases, 1 failed
"
    );
    assert_eq!(ran.code, Some(1));
}

#[test]
fn a_configuration_that_its_schema_does_not_know_is_told_once() {
    let ran = test(
        "component: lockgate:fault
cases:
- { name: one, config: { abrt: {} }, expect: { verdict: next } }
",
        &[],
    );
    assert!(
        ran.out
            .contains("cases.yaml:3:32: config: expected `abort`, found the unknown key `abrt`\n"),
        "{}",
        ran.out
    );
}

#[test]
fn as_a_document() {
    let ran = test(GUEST, &["--json"]);
    assert_eq!(ran.code, Some(1));
    let told: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(told["ok"], false);
    assert_eq!(told["cases"][0]["ok"], true);
    let two = &told["cases"][1];
    assert_eq!(two["name"], "two");
    assert_eq!(two["differences"][0]["what"], "verdict");
    assert_eq!(two["differences"][0]["place"]["line"], 8);
    assert_eq!(told["mistakes"], serde_json::json!([]));
}

#[test]
fn some_of_the_cases_with_another_component() {
    let ran = test(GUEST, &["--name", "three"]);
    assert_eq!(ran.out, "ok      three\n1 case, all ok\n");
    let ran = test(GUEST, &["--name", "four"]);
    assert_eq!(
        (ran.code, &*ran.out),
        (Some(2), "error: no case has `four` in its name\n")
    );
    let other = GUEST.replace("./guest.wasm", "./other.wasm");
    let ran = test(&other, &["--name", "one", "--component", "guest.wasm"]);
    assert_eq!(
        (ran.code, &*ran.out),
        (Some(0), "ok      one\n1 case, all ok\n")
    );
}

#[test]
fn bad_input() {
    let check = |cases: &str, told: &str| {
        let ran = test(cases, &[]);
        assert!(ran.out.contains(told), "{}", ran.out);
        assert_eq!(ran.code, Some(2), "{}", ran.out);
    };
    check(
        "component: ./guest.wasm\ncases: [",
        "error: cases.yaml:3:1: found a syntax error",
    );
    check(
        "component: ./guest.wasm\ncases:\n- { name: a, expect: { staus: 1 } }\n",
        "error: cases.yaml:3:24: found the unknown key `staus`",
    );
    check(
        "component: ./none.wasm\ncases: [ { name: a } ]",
        "./none.wasm",
    );
    check(
        "component: ./cases.yaml\ncases: [ { name: a } ]",
        "is not WebAssembly",
    );
    check(
        "component: lockgate:none\ncases: [ { name: a } ]",
        "`lockgate:none` is not shipped",
    );
}

/// A filter that sets a field, and a check that wants it to be `wanted`.
fn policy(origin: &Origin, value: &str, wanted: &str) -> String {
    format!(
        "admin: {{ address: '127.0.0.1:0' }}
listeners: [{{ name: web, address: '127.0.0.1:0', cluster: o, filters: [mine] }}]
clusters: [{{ name: o, endpoints: ['{}'] }}]
secrets: [{{ name: key, file: ./key }}]
filters:
  mine:
    component: ./guest.wasm
    grants: {{ secrets: [key] }}
    config: {{ wants: {{ phases: [request, response] }}, request: [], response: [response.set x-policy {value}] }}
    checks:
    - name: the policy
      expect: {{ response: {{ headers: {{ x-policy: {wanted} }} }} }}
",
        origin.address
    )
}

fn folder() -> PathBuf {
    let folder = Proxy::folder();
    std::fs::write(folder.join("guest.wasm"), guests::component()).unwrap();
    std::fs::write(folder.join("key"), "shibboleth").unwrap();
    folder
}

#[test]
fn a_check_that_fails_refuses_a_reload_and_nothing_else() {
    let origin = Origin::saying("ok");
    let proxy = Proxy::start_in(folder(), &policy(&origin, "one", "one"));
    let (is_over, served) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let clients: Vec<_> = (0..2)
        .map(|_| {
            let (is_over, served) = (is_over.clone(), served.clone());
            let address = proxy.address();
            std::thread::spawn(move || {
                let request = "GET / HTTP/1.1\r\nhost: test\r\n\r\n";
                while !is_over.load(Ordering::Relaxed) {
                    let answer = Client::connect(address).send(request).answer();
                    assert_eq!(answer.status, 200);
                    assert_eq!(answer.header("x-policy"), Some("one"));
                    served.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    proxy.edit(&policy(&origin, "two", "one"));
    let outcome = proxy.reload();
    assert!(!outcome.ok);
    assert_eq!(outcome.generation, 1);
    let told = "filter `mine` fails the check `the policy`: response.headers.x-policy: expected `one`, found `two`";
    let mistake = &outcome.mistakes[0];
    assert!(mistake.ends_with(told), "{mistake}");
    assert!(mistake.contains("lockgate.yaml:"), "{mistake}");
    assert_eq!(outcome.mistakes.len(), 1, "{:?}", outcome.mistakes);
    let so_far = served.load(Ordering::Relaxed);
    within("the old generation serves", || {
        (served.load(Ordering::Relaxed) > so_far + 20).then_some(())
    });
    is_over.store(true, Ordering::Relaxed);
    clients
        .into_iter()
        .for_each(|client| client.join().unwrap());

    proxy.edit(&policy(&origin, "two", "two"));
    let outcome = proxy.reload();
    assert!(outcome.ok, "{:?}", outcome.mistakes);
    assert_eq!(proxy.get("/").header("x-policy"), Some("two"));
}

#[test]
fn a_start_and_a_check_are_refused_as_well() {
    let origin = Origin::saying("ok");
    let folder = folder();
    let bad = policy(&origin, "two", "one");
    let told =
        "fails the check `the policy`: response.headers.x-policy: expected `one`, found `two`";
    match Proxy::try_start_in(folder.clone(), &bad) {
        Err(StartError::Config(mistakes)) => {
            assert!(mistakes.to_string().contains(told), "{mistakes}")
        }
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it starts"),
    }
    assert!(checked(&folder, &bad).contains(told));
    assert!(checked(&folder, &policy(&origin, "one", "one")).contains(": good"));
    // Two that cannot both hold: one of them fails.
    let contradicts = policy(&origin, "one", "one")
        + "    - { name: the opposite, expect: { response: { headers: { x-policy: null } } } }\n";
    let told = checked(&folder, &contradicts);
    assert!(told.contains("fails the check `the opposite`: response.headers.x-policy: expected nothing, found `one`"), "{told}");
    // One that does not end by itself ends by the filter's budgets.
    let loops = policy(&origin, "one", "one").replace("request: []", "request: [loop]");
    let told = checked(&folder, &loops);
    assert!(
        told.contains("fault: expected none, found `overrun`"),
        "{told}"
    );
    std::fs::remove_dir_all(folder).ok();
}

/// What `lockgate check` prints.
fn checked(folder: &Path, yaml: &str) -> String {
    support::filtered::check(folder, yaml).text
}

/// The check needs the secret as it was, so it would fail if it were run again.
#[test]
fn what_serves_already_is_not_checked_again() {
    let origin = Origin::saying("ok");
    let folder = Proxy::folder();
    std::fs::write(folder.join("key"), "one").unwrap();
    let policy = |more: &str, wanted: &str| {
        format!(
            "admin: {{ address: '127.0.0.1:0' }}
drain_timeout: {more}
listeners: [{{ name: web, address: '127.0.0.1:0', cluster: o, filters: [auth] }}]
clusters: [{{ name: o, endpoints: ['{}'] }}]
secrets: [{{ name: key, file: ./key }}]
filters:
  auth:
    component: lockgate:auth
    grants: {{ secrets: [key] }}
    config: {{ api_keys: [ {{ name: alice, secret: key }} ] }}
    checks:
    - name: alice
      request: {{ headers: {{ x-api-key: one }} }}
      expect: {{ verdict: {wanted} }}
",
            origin.address
        )
    };
    let proxy = Proxy::start_in(folder.clone(), &policy("1s", "next"));
    std::fs::write(folder.join("key"), "two").unwrap();
    within("the new key counts", || {
        (proxy.ask("/", &[("x-api-key", "two")]).status == 200).then_some(())
    });
    proxy.edit(&policy("2s", "next"));
    let outcome = proxy.reload();
    assert!(outcome.ok, "{:?}", outcome.mistakes);
    // With another check it is run, though the filter is the same.
    proxy.edit(&policy("2s", "reset"));
    let outcome = proxy.reload();
    let told = "verdict: expected `reset`, found `respond`";
    assert!(outcome.mistakes[0].contains(told), "{:?}", outcome.mistakes);
}
