//! Components and configurations that are no filters of this version: each is
//! refused before it is published, with its reason and its place.

#[path = "support/hostile.rs"]
mod hostile;
mod support;

use std::path::PathBuf;

use serde_json::{Value, json};
use support::admin::{ask_unix, json};
use support::filtered::{Checked, check, counted, yaml};
use support::{Origin, Process, Proxy};

/// A folder of a test's own, gone when it ends.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        Self(Proxy::folder())
    }

    /// Checks a configuration with this component and this configuration of it.
    fn check(&self, component: &[u8], config: &Value) -> Checked {
        std::fs::write(self.0.join("guest.wasm"), component).unwrap();
        let filters = format!("  guest:\n    component: ./guest.wasm\n    config: {config}");
        check(&self.0, &yaml("guest", "", &filters, &[]))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// Refused with all of these words, in one line that begins with the place.
fn refused(checked: &Checked, place: &str, words: &[&str]) {
    assert_eq!(checked.code, 2, "{checked:?}");
    let line = checked
        .text
        .lines()
        .find(|line| line.starts_with("error: "));
    let line = line.unwrap_or_else(|| panic!("no error: {checked:?}"));
    assert!(line.contains(place), "{line}");
    for word in words {
        assert!(line.contains(word), "`{word}` in {line}");
    }
}

/// Where `component` and `config` stand in what is checked.
const COMPONENT: &str = "checked.yaml:6:";
const CONFIG: &str = "checked.yaml:7:";

#[test]
fn bytes_that_are_no_component_are_refused() {
    let folder = Folder::new();
    let refuse = |bytes: &[u8], words: &[&str]| {
        refused(&folder.check(bytes, &json!({})), COMPONENT, words);
    };
    refuse(b"", &["is not WebAssembly"]);
    refuse(b"garbage, and more of it", &["is not WebAssembly"]);
    let core = wat::parse_str("(module)").unwrap();
    refuse(
        &core,
        &["is a core module, not a component", "wasm32-wasip2"],
    );
    let whole = hostile::component();
    refuse(&whole[..whole.len() / 2], &["is not a valid component"]);
    let mut broken = whole.to_vec();
    broken[whole.len() / 2..whole.len() / 2 + 64].fill(0xff);
    refuse(&broken, &["component"]);
}

#[test]
fn a_running_one_compiles_apart_and_tells_what_is_wrong() {
    let folder = Proxy::folder();
    let component = hostile::component();
    std::fs::write(folder.join("guest.wasm"), component).unwrap();
    let socket = format!("unix:{}/admin.sock", folder.display());
    let filters = "  guest:\n    component: ./guest.wasm";
    let yaml = yaml("guest", "", filters, &[]).replacen("127.0.0.1:0", &socket, 1);
    let process = Process::start_in(folder.clone(), &yaml);
    let mut broken = component.to_vec();
    broken[component.len() / 2..component.len() / 2 + 64].fill(0xff);
    std::fs::write(folder.join("guest.wasm"), &broken).unwrap();
    let outcome = json(&ask_unix(&folder.join("admin.sock"), "POST", "/reload"));
    assert!(
        outcome.to_string().contains("is not a valid component"),
        "{outcome}"
    );
    // Not seen before, and good.
    let other = [component, b"\x00\x06\x04note\x07"].concat();
    std::fs::write(folder.join("guest.wasm"), other).unwrap();
    let outcome = json(&ask_unix(&folder.join("admin.sock"), "POST", "/reload"));
    assert_eq!(outcome["ok"], true, "{outcome}\n{}", process.log());
}

#[test]
fn a_component_that_is_not_there_is_refused() {
    let folder = Folder::new();
    let filters = "  guest:\n    component: ./nowhere.wasm";
    let checked = check(&folder.0, &yaml("guest", "", filters, &[]));
    refused(&checked, COMPONENT, &["nowhere.wasm", "No such file"]);
    let filters = "  guest:\n    component: lockgate:ruoter";
    let checked = check(&folder.0, &yaml("guest", "", filters, &[]));
    refused(
        &checked,
        COMPONENT,
        &["`lockgate:ruoter`", "lockgate:router"],
    );
}

#[test]
fn components_of_other_worlds_are_refused() {
    let folder = Folder::new();
    let refuse = |wat: &str, words: &[&str]| {
        let component = wat::parse_str(wat).unwrap();
        refused(&folder.check(&component, &json!({})), COMPONENT, words);
    };
    refuse("(component)", &["is a component of another world"]);
    refuse(
        r#"(component (instance $i) (export "wasi:cli/run@0.2.6" (instance $i)))"#,
        &["is a component of another world"],
    );
    refuse(
        r#"(component (instance $i) (export "lockgate:filter/http-filter@0.2.0" (instance $i)))"#,
        &[
            "lockgate:filter/http-filter@0.2.0",
            "not the version served here (0.1.0)",
        ],
    );
    refuse(
        r#"(component (instance $i)
            (export "lockgate:filter/http-filter@0.1.0" (instance $i))
            (export "lockgate:filter/hand-over@0.1.0" (instance $i)))"#,
        &["does not fit the contract", "hand-over", "`format`"],
    );
    refuse(
        r#"(component (instance $i) (export "lockgate:filter/connection-filter@0.1.0" (instance $i)))"#,
        &[
            "does not fit the contract",
            "connection-filter",
            "`describe`",
        ],
    );
}

#[test]
fn imports_that_nobody_grants_are_refused_by_name() {
    let folder = Folder::new();
    let refuse = |import: &str, words: &[&str]| {
        let wat = format!(
            r#"(component (import "{import}" (instance)) (instance $i)
                (export "lockgate:filter/http-filter@0.1.0" (instance $i)))"#
        );
        let component = wat::parse_str(wat).unwrap();
        refused(&folder.check(&component, &json!({})), COMPONENT, words);
    };
    for import in [
        "wasi:sockets/tcp@0.2.6",
        "wasi:sockets/udp@0.2.0",
        "wasi:http/outgoing-handler@0.2.6",
        "wasi:http/types@0.2.3",
    ] {
        refuse(import, &[import, "filters have no network of their own"]);
    }
    refuse("wasi:keyvalue/store@0.2.0", &["which nobody provides"]);
}

#[test]
fn what_a_configuration_wants_and_is_not_served_is_refused() {
    let folder = Folder::new();
    let refuse = |wants: Value, words: &[&str]| {
        let checked = folder.check(hostile::component(), &json!({ "wants": wants }));
        refused(&checked, CONFIG, words);
    };
    refuse(
        json!({ "retries": ["twice"] }),
        &["naming the retry policy `twice`", "and there is none"],
    );
    refuse(json!({ "clusters": ["nowhere"] }), &["`nowhere`"]);
}

#[test]
fn a_guest_that_breaks_while_it_is_configured_is_refused() {
    let folder = Folder::new();
    let refuse = |config: Value, words: &[&str]| {
        let checked = folder.check(hostile::component(), &config);
        refused(&checked, CONFIG, words);
    };
    for (step, fault) in [
        ("trap", "trap"),
        ("loop", "overrun"),
        ("allocate", "memory"),
    ] {
        refuse(
            json!({ "create": [step] }),
            &[&format!("`create` failed: {fault}: ")],
        );
        refuse(
            json!({ "wants": { "steps": [step] } }),
            &[&format!("`wants` failed: {fault}: ")],
        );
    }
    refuse(
        json!({ "create": ["error not like this"] }),
        &["not like this"],
    );
    refuse(json!({ "unknown": 1 }), &["unknown field `unknown`"]);
}

#[test]
fn every_mistake_is_told_at_its_place() {
    let folder = Folder::new();
    std::fs::write(folder.0.join("guest.wasm"), hostile::component()).unwrap();
    let filters = "  one:
    component: ./guest.wasm
    config:
      create:
        - error one is bad
  two: { component: ./guest.wasm, config: { create: [error two is bad] } }
  three: { component: ./guest.wasm, config: { create: [trap] } }";
    let checked = check(&folder.0, &yaml("one, two, three", "", filters, &[]));
    assert_eq!(checked.code, 2);
    let errors: Vec<_> = checked
        .text
        .lines()
        .filter(|line| line.starts_with("error: "))
        .collect();
    assert_eq!(errors.len(), 3, "{checked:?}");
    assert!(errors[0].contains("checked.yaml:9:"), "{}", errors[0]);
    assert!(errors[0].contains("one is bad"), "{}", errors[0]);
    assert!(errors[1].contains("two is bad"), "{}", errors[1]);
    assert!(errors[2].contains("`create` failed: trap"), "{}", errors[2]);
}

#[test]
fn a_reload_with_a_refused_component_changes_nothing() {
    let origin = Origin::saying("ok");
    let with = |component: &str, mark: &str| {
        let config = json!({ "wants": { "phases": ["request"] }, "request": [mark] });
        let filters = format!("  guest:\n    component: {component}\n    config: {config}");
        yaml("guest", ", cluster: o", &filters, &[("o", &origin)])
    };
    let folder = Proxy::folder();
    std::fs::write(folder.join("guest.wasm"), hostile::component()).unwrap();
    std::fs::write(
        folder.join("core.wasm"),
        wat::parse_str("(module)").unwrap(),
    )
    .unwrap();
    let good = with("./guest.wasm", "request.set x-mark old");
    let proxy = Proxy::start_in(folder, &good);
    for (component, mark) in [
        ("./core.wasm", "request.set x-mark new"),
        ("./absent.wasm", "request.set x-mark new"),
    ] {
        proxy.edit(&with(component, mark));
        let outcome = format!("{:?}", proxy.reload());
        assert!(outcome.contains("wasm"), "{outcome}");
        assert_eq!(proxy.get("/").text(), "ok");
        assert_eq!(origin.seen().header("x-mark"), Some("old"));
    }
    let lost = [("filter", "guest")];
    let made = counted(&proxy, "lockgate_filter_instances_made_total", &lost);
    assert!(made <= 2, "no more than one for each worker");
}
