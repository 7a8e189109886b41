//! The folder of compiled components: it has a bound, and what is needed stays.

#[path = "support/hostile.rs"]
mod hostile;
mod support;

use std::fs::{self, File};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use lockgate::digest::Digest;
use serde_json::json;
use support::process::Process;
use support::{Origin, Proxy, within};

/// Versions of a filter that only differ in their bytes.
fn component(number: u8) -> Vec<u8> {
    [hostile::component(), &b"\x00\x06\x04note"[..], &[number]].concat()
}

/// As editors do: written aside, then put in place.
fn put(folder: &Path, number: u8) {
    let aside = folder.join(".guest.wasm.new");
    fs::write(&aside, component(number)).unwrap();
    fs::rename(aside, folder.join("guest.wasm")).unwrap();
}

/// A filter that answers everything, on probation for long, with the least cache.
fn yaml(folder: &Path, origin: &Origin, probation: &str) -> String {
    let filter = json!({
        "component": "./guest.wasm",
        "probation": { "time": probation, "min_calls": 1 },
        "config": { "wants": { "phases": ["request"] }, "request": ["respond 418 here"] },
    });
    format!(
        "cache_dir: {0}/cache\nstate_dir: {0}/state\nmax_cache_bytes: 1MiB\n\
         admin: {{ address: '127.0.0.1:0' }}\n\
         listeners: [{{ name: web, address: '127.0.0.1:0', cluster: o, filters: [guest] }}]\n\
         filters: {1}\nclusters: [{{ name: o, endpoints: ['{2}'] }}]\n",
        folder.display(),
        json!({ "guest": filter }),
        origin.address
    )
}

/// Whether the compiled form of a version is kept.
fn is_kept(folder: &Path, number: u8) -> bool {
    let digest = Digest::of(&component(number)).hex();
    let mut names = fs::read_dir(folder.join("cache")).unwrap().flatten();
    names.any(|entry| entry.file_name().to_string_lossy().starts_with(&digest))
}

#[test]
fn a_start_makes_room_and_what_is_not_ours_stays() {
    let origin = Origin::saying("unasked");
    let folder = Proxy::folder();
    let cache = folder.join("cache");
    fs::DirBuilder::new().mode(0o700).create(&cache).unwrap();
    let old = |name: String| -> PathBuf {
        let path = cache.join(name);
        let mut options = File::options();
        let file = options.write(true).create(true).mode(0o600).open(&path);
        let file = file.unwrap();
        file.set_len(700 << 10).unwrap();
        let ago = Duration::from_secs(3600);
        file.set_modified(SystemTime::now() - ago).unwrap();
        path
    };
    let ours = [1, 2].map(|digit| old(format!("{}-01.cwasm", digit.to_string().repeat(64))));
    let other = old("notes.txt".to_owned());
    put(&folder, 0);
    let proxy = Proxy::start_in(folder.clone(), &yaml(&folder, &origin, "1h"));
    within("what was not used for long has gone", || {
        (!ours.iter().any(|path| path.exists())).then_some(())
    });
    assert!(other.exists());
    assert!(is_kept(&folder, 0));
    assert_eq!(proxy.get("/").status, 418);

    // As if another proxy had made room for itself.
    fs::remove_dir_all(&cache).unwrap();
    assert_eq!(proxy.get("/").status, 418);
    proxy.edit(&yaml(&folder, &origin, "2h"));
    assert!(proxy.reload().ok);
    put(&folder, 1);
    assert!(proxy.reload().ok);
    assert_eq!(proxy.get("/").status, 418);
    assert!(is_kept(&folder, 1));
}

#[test]
fn a_damaged_entry_is_told_and_compiled_again() {
    let origin = Origin::saying("unasked");
    let kept = Proxy::folder();
    let start = || {
        let folder = Proxy::folder();
        put(&folder, 0);
        Process::start_in(folder, &yaml(&kept, &origin, "1h"))
    };
    let compiled = || {
        let entries = fs::read_dir(kept.join("cache")).unwrap().flatten();
        let mut paths = entries.map(|entry| entry.path());
        let compiled = |path: &PathBuf| path.extension().is_some_and(|end| end == "cwasm");
        paths.find(compiled).expect("it is kept")
    };
    assert_eq!(start().get("/").status, 418);
    let path = compiled();
    let good = fs::read(&path).unwrap();
    let mut damaged = good.clone();
    damaged[good.len() / 2] ^= 1;
    fs::write(&path, &damaged).unwrap();
    let second = start();
    let told = second.logged("compiled filter is not used; compiling it again");
    assert!(told.contains("its content is damaged"), "{told}");
    assert_eq!(second.get("/").status, 418);
    drop(second);
    assert_ne!(fs::read(compiled()).unwrap(), damaged);
    assert!(!start().log().contains("compiling it again"));
    fs::remove_dir_all(kept).ok();
}

#[test]
fn the_last_good_version_stays_and_those_between_go() {
    let origin = Origin::saying("unasked");
    let folder = Proxy::folder();
    put(&folder, 0);
    let proxy = Proxy::start_in(folder.clone(), &yaml(&folder, &origin, "1ms"));
    let records = folder.join("state/filters.json");
    within("the version counts as good", || {
        assert_eq!(proxy.get("/").status, 418);
        let records = fs::read_to_string(&records).ok()?;
        records.contains("\"good\": {").then_some(())
    });
    proxy.edit(&yaml(&folder, &origin, "1h"));
    for number in 1..4 {
        put(&folder, number);
        assert!(proxy.reload().ok);
        within("the version before it has gone, unless it was good", || {
            (number == 1 || !is_kept(&folder, number - 1)).then_some(())
        });
        assert!(is_kept(&folder, number));
        assert!(is_kept(&folder, 0));
    }
}
