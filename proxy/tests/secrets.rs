//! Secrets over sockets: granted or not, changed while requests go on, sent to
//! origins, and shown nowhere.

#[path = "support/hostile.rs"]
mod hostile;
mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use support::admin::{get, json, metric, metric_sum, refusal};
use support::filtered::check;
use support::{Answer, Origin, Process, Proxy, within};

/// Everything goes to the origin, past these filters.
fn yaml(chain: &str, rest: &str, origin: &Origin) -> String {
    format!(
        "admin: {{ address: '127.0.0.1:0' }}\n\
         listeners: [{{ name: web, address: '127.0.0.1:0', cluster: origin, filters: [{chain}] }}]\n\
         clusters: [{{ name: origin, endpoints: ['{}'] }}]\n{rest}",
        origin.address
    )
}

/// Passes whoever has the key in the file `keys/alice`.
fn keyed(origin: &Origin) -> String {
    let rest = "secrets: [{ name: alice-key, file: keys/alice }]\n\
                filters:\n  auth:\n    component: lockgate:auth\n    \
                grants: { secrets: [alice-key] }\n    \
                config: { identity_header: x-user, api_keys: [{ name: alice, secret: alice-key }] }\n";
    yaml("auth", rest, origin)
}

fn with_key(key: &str) -> PathBuf {
    let folder = Proxy::folder();
    fs::create_dir(folder.join("keys")).unwrap();
    write(&folder, "alice", key);
    folder
}

/// By renaming, so that it is never seen half written.
fn write(folder: &Path, name: &str, key: &str) {
    let aside = folder.join(format!("keys/.{name}"));
    fs::write(&aside, key).unwrap();
    fs::rename(aside, folder.join("keys").join(name)).unwrap();
}

fn ask(proxy: &Proxy, key: &str) -> Answer {
    proxy.ask("/", &[("x-api-key", key)])
}

fn passes_soon(proxy: &Proxy, key: &str) {
    within(&format!("{key} passes"), || {
        (ask(proxy, key).status == 200).then_some(())
    });
}

/// Of all generations, when which was published and why.
fn generations(proxy: &Proxy) -> Value {
    json(&get(proxy.admin(), "/generations"))
}

#[test]
fn a_key_in_a_file_passes_and_no_other() {
    let origin = Origin::saying("in");
    let proxy = Proxy::start_in(with_key("open-sesame\n"), &keyed(&origin));
    assert_eq!(ask(&proxy, "open-sesame").status, 200);
    assert_eq!(origin.seen().header("x-user"), Some("alice"));
    for wrong in ["open-sesam", "open-sesame2", "", "alice-key"] {
        assert_eq!(ask(&proxy, wrong).status, 401, "{wrong}");
    }
    assert_eq!(proxy.get("/").status, 401);
}

#[test]
fn a_changed_file_is_a_changed_key_without_a_reload() {
    let origin = Origin::saying("in");
    let proxy = Proxy::start_in(with_key("one"), &keyed(&origin));
    let admin = proxy.admin();
    let mut client = proxy.connect();
    let mut status = |key: &str| {
        let head = format!("GET / HTTP/1.1\r\nhost: test\r\nx-api-key: {key}\r\n\r\n");
        client.send(head).answer().status
    };
    assert_eq!((status("one"), status("two")), (200, 401));
    const MADE: &str = "lockgate_filter_instances_made_total";
    let made = metric_sum(admin, MADE, "auth");
    write(proxy.path(), "alice", "two\n");
    within("the new key passes", || {
        (status("two") == 200).then_some(())
    });
    assert_eq!(status("one"), 401);

    // What is no secret changes nothing.
    write(proxy.path(), "alice", "");
    fs::remove_file(proxy.path().join("keys/alice")).unwrap();
    assert_eq!(status("two"), 200);
    write(proxy.path(), "alice", "three");
    within("the third key passes", || {
        (status("three") == 200).then_some(())
    });
    let told = generations(&proxy);
    assert_eq!(told["live"].as_array().unwrap().len(), 1, "{told}");
    assert_eq!(metric(admin, "lockgate_generation"), 1.0, "{told}");
    assert_eq!(metric_sum(admin, MADE, "auth"), made);
}

/// As Kubernetes mounts them: a link to a folder is exchanged for another.
#[test]
fn a_mounted_secret_is_read_again() {
    let origin = Origin::saying("in");
    let folder = Proxy::folder();
    let keys = folder.join("keys");
    let mount = |version: &str, key: &str| {
        fs::create_dir_all(keys.join(version)).unwrap();
        fs::write(keys.join(version).join("alice"), key).unwrap();
        symlink(version, keys.join("..data_tmp")).unwrap();
        fs::rename(keys.join("..data_tmp"), keys.join("..data")).unwrap();
    };
    mount("..first", "one");
    symlink("..data/alice", keys.join("alice")).unwrap();
    let proxy = Proxy::start_in(folder.clone(), &keyed(&origin));
    assert_eq!(ask(&proxy, "one").status, 200);
    mount("..second", "two");
    passes_soon(&proxy, "two");
    assert_eq!(ask(&proxy, "one").status, 401);
}

#[test]
fn a_reload_reads_secrets_again() {
    let origin = Origin::saying("in");
    let proxy = Proxy::start_in(with_key("one"), &keyed(&origin));
    for (round, key) in ["two", "three", "four"].iter().enumerate() {
        write(proxy.path(), "alice", key);
        if round > 0 {
            proxy.edit(&format!("drain_timeout: {round}s\n{}", keyed(&origin)));
        }
        assert!(proxy.reload().ok);
        assert_eq!(ask(&proxy, key).status, 200, "{key}");
        assert_eq!(ask(&proxy, "one").status, 401);
    }
}

#[test]
fn a_refused_reload_reads_secrets_again() {
    let origin = Origin::saying("in");
    let proxy = Proxy::start_in(with_key("one"), &keyed(&origin));
    write(proxy.path(), "alice", "two");
    proxy.edit(&format!("wrokers: 1\n{}", keyed(&origin)));
    refusal(&proxy);
    passes_soon(&proxy, "two");
    write(proxy.path(), "alice", "three");
    passes_soon(&proxy, "three");
}

/// A configuration that is refused for a secret is taken once that is there.
#[test]
fn a_missing_file_is_waited_for() {
    let origin = Origin::saying("in");
    let proxy = Proxy::start_in(with_key("one"), &keyed(&origin));
    proxy.edit(&keyed(&origin).replace("keys/alice", "keys/bob"));
    let told = refusal(&proxy);
    assert!(
        told.contains("keys/bob`, a file that cannot be read"),
        "{told}"
    );
    assert_eq!(ask(&proxy, "one").status, 200);
    write(proxy.path(), "bob", "two");
    passes_soon(&proxy, "two");
    assert_eq!(ask(&proxy, "one").status, 401);
}

#[test]
fn what_is_not_granted_is_told_with_its_place() {
    let origin = Origin::saying("in");
    let folder = with_key("not-to-be-told");
    let refused = |from: &str, to: &str, wanted: &[&str]| {
        let text = keyed(&origin);
        assert!(text.contains(from), "{from}");
        let checked = check(&folder, &text.replace(from, to));
        assert_eq!(checked.code, 2, "{checked:?}");
        let mistakes: Vec<_> = checked
            .text
            .lines()
            .filter(|line| line.starts_with("error: "))
            .collect();
        assert_eq!(mistakes.len(), wanted.len(), "{checked:?}");
        for (mistake, wanted) in mistakes.iter().zip(wanted) {
            assert!(mistake.contains(wanted), "{wanted} in {checked:?}");
        }
        assert!(!checked.text.contains("not-to-be-told"), "{checked:?}");
    };
    refused(
        "grants: { secrets: [alice-key] }",
        "grants: {}",
        &[
            "checked.yaml:10:74: filter `auth` refuses this: expected a secret that this filter may use",
        ],
    );
    refused(
        "secrets: [alice-key]",
        "secrets: [alise-key]",
        &[
            "found `alise-key`, wanted the name of a secret, such as `alice-key`",
            "checked.yaml:10:74: filter `auth` refuses this",
        ],
    );
    refused(
        "file: keys/alice",
        "file: keys/bob",
        &["keys/bob`, a file that cannot be read"],
    );
    refused(
        "file: keys/alice",
        "file: keys",
        &["keys`, a file that is no regular file"],
    );
    refused(
        "name: alice-key, file",
        "name: alice-kye, file",
        &["found `alice-key`, wanted the name of a secret, such as `alice-kye`"],
    );
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn auth_needs_no_grant_where_no_key_is_a_secret() {
    let origin = Origin::saying("in");
    let rest = "filters: { auth: { component: 'lockgate:auth', config: { api_keys: [{ name: a, key: k }] } } }\n";
    let proxy = Proxy::start(&yaml("auth", rest, &origin));
    assert_eq!(ask(&proxy, "k").status, 200);
    assert_eq!(ask(&proxy, "l").status, 401);
}

/// The guest that is told what to do with secrets, under these names.
fn guests(guests: &[(&str, Value, Value)], origin: &Origin) -> String {
    let names: Vec<_> = guests.iter().map(|(name, ..)| *name).collect();
    let entries = guests.iter().map(|(name, grants, config)| {
        let entry = json!({ "component": "./secrets.wasm", "grants": grants, "config": config });
        ((*name).to_owned(), entry)
    });
    let filters = Value::Object(entries.collect());
    let rest = format!(
        "secrets: [{{ name: token, file: keys/alice }}, {{ name: other, value: hunter2 }}, \
         {{ name: path, env: PATH }}]\nfilters: {filters}\n"
    );
    yaml(&names.join(", "), &rest, origin)
}

fn with_guest(key: &str) -> PathBuf {
    let folder = with_key(key);
    fs::write(folder.join("secrets.wasm"), hostile::secrets_component()).unwrap();
    folder
}

#[test]
fn what_is_put_reaches_the_origin_and_no_later_filter() {
    let origin = Origin::saying("in");
    let first = json!({ "request": ["put authorization Bearer: token"] });
    let later = json!({ "fields": ["authorization"], "request": ["copy authorization x-copied"] });
    let chain = [
        ("first", json!({ "secrets": ["token"] }), first.clone()),
        ("later", json!({}), later.clone()),
    ];
    let proxy = Proxy::start_in(with_guest("t0ken\n"), &guests(&chain, &origin));
    assert_eq!(
        proxy.ask("/", &[("authorization", "of the client")]).status,
        200
    );
    let seen = origin.seen();
    assert_eq!(seen.all("authorization"), ["Bearer:t0ken"]);
    assert_eq!(seen.header("x-copied"), Some(""));

    // With the grant the power goes, though nothing else has changed.
    let chain = [("first", json!({}), first), ("later", json!({}), later)];
    proxy.edit(&guests(&chain, &origin));
    assert!(proxy.reload().ok);
    assert_eq!(proxy.get("/").status, 200);
    let seen = origin.seen();
    assert_eq!(seen.header("authorization"), None);
    assert_eq!(seen.header("x-copied"), Some("nothing"));
}

#[test]
fn the_admin_address_shows_no_secret() {
    let origin = Origin::saying("in");
    let steps = json!({ "request": ["count token"] });
    let chain = [("guest", json!({ "reveal": ["token"] }), steps)];
    let proxy = Proxy::start_in(with_guest("t0ken"), &guests(&chain, &origin));
    assert_eq!(proxy.get("/").status, 200);
    let counted = "lockgate_guest_seen_total{filter=\"guest\",what=\"***\"}";
    assert_eq!(metric(proxy.admin(), counted), 1.0);
    let shown = get(proxy.admin(), "/config");
    let secrets = &json(&shown)["secrets"];
    assert_eq!(secrets[0], json!({ "name": "token", "file": "keys/alice" }));
    assert_eq!(secrets[1], json!({ "name": "other", "value": "***" }));
    assert_eq!(secrets[2], json!({ "name": "path", "env": "PATH" }));
    for page in ["/config", "/filters", "/generations", "/metrics"] {
        let text = get(proxy.admin(), page).text();
        for secret in ["t0ken", "hunter2"] {
            assert!(!text.contains(secret), "{page}: {text}");
        }
    }
}

#[test]
fn no_mistake_has_a_secret_in_its_place() {
    let origin = Origin::saying("in");
    let grants = json!({ "reveal": ["token"] });
    let chain = [("guest", grants, json!({ "create": ["at token"] }))];
    let folder = with_guest("t0ken");
    let checked = check(&folder, &guests(&chain, &origin));
    assert_eq!(checked.code, 2, "{checked:?}");
    assert!(checked.text.contains("refused"), "{checked:?}");
    assert!(!checked.text.contains("t0ken"), "{checked:?}");
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn no_log_has_a_secret_in_it() {
    let origin = Origin::saying("in");
    let steps = json!({ "request": [
        "put x-put Bearer: token",
        "show x-shown token",
        "log token",
        "print token",
        "name token",
        "tell token",
    ]});
    let failing = json!({ "request": ["fail token"] });
    let grants = json!({ "reveal": ["token"] });
    let chain = [
        ("guest", grants.clone(), steps),
        ("failing", grants, failing),
    ];
    let text =
        guests(&chain, &origin).replace("\"component\"", "\"on_error\": \"skip\", \"component\"");
    let text = format!("log: {{ level: trace }}\naccess_log: {{ to: ./access.log }}\n{text}");
    let process = Process::start_in(with_guest("t0ken"), &text);
    assert_eq!(process.get("/").status, 200);
    assert_eq!(origin.seen().header("x-shown"), Some("t0ken"));
    process.logged("it is ***");
    process.logged("printed: ***");
    process.logged("failed with ***");
    write(process.path(), "alice", "t1ken");
    let line = process.logged("a secret was read again");
    assert!(
        line.contains("secret=\"token\"") || line.contains("secret=token"),
        "{line}"
    );
    within("the new one is sent", || {
        process.get("/");
        (origin.seen().header("x-shown") == Some("t1ken")).then_some(())
    });
    write(process.path(), "alice", "");
    process.logged("its last good value stays");
    let access = within("an exchange is told of", || {
        let text = fs::read_to_string(process.path().join("access.log")).ok()?;
        text.contains("guest.outcome").then_some(text)
    });
    assert!(access.contains("it is ***"), "{access}");
    assert!(access.contains("guest.***"), "{access}");
    for text in [process.log(), access] {
        for secret in ["t0ken", "t1ken", "hunter2"] {
            assert!(!text.contains(secret), "{text}");
        }
    }
}
