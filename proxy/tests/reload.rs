//! What makes Lockgate load its configuration anew, and what comes of it when
//! that configuration is bad.

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use support::admin::{get, json, metric, refusal};
use support::process::run;
use support::{Process, Proxy, whole, within};

const ADMIN: &str = "admin: { address: '127.0.0.1:0' }\n";

const LISTENER: &str = "listeners: [{ name: web, address: '127.0.0.1:0', filters: [router] }]\n";

/// A router that answers everything with this text.
fn saying(text: &str) -> String {
    format!(
        "filters:\n  router:\n    component: lockgate:router\n    config:\n      routes:\n      \
         - {{ name: all, match: {{ path_prefix: / }}, respond: {{ status: 200, body: '{text}' }} }}\n"
    )
}

fn whole_policy(text: &str) -> String {
    format!("{ADMIN}{LISTENER}{}", saying(text))
}

fn wait_for(proxy: &Proxy, text: &str) {
    within(&format!("the policy `{text}`"), || {
        (proxy.get("/").text() == text).then_some(())
    });
}

fn replace(path: &Path, bytes: impl AsRef<[u8]>) {
    let aside = path.with_extension("aside");
    fs::write(&aside, bytes).unwrap();
    fs::rename(aside, path).unwrap();
}

#[test]
fn a_file_that_is_replaced_by_renaming_is_loaded_again_and_again() {
    let proxy = Proxy::start(&whole_policy("0"));
    assert_eq!(proxy.get("/").text(), "0");
    for round in 1..4 {
        proxy.edit(&whole_policy(&round.to_string()));
        wait_for(&proxy, &round.to_string());
    }
}

#[test]
fn a_file_that_is_written_in_place_is_loaded() {
    let proxy = Proxy::start(&whole_policy("one"));
    let path = proxy.path().join("lockgate.yaml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("'one'", "'two'")).unwrap();
    wait_for(&proxy, "two");
}

#[test]
fn an_included_file_is_watched_and_so_is_a_new_one_of_a_pattern() {
    let folder = Proxy::folder();
    let included = folder.join("conf.d");
    fs::create_dir(&included).unwrap();
    fs::write(included.join("a.yaml"), saying("one")).unwrap();
    let proxy = Proxy::start_in(
        folder,
        &format!("include: [conf.d/*.yaml]\n{ADMIN}{LISTENER}"),
    );
    assert_eq!(proxy.get("/").text(), "one");
    replace(&included.join("a.yaml"), saying("two"));
    wait_for(&proxy, "two");

    let cluster = "clusters: [{ name: late, endpoints: ['127.0.0.1:9'] }]\n";
    replace(&included.join("b.yaml"), cluster);
    within("the new file's cluster", || {
        let clusters = get(proxy.admin(), "/clusters").text();
        clusters.contains("\"late\"").then_some(())
    });
    fs::remove_file(included.join("b.yaml")).unwrap();
    within("the cluster goes with its file", || {
        let clusters = get(proxy.admin(), "/clusters").text();
        (!clusters.contains("\"late\"")).then_some(())
    });
}

#[test]
fn a_component_file_is_watched() {
    let folder = Proxy::folder();
    let component = folder.join("router.wasm");
    fs::write(&component, router()).unwrap();
    let policy = whole_policy("one").replace("lockgate:router", "./router.wasm");
    let proxy = Proxy::start_in(folder, &policy);
    let digest = || json(&get(proxy.admin(), "/filters"))[0]["digest"].to_string();
    let first = digest();
    let mut bytes = router();
    bytes.extend_from_slice(b"\x00\x06\x04notex");
    replace(&component, bytes);
    within("another digest", || (digest() != first).then_some(()));
    assert_eq!(proxy.get("/").text(), "one");
}

fn router() -> Vec<u8> {
    let shipped = lockgate::shipped::SHIPPED;
    let shipped = shipped
        .iter()
        .find(|shipped| shipped.name == "lockgate:router")
        .unwrap();
    shipped.bytes.to_vec()
}

/// As kubelet mounts one: all files change at once, by one link.
#[test]
fn the_exchanged_link_of_a_mounted_config_map_is_followed() {
    let folder = Proxy::folder();
    let fill = |name: &str, text: &str| {
        let version = folder.join(name);
        fs::create_dir(&version).unwrap();
        let main = whole(&format!("include: [policy.yaml]\n{ADMIN}{LISTENER}"));
        fs::write(version.join("lockgate.yaml"), main).unwrap();
        fs::write(version.join("policy.yaml"), saying(text)).unwrap();
    };
    fill("..1", "one");
    symlink("..1", folder.join("..data")).unwrap();
    for name in ["lockgate.yaml", "policy.yaml"] {
        symlink(Path::new("..data").join(name), folder.join(name)).unwrap();
    }
    let proxy = Proxy::start_as_is(folder.clone()).unwrap_or_else(|error| panic!("{error}"));
    for (old, new, text) in [("..1", "..2", "two"), ("..2", "..3", "three")] {
        fill(new, text);
        symlink(new, folder.join("..data_tmp")).unwrap();
        fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
        fs::remove_dir_all(folder.join(old)).unwrap();
        wait_for(&proxy, text);
    }
}

#[test]
fn a_reload_that_is_asked_for_tells_what_changed() {
    let proxy = Proxy::start(&whole_policy("one"));
    let nothing = proxy.reload();
    assert!(nothing.ok && nothing.changed.is_empty(), "{nothing:?}");
    proxy.edit(&whole_policy("two"));
    // The watch may have come first.
    let outcome = proxy.reload();
    assert!(outcome.ok, "{outcome:?}");
    assert_eq!(proxy.get("/").text(), "two");
    let told = json(&get(proxy.admin(), "/generations"));
    assert_eq!(told["last_reload"]["ok"], true);
    assert!(told["last_reload"]["generation"].as_u64() >= Some(outcome.generation));
}

#[test]
fn a_key_that_counts_at_the_start_is_told_as_long_as_it_differs() {
    let proxy = Proxy::start(&whole_policy("one"));
    let more = |text: &str| format!("workers: 3\ncache_dir: ./elsewhere\n{}", whole_policy(text));
    let warned = || {
        let warnings = proxy.reload().warnings.join("\n");
        let is_told = |key: &str| warnings.contains(&format!("`{key}` is not what"));
        (is_told("workers"), is_told("cache_dir"), warnings)
    };
    assert_eq!(warned().2, "");
    proxy.edit(&more("one"));
    for text in ["one", "two"] {
        proxy.edit(&more(text));
        let (workers, cache_dir, all) = warned();
        assert!(workers && cache_dir, "{all}");
        assert_eq!(all.lines().count(), 2, "{all}");
    }
    proxy.edit(&whole_policy("three"));
    assert_eq!(warned().2, "");
}

#[test]
fn settings_are_among_what_changed() {
    let process = Process::start(&whole_policy("one"));
    process.edit(&format!("drain_timeout: 7s\n{}", whole_policy("one")));
    let line = process.logged("reloaded");
    assert!(line.contains("changed=\"settings\""), "{line}");
    process.signal("HUP");
    let line = process.logged("reloaded why=\"SIGHUP\"");
    assert!(line.contains("changed=\"nothing\""), "{line}");
}

/// However little of its entry that is, and though the version that serves is the same.
#[test]
fn a_filter_is_among_what_changed_with_what_is_tried_of_it() {
    let process = Process::start(&whole_policy("one"));
    let trial = |kind: &str, percent: u32, text: &str| {
        format!(
            "    {kind}:\n      component: lockgate:router\n      percent: {percent}\n      \
             config: {{ routes: [{{ name: all, match: {{ path_prefix: / }}, \
             respond: {{ status: 200, body: {text} }} }}] }}\n"
        )
    };
    let edits = [
        trial("canary", 5, "two"),
        trial("canary", 6, "two"),
        trial("canary", 6, "three"),
        trial("canary", 6, "three") + &trial("shadow", 6, "four"),
        trial("canary", 6, "three") + &trial("shadow", 7, "four"),
        "    probation: { time: 7s }\n".to_owned(),
    ];
    for (index, more) in edits.iter().enumerate() {
        process.edit(&(whole_policy("one") + more));
        within(&format!("edit {index} is told"), || {
            let log = process.log();
            let told = log.matches("changed=\"filter router\"").count();
            (told > index).then_some(())
        });
    }
    process.signal("HUP");
    let line = process.logged("reloaded why=\"SIGHUP\"");
    assert!(line.contains("changed=\"nothing\""), "{line}");
}

#[test]
fn an_access_log_that_the_next_start_could_not_open_is_refused() {
    let proxy = Proxy::start(&whole_policy("one"));
    let nowhere = proxy.path().join("nowhere/access.log");
    let to = |path: &Path| format!("access_log: {{ to: '{}' }}\n", path.display());
    proxy.edit(&format!("{}{}", to(&nowhere), whole_policy("two")));
    let reason = refusal(&proxy);
    assert!(reason.contains("lockgate.yaml:4:19:"), "{reason}");
    assert!(reason.contains("nowhere/access.log`"), "{reason}");
    assert_eq!(proxy.get("/").text(), "one");
}

const REFUSED: &str = "lockgate_reloads_total{outcome=\"refused\"}";

#[test]
fn a_refused_reload_changes_nothing_and_its_reason_is_told_everywhere() {
    let proxy = Proxy::start(&whole_policy("one"));
    let admin = proxy.admin();
    assert_eq!(metric(admin, REFUSED), 0.0);
    proxy.edit(&whole_policy("two").replace("status: 200", "status: 987"));
    let reason = refusal(&proxy);
    assert!(reason.contains("lockgate.yaml:"), "{reason}");
    assert!(reason.contains("987"), "{reason}");
    assert!(metric(admin, REFUSED) >= 1.0);
    assert_eq!(metric(admin, "lockgate_generation"), 1.0);
    assert_eq!(proxy.get("/").text(), "one");
    let shown = get(admin, "/config").text();
    assert!(
        shown.contains("\"one\"") && !shown.contains("987"),
        "{shown}"
    );

    let asked = run(&["reload", "--admin", &admin.to_string()]);
    assert_eq!(asked.status.code(), Some(2));
    let answer = String::from_utf8(asked.stdout).unwrap();
    assert!(answer.contains("987"), "{answer}");
    assert!(
        answer.ends_with("refused: generation 1 stays\n"),
        "{answer}"
    );
}

#[test]
fn lockgate_reload_asks_the_running_one_even_about_a_bad_file() {
    let folder = Proxy::folder();
    let path = folder.join("lockgate.yaml").display().to_string();
    let socket = folder.join("admin.sock");
    let policy = |text| {
        let admin = format!("admin: {{ address: 'unix:{}' }}\n", socket.display());
        whole_policy(text).replace(ADMIN, &admin)
    };
    let proxy = Proxy::start_in(folder.clone(), &policy("one"));
    let outcome = || {
        let output = run(&["reload", "--config", &path, "--json"]);
        let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code(), told)
    };
    let (code, told) = outcome();
    assert_eq!((code, &told["ok"]), (Some(0), &true.into()), "{told}");

    proxy.edit(&policy("two").replace("name: web", "nam: web"));
    let (code, told) = outcome();
    assert_eq!((code, &told["ok"]), (Some(2), &false.into()), "{told}");
    assert!(
        told["generation"].as_u64() >= Some(1),
        "the running one answered: {told}"
    );
    assert!(told["mistakes"].to_string().contains("nam"), "{told}");

    fs::write(&path, "listeners: [\n").unwrap();
    let (code, told) = outcome();
    assert_eq!((code, &told["ok"]), (Some(2), &false.into()), "{told}");
}

#[test]
fn what_a_refused_configuration_lacked_mends_it_when_it_comes() {
    let proxy = Proxy::start(&whole_policy("one"));
    proxy.edit(&format!("include: [late.yaml]\n{ADMIN}{LISTENER}"));
    assert!(refusal(&proxy).contains("late.yaml"));
    fs::write(proxy.path().join("late.yaml"), saying("two")).unwrap();
    wait_for(&proxy, "two");

    proxy.edit(&whole_policy("three").replace("lockgate:router", "./late.wasm"));
    assert!(refusal(&proxy).contains("late.wasm"));
    fs::write(proxy.path().join("late.wasm"), router()).unwrap();
    wait_for(&proxy, "three");
}

#[test]
fn a_component_that_is_none_is_refused() {
    let folder = Proxy::folder();
    let component = folder.join("router.wasm");
    fs::write(&component, router()).unwrap();
    let policy = whole_policy("one").replace("lockgate:router", "./router.wasm");
    let proxy = Proxy::start_in(folder, &policy);
    replace(&component, &router()[..1000]);
    assert!(refusal(&proxy).contains("lockgate.yaml:"));
    assert_eq!(proxy.get("/").text(), "one");
    replace(&component, router());
    within("it is good again", || {
        let told = json(&get(proxy.admin(), "/generations"));
        (told["last_reload"]["ok"] == true).then_some(())
    });
}
