//! `lockgate filter lock`: a filter that wants more than was written down is not
//! loaded until it is written down again.

#[path = "guests/component.rs"]
mod guests;
mod support;

use std::path::Path;

use serde_json::Value;
use support::admin::ask;
use support::process::{lockgate, run};
use support::{Origin, Process, Proxy};

fn policy(origin: &Origin, grants: &str) -> String {
    format!(
        "admin: {{ address: '127.0.0.1:0' }}\n\
         listeners: [{{ name: web, address: '127.0.0.1:0', cluster: o, filters: [mine] }}]\n\
         clusters: [{{ name: o, endpoints: ['{}'] }}]\n\
         filters:\n  mine: {{ component: ./mine.wasm, grants: {{ {grants} }} }}\n",
        origin.address
    )
}

fn lock(folder: &Path) -> String {
    let output = lockgate(&["filter", "lock", "--config"])
        .arg(folder.join("lockgate.yaml"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn locked(folder: &Path) -> Value {
    let text = std::fs::read_to_string(folder.join("lockgate.lock")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// A reload, and what spoke against it.
fn reload(proxy: &Proxy) -> Vec<String> {
    let outcome = proxy.reload();
    assert_eq!(outcome.ok, outcome.mistakes.is_empty());
    outcome.mistakes
}

#[test]
fn a_filter_that_wants_more_waits_for_the_lock() {
    let origin = Origin::saying("ok");
    let folder = Proxy::folder();
    std::fs::write(folder.join("mine.wasm"), guests::component()).unwrap();
    let proxy = Proxy::start_in(folder.clone(), &policy(&origin, ""));
    assert!(lock(&folder).starts_with("mine: new, without a grant\n"));
    assert_eq!(reload(&proxy), [""; 0]);
    let first = locked(&folder);
    assert!(
        first["mine"]["digest"]
            .as_str()
            .unwrap()
            .starts_with("sha256:")
    );
    // Other bytes with the same wishes need nobody's leave.
    let other = [guests::component(), b"\x00\x06\x04note\x07"].concat();
    std::fs::write(folder.join("mine.wasm"), other).unwrap();
    assert_eq!(reload(&proxy), [""; 0]);
    // One that imports more does, and so does a grant that nobody wrote down.
    std::fs::write(folder.join("mine.wasm"), guests::caller()).unwrap();
    proxy.edit(&policy(&origin, "call: [o]"));
    let mistakes = reload(&proxy);
    let told = "a filter that newly wants to import `lockgate:filter/http-client@0.1.0`, \
                the grant `call o`, wanted what `lockgate filter lock` wrote";
    assert!(mistakes[0].contains("lockgate.yaml:"), "{mistakes:?}");
    assert!(mistakes[0].contains(told), "{mistakes:?}");
    assert_eq!(proxy.get("/").status, 200, "the old one goes on");
    let renewed = lock(&folder);
    assert!(renewed.contains("mine: newly wants to import"), "{renewed}");
    assert_eq!(reload(&proxy), [""; 0]);
}

#[test]
fn a_filter_that_would_share_more_waits_for_the_lock() {
    let origin = Origin::saying("ok");
    let folder = Proxy::folder();
    std::fs::write(folder.join("mine.wasm"), guests::component()).unwrap();
    let sharing = |size| {
        policy(
            &origin,
            &format!("shared: true }}, limits: {{ max_shared: {size}"),
        )
    };
    let proxy = Proxy::start_in(folder.clone(), &sharing("1MiB"));
    lock(&folder);
    assert_eq!(reload(&proxy), [""; 0]);
    proxy.edit(&sharing("512KiB"));
    assert_eq!(reload(&proxy), [""; 0]);
    proxy.edit(&sharing("2MiB"));
    let mistakes = reload(&proxy);
    let told = "to share 2097152 bytes (`limits.max_shared`), where 1048576 are locked";
    assert!(mistakes[0].contains(told), "{mistakes:?}");
    lock(&folder);
    assert_eq!(reload(&proxy), [""; 0]);
}

#[test]
fn of_a_filter_that_wants_more_nothing_has_run() {
    let origin = Origin::saying("ok");
    let folder = Proxy::folder();
    std::fs::write(folder.join("mine.wasm"), guests::component()).unwrap();
    let process = Process::start_in(folder.clone(), &policy(&origin, ""));
    lock(&folder);
    // No grant is too much for what it imports: it is the file that wants one more.
    std::fs::write(folder.join("mine.wasm"), guests::fickle()).unwrap();
    process.edit(&policy(&origin, "shared: true"));
    process.signal("HUP");
    process.logged("a filter that newly wants the grant `shared`");
    process.logged("reload refused");
    assert!(!process.log().contains("fickle: "), "{}", process.log());
    // Neither where something else is wrong with the file.
    let worse = policy(&origin, "shared: true").replace("cluster: o", "cluster: none");
    process.edit(&worse);
    process.signal("HUP");
    process.logged("`none`");
    assert!(!process.log().contains("fickle: "), "{}", process.log());

    process.edit(&policy(&origin, "shared: true"));
    lock(&folder);
    process.signal("HUP");
    for what in ["described", "created", "asked"] {
        process.logged(&format!("fickle: {what}"));
    }
}

#[test]
fn a_filter_that_is_not_written_down_is_not_loaded() {
    let origin = Origin::saying("ok");
    let folder = Proxy::folder();
    let file = folder.join("lockgate.yaml");
    std::fs::write(folder.join("mine.wasm"), guests::component()).unwrap();
    std::fs::write(folder.join("lockgate.lock"), "{}").unwrap();
    std::fs::write(&file, policy(&origin, "")).unwrap();
    let check = || {
        let output = run(&["check", file.to_str().unwrap()]);
        let text = String::from_utf8(output.stdout).unwrap();
        (output.status.code(), text)
    };
    let (code, text) = check();
    assert_eq!(code, Some(2));
    let told = "`mine`, which is not in `lockgate.lock`";
    assert!(text.contains(told), "{text}");
    std::fs::write(folder.join("lockgate.lock"), "{ edited by hand").unwrap();
    let (code, text) = check();
    assert_eq!(code, Some(2));
    assert!(text.contains("a `lockgate.lock` that is none: "), "{text}");
    lock(&folder);
    assert_eq!(check().0, Some(0));
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_canary_that_wants_more_waits_for_the_lock() {
    let origin = Origin::saying("ok");
    let folder = Proxy::folder();
    let yaml = policy(&origin, "call: [o]").replace(
        "./mine.wasm,",
        "./mine.wasm, canary: { component: ./canary.wasm, percent: 0 },",
    );
    let other = [guests::component(), b"\x00\x06\x04note\x07"].concat();
    std::fs::write(folder.join("mine.wasm"), guests::component()).unwrap();
    std::fs::write(folder.join("canary.wasm"), other).unwrap();
    let proxy = Proxy::start_in(folder.clone(), &yaml);
    let told = lock(&folder);
    assert!(
        told.contains("mine/canary: new, with the grants call o"),
        "{told}"
    );
    assert_eq!(reload(&proxy), [""; 0]);

    std::fs::write(folder.join("canary.wasm"), guests::caller()).unwrap();
    let mistakes = reload(&proxy);
    let told = "a canary that newly wants to import `lockgate:filter/http-client@0.1.0`";
    assert!(mistakes[0].contains(told), "{mistakes:?}");
    let renewed = lock(&folder);
    assert!(
        renewed.contains("mine/canary: newly wants to import"),
        "{renewed}"
    );
    assert_eq!(reload(&proxy), [""; 0]);

    // In the filter's place it is still what was written down as the canary.
    let path = "/filters/mine/promote";
    let promoted = ask(proxy.admin(), "POST", path, &[("host", "localhost")]);
    assert_eq!(promoted.status, 200, "{promoted:?}");
    assert_eq!(reload(&proxy), [""; 0]);
}

#[test]
fn a_shadow_that_may_call_more_waits_for_the_lock() {
    let origin = Origin::saying("ok");
    let folder = Proxy::folder();
    let yaml = |call: &str| {
        policy(&origin, "").replace(
            "./mine.wasm,",
            &format!("./mine.wasm, shadow: {{ component: ./mine.wasm, call: [{call}] }},"),
        )
    };
    std::fs::write(folder.join("mine.wasm"), guests::component()).unwrap();
    let proxy = Proxy::start_in(folder.clone(), &yaml(""));
    let told = lock(&folder);
    assert!(told.contains("mine/shadow: new, without a grant"), "{told}");

    proxy.edit(&yaml("o"));
    let mistakes = reload(&proxy);
    let told = "a shadow that newly wants the grant `call o`";
    assert!(mistakes[0].contains(told), "{mistakes:?}");
    lock(&folder);
    assert_eq!(reload(&proxy), [""; 0]);
}

#[test]
fn a_lock_that_has_a_filter_twice_is_refused_with_its_place() {
    let origin = Origin::saying("ok");
    let folder = Proxy::folder();
    let file = folder.join("lockgate.yaml");
    std::fs::write(folder.join("mine.wasm"), guests::component()).unwrap();
    std::fs::write(&file, policy(&origin, "")).unwrap();
    lock(&folder);
    let path = folder.join("lockgate.lock");
    let entry = locked(&folder)["mine"].to_string();
    std::fs::write(&path, format!("{{\"mine\":{entry},\n \"mine\":{entry}}}")).unwrap();
    let output = run(&["check", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let told = "a `lockgate.lock` that is none: `mine` a second time at line 2 column";
    assert!(text.contains(told), "{text}");
    std::fs::remove_dir_all(folder).ok();
}

#[test]
fn a_lock_that_cannot_be_written_is_told_with_its_path() {
    let origin = Origin::saying("ok");
    let folder = Proxy::folder();
    std::fs::write(folder.join("mine.wasm"), guests::component()).unwrap();
    std::fs::write(folder.join("lockgate.yaml"), policy(&origin, "")).unwrap();
    let path = folder.join("lockgate.lock");
    std::fs::create_dir(&path).unwrap();
    let output = lockgate(&["filter", "lock", "--config"])
        .arg(folder.join("lockgate.yaml"))
        .output()
        .unwrap();
    assert!(!output.status.success(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stderr);
    let told = format!(
        "cannot write `{}`, wanted a file that can be replaced, or none",
        path.display()
    );
    assert!(text.contains(&told), "{text}");
    assert!(output.stdout.is_empty(), "{output:?}");
    let names = std::fs::read_dir(&folder).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name());
    let left: Vec<_> = names
        .filter(|name| name.to_string_lossy().starts_with("lockgate.lock"))
        .collect();
    assert_eq!(left, ["lockgate.lock"]);
    std::fs::remove_dir_all(folder).ok();
}
