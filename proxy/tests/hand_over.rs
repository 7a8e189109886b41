//! What a filter shares, across versions that keep it in other forms.

#[path = "guests/component.rs"]
mod guests;
mod support;

use guests::handed;
use support::admin::{ask, get, json};
use support::{Origin, Proxy, within};

fn yaml(origin: &Origin) -> String {
    format!(
        "admin: {{ address: '127.0.0.1:0' }}\n\
         listeners: [{{ name: web, address: '127.0.0.1:0', cluster: o, filters: [counter] }}]\n\
         filters:\n  counter:\n    component: ./counter.wasm\n    \
         grants: {{ shared: true }}\n    limits: {{ hand_over: 30s }}\n    \
         probation: {{ time: 1ms, min_calls: 1 }}\n\
         clusters: [{{ name: o, endpoints: ['{}'] }}]\n",
        origin.address
    )
}

fn put(proxy: &Proxy, form: u8, salt: u8) {
    write(proxy.path(), form, salt);
}

/// As editors do: written aside, then put in place.
fn write(folder: &std::path::Path, form: u8, salt: u8) {
    let aside = folder.join(".counter.wasm.new");
    std::fs::write(&aside, handed(form, salt)).unwrap();
    std::fs::rename(aside, folder.join("counter.wasm")).unwrap();
}

fn start(origin: &Origin) -> Proxy {
    let folder = Proxy::folder();
    write(&folder, b'0', 0);
    Proxy::start_in(folder, &yaml(origin))
}

#[test]
fn a_count_survives_ten_upgrades_of_which_three_change_its_form() {
    let origin = Origin::saying("unasked");
    let proxy = start(&origin);
    let mut count = 0;
    let mut counted = |form: char| {
        for _ in 0..3 {
            count += 1;
            assert_eq!(proxy.get("/").text(), format!("{form}:{count}"));
        }
    };
    counted('0');
    let upgrades = ['0', '0', '1', '1', '1', '2', '2', '3', '3', '3'];
    for (salt, form) in (1..).zip(upgrades) {
        put(&proxy, form as u8, salt);
        let outcome = proxy.reload();
        assert!(outcome.ok, "{outcome:?}");
        counted(form);
    }
}

#[test]
fn a_version_that_cannot_read_the_form_is_refused_with_its_reason() {
    let origin = Origin::saying("unasked");
    let proxy = start(&origin);
    assert_eq!(proxy.get("/").text(), "0:1");
    put(&proxy, b'7', 1);
    let outcome = proxy.reload();
    assert!(!outcome.ok);
    let told = outcome.mistakes.join("\n");
    assert!(told.contains("counter.wasm"), "{told}");
    assert!(
        told.contains("`count` is of the form 0, which is too old"),
        "{told}"
    );
    assert_eq!(proxy.get("/").text(), "0:2");
}

#[test]
fn going_back_is_going_back_to_what_was_shared_then() {
    let origin = Origin::saying("unasked");
    let proxy = start(&origin);
    assert_eq!(proxy.get("/").text(), "0:1");
    assert_eq!(proxy.get("/").text(), "0:2");
    within("the first version counts as good", || {
        let told = json(&get(proxy.admin(), "/filters"));
        (told[0]["version"]["on_probation"] == false).then_some(())
    });
    // The next one stays on probation, so the first is the one to go back to.
    put(&proxy, b'2', 1);
    proxy.edit(&yaml(&origin).replace("time: 1ms", "time: 1h"));
    assert!(proxy.reload().ok);
    assert_eq!(proxy.get("/").text(), "2:3");
    put(&proxy, b'0', 0);
    let outcome = proxy.reload();
    assert!(outcome.ok, "{outcome:?}");
    assert_eq!(proxy.get("/").text(), "0:3");
    // Forward again is from there.
    put(&proxy, b'2', 1);
    assert!(proxy.reload().ok);
    assert_eq!(proxy.get("/").text(), "2:4");
}

/// The same with another version beside the filter's own, which is written as `name`.
fn with(yaml: &str, role: &str, name: &str, rest: &str) -> String {
    let beside = format!("    {role}: {{ component: ./{name}.wasm{rest} }}\n");
    yaml.replace("    probation:", &format!("{beside}    probation:"))
}

#[test]
fn what_does_not_serve_takes_nothing_over_and_refuses_nothing() {
    let origin = Origin::saying("unasked");
    let folder = Proxy::folder();
    // At a start there is nothing to take over, so this one can be there.
    write(&folder, b'7', 0);
    std::fs::write(folder.join("canary.wasm"), handed(b'0', 1)).unwrap();
    let yaml = with(&yaml(&origin), "canary", "canary", ", percent: 0");
    let proxy = Proxy::start_in(folder, &yaml);
    assert_eq!(proxy.get("/").text(), "7:1");
    let path = "/filters/counter/promote";
    let promoted = ask(proxy.admin(), "POST", path, &[("host", "localhost")]);
    assert_eq!(promoted.status, 200, "{promoted:?}");
    assert_eq!(proxy.get("/").text(), "0:1");
    // The version in the file cannot read what the promoted one wrote, and need not.
    proxy.edit(&yaml.replace("name: web", "name: web, limits: { max_headers: 77 }"));
    let outcome = proxy.reload();
    assert!(outcome.ok, "{outcome:?}");
    assert_eq!(proxy.get("/").text(), "0:2");
    // As soon as it is to serve, it has to.
    proxy.edit(&self::yaml(&origin));
    let outcome = proxy.reload();
    assert!(!outcome.ok);
    let told = outcome.mistakes.join("\n");
    assert!(told.contains("which is too old"), "{told}");
    assert_eq!(proxy.get("/").text(), "0:3");
}

#[test]
fn a_version_that_cannot_take_over_leaves_the_filter_as_it_is_where_the_file_says_so() {
    let origin = Origin::saying("unasked");
    let proxy = start(&origin);
    assert_eq!(proxy.get("/").text(), "0:1");
    put(&proxy, b'7', 1);
    proxy.edit(&yaml(&origin).replace("    limits:", "    on_bad: keep\n    limits:"));
    let outcome = proxy.reload();
    assert!(outcome.ok, "{outcome:?}");
    let told = outcome.warnings.join("\n");
    assert!(told.contains("which is too old"), "{told}");
    assert!(told.contains("stays at the version that ran"), "{told}");
    assert_eq!(proxy.get("/").text(), "0:2");
}

#[test]
fn a_canary_and_a_shadow_of_another_form_take_over_too() {
    let origin = Origin::saying("unasked");
    let proxy = start(&origin);
    for count in 1..=12 {
        assert_eq!(proxy.get("/").text(), format!("0:{count}"));
    }
    std::fs::write(proxy.path().join("canary.wasm"), handed(b'2', 1)).unwrap();
    std::fs::write(proxy.path().join("shadow.wasm"), handed(b'3', 1)).unwrap();
    let every = ", percent: 100";
    proxy.edit(&with(&yaml(&origin), "canary", "canary", every));
    let outcome = proxy.reload();
    assert!(outcome.ok, "{outcome:?}");
    assert_eq!(proxy.get("/").text(), "2:13");
    assert_eq!(proxy.get("/").text(), "2:14");

    // The filter's own entries were left as they were meanwhile.
    proxy.edit(&with(&yaml(&origin), "shadow", "shadow", every));
    let outcome = proxy.reload();
    assert!(outcome.ok, "{outcome:?}");
    assert_eq!(proxy.get("/").text(), "0:13");
    let told = within("the shadow has seen it", || {
        let told = json(&get(proxy.admin(), "/filters"))[0]["version"]["shadow"].clone();
        (told["compared"] == 1).then_some(told)
    });
    // It said `3:13`: had it begun to count, it would have said less.
    let differences = told["samples"][0]["differences"].to_string();
    let expected = "answer body: 4 bytes; shadow: 4 bytes";
    assert!(differences.contains(expected), "{told}");
}
