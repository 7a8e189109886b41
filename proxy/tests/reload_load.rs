//! Reload after reload while clients are served: none of them notices, and
//! nothing is left behind. `LOCKGATE_RELOADS=1000` makes it the full measure.

mod support;

use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::time::{Duration, Instant};

use support::admin::{ask_unix, json};
use support::load::{Connections, Load};
use support::{Origin, Process, Proxy, within};

/// Until caches and pools have what they need.
const WARM_UP: usize = 40;

#[test]
fn many_reloads_under_load_lose_no_request() {
    let reloads = std::env::var("LOCKGATE_RELOADS").map_or(200, |count| count.parse().unwrap());
    let origin = Origin::saying("body");
    let folder = Proxy::folder();
    write_component(&folder, 0);
    let process = Process::start_in(folder.clone(), &policy(&folder, &origin, 0));
    let load = Load::start(process.address(), Connections::Kept);
    let began = Instant::now();
    let mut slowest = Duration::ZERO;
    let mut warm = 0;
    for number in 1..=reloads {
        if number % 10 == 0 {
            write_component(&folder, number);
        }
        let since = Instant::now();
        reload(&process, &folder, &policy(&folder, &origin, number));
        slowest = slowest.max(since.elapsed());
        if number == WARM_UP {
            warm = resident(process.id());
        }
        if number % 100 == 0 {
            println!("{number}: {} KiB", resident(process.id()));
        }
    }
    let took = began.elapsed();
    let last = |answer: &support::Answer| answer.header("x-policy") == Some(&*reloads.to_string());
    assert!(last(&process.get("/")), "the last policy holds");
    let (good, lost) = load.stop();
    within("the old generations end", || {
        let told = json(&ask_unix(&folder.join("admin.sock"), "GET", "/generations"));
        (told["live"].as_array().unwrap().len() == 1).then_some(())
    });
    println!(
        "{reloads} reloads in {took:?}, the slowest {slowest:?}: {good} requests answered, \
         {} lost; resident {warm} KiB after {WARM_UP} reloads, {} KiB at the end",
        lost.len(),
        resident(process.id())
    );
    assert!(lost.is_empty(), "{lost:#?}\n{}", complaints(&process));
    assert!(good > reloads as u64, "there was load: {good}");
}

/// What the allocator gave back between two things in use would return, as part of a
/// huge page.
#[test]
fn the_program_has_no_huge_pages() {
    let origin = Origin::saying("body");
    let folder = Proxy::folder();
    write_component(&folder, 0);
    let process = Process::start_in(folder.clone(), &policy(&folder, &origin, 0));
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    // Kernels before 5.0 do not tell.
    let told = status.lines().find(|line| line.starts_with("THP_enabled:"));
    assert!(told.is_none_or(|line| line.ends_with('0')), "{told:?}");
}

/// All four shipped filters; one is a file, and each reload changes another.
fn policy(folder: &Path, origin: &Origin, number: usize) -> String {
    format!(
        "admin: {{ address: 'unix:{}/admin.sock' }}\n\
         listeners: [{{ name: web, address: '127.0.0.1:0', filters: [router, auth, mirror, faults] }}]\n\
         clusters: [{{ name: origin, endpoints: ['{}'] }}]\n\
         filters:\n  \
         router:\n    component: lockgate:router\n    config:\n      routes:\n      \
         - name: all\n        match: {{ path_prefix: / }}\n        cluster: origin\n        \
         headers: {{ response: {{ set: {{ x-policy: '{number}' }} }} }}\n  \
         auth: {{ component: 'lockgate:auth', config: {{ api_keys: [{{ name: a, key: secret-key-a }}] }} }}\n  \
         mirror: {{ component: 'lockgate:mirror', config: {{ cluster: origin, percent: 0 }} }}\n  \
         faults: {{ component: ./faults.wasm, config: {{ headers: {{ abort: true }} }} }}\n",
        folder.display(),
        origin.address
    )
}

/// Bytes never seen before.
fn write_component(folder: &Path, number: usize) {
    let shipped = lockgate::shipped::SHIPPED;
    let shipped = shipped
        .iter()
        .find(|shipped| shipped.name == "lockgate:fault")
        .unwrap();
    let mut bytes = shipped.bytes.to_vec();
    // Never in this run or another: compiled components are kept.
    let never = (std::process::id(), Instant::now(), number);
    let never = format!("{:016x}", RandomState::new().hash_one(format!("{never:?}")));
    bytes.extend_from_slice(b"\x00\x15\x04note");
    bytes.extend_from_slice(never.as_bytes());
    std::fs::write(folder.join(".faults.new"), bytes).unwrap();
    std::fs::rename(folder.join(".faults.new"), folder.join("faults.wasm")).unwrap();
}

/// Until it is published, whether the watch or the command was first.
fn reload(process: &Process, folder: &Path, yaml: &str) {
    process.edit(yaml);
    let outcome = ask_unix(&folder.join("admin.sock"), "POST", "/reload");
    assert_eq!(outcome.status, 200, "{}", outcome.text());
}

/// What the log says that is not good.
fn complaints(process: &Process) -> String {
    let log = process.log();
    let bad = log.lines().filter(|line| !line.contains(" INFO "));
    bad.collect::<Vec<_>>().join("\n")
}

fn resident(id: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
