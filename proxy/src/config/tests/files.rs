//! Files on a disk, and what they include.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::env;
use crate::config::{ComponentSource, Loaded, load, load_endpoints};

/// A folder that goes when the test ends.
struct Folder(PathBuf);

impl Folder {
    fn with(files: &[(&str, &str)]) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("lockgate-config-{}-{number}", std::process::id());
        let folder = Self(std::env::temp_dir().join(name));
        for (name, text) in files {
            let path = folder.0.join(name);
            fs::create_dir_all(path.parent().expect("in the folder")).expect("a folder");
            fs::write(path, text).expect("a file");
        }
        folder
    }

    fn load(&self) -> Result<Loaded, String> {
        let folder = format!("{}/", self.0.display());
        load(&self.0.join("main.yaml"), &env)
            .map_err(|mistakes| mistakes.to_string().replace(&folder, ""))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A test that fails leaves through here as well, and has said why.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn check(files: &[(&str, &str)], wanted: &[&str]) {
    let found = Folder::with(files).load().expect_err("a mistake");
    assert_eq!(found, wanted.join("\n"));
}

const LISTENER: &str = "listeners: [{ name: a, address: '1.1.1.1:1', cluster: c, filters: [f] }]\n";

#[test]
fn included_files_are_merged() {
    let folder = Folder::with(&[
        (
            "main.yaml",
            &format!("include: [more/filters.yaml, 'conf.d/*.yaml']\n{LISTENER}"),
        ),
        (
            "more/filters.yaml",
            "include: [../clusters.yaml]\nfilters: { f: { component: ./f.wasm } }\n",
        ),
        (
            "clusters.yaml",
            "clusters: [{ name: c, endpoints: ['a:1'] }]\n",
        ),
        (
            "conf.d/1.yaml",
            "clusters: [{ name: d, endpoints: ['a:1'] }]\nworkers: 2\n",
        ),
        ("conf.d/2.yaml", ""),
        ("conf.d/.hidden.yaml", "x: y"),
        ("conf.d/3.yml", "x: y"),
    ]);
    let config = folder.load().expect("a good configuration").config;
    let clusters: Vec<_> = config
        .clusters
        .iter()
        .map(|cluster| &*cluster.name)
        .collect();
    assert_eq!(
        (clusters.as_slice(), config.workers.get()),
        (["c", "d"].as_slice(), 2)
    );
    assert_eq!(
        config.filters[0].component,
        ComponentSource::File(folder.0.join("more/./f.wasm"))
    );
    let files: Vec<_> = config
        .files
        .iter()
        .map(|file| file.strip_prefix(&folder.0).expect("in it"))
        .collect();
    let wanted = [
        "main.yaml",
        "more/filters.yaml",
        "more/../clusters.yaml",
        "conf.d/1.yaml",
        "conf.d/2.yaml",
    ];
    assert_eq!(files, wanted.map(Path::new));
    assert_eq!(config.folders, [folder.0.join("conf.d")]);
    assert_eq!(
        config.places.find("/clusters/1/name").file.as_ref(),
        folder.0.join("conf.d/1.yaml")
    );
}

#[test]
fn mistakes_stand_where_they_are() {
    check(
        &[
            (
                "main.yaml",
                &format!("include: [a.yaml, b.yaml]\nworkers: 1\n{LISTENER}log: {{ level: x }}\n"),
            ),
            (
                "a.yaml",
                "workers: 2\nfilters:\n  f: { component: './${NONE}.wasm' }\nclusters: [{ name: c, endpoints: [a] }]\n",
            ),
            (
                "b.yaml",
                "filters:\n  f: {}\nclusters: [{ name: c, endpoints: ['a:1'] }]\nlisteners: {}\nfoo: 1\n",
            ),
        ],
        &[
            "main.yaml:4:15: found `x`, wanted `off`, `error`, `warn`, `info`, `debug` or `trace`, or `target=level`",
            "a.yaml:1:1: found the key `workers` again, first at main.yaml:2:1, wanted each key once in all files",
            "a.yaml:3:22: found `${NONE}`, a variable that is not set, wanted it set, or with a default: `${NONE:-default}`",
            "a.yaml:4:35: found `a`, wanted `host:port`, `[v6]:port`, `unix:/path`, `srv:name` or `file:path`",
            "b.yaml:2:3: found the filter `f` again, first at a.yaml:3:3, wanted each filter once in all files",
            "b.yaml:3:20: found the cluster `c` again, first at a.yaml:4:20, wanted each cluster once",
            "b.yaml:4:12: found a map, wanted a list",
            "b.yaml:5:1: found the unknown key `foo`, wanted one of `access_log`, `admin`, `cache_dir`, `clusters`, `dns`, `drain_timeout`, `filters`, `include`, `lame_duck`, `listeners`, `log`, `max_cache_bytes`, `max_connections`, `max_generations`, `overload`, `registries`, …",
        ],
    );
}

#[test]
fn bad_includes() {
    check(
        &[
            ("main.yaml", "include: [a.yaml]\n"),
            ("a.yaml", "include: [b.yaml]\n"),
            ("b.yaml", "include: [./a.yaml]\n"),
        ],
        &[
            "b.yaml:1:11: found files that include each other: `main.yaml` → `a.yaml` → `b.yaml` → `./a.yaml`, wanted no cycle",
        ],
    );
    check(
        &[("main.yaml", "include: [main.yaml]\n")],
        &[
            "main.yaml:1:11: found files that include each other: `main.yaml` → `main.yaml`, wanted no cycle",
        ],
    );
    check(
        &[
            (
                "main.yaml",
                "include: [a.yaml, '*.yaml', none.yaml, 5, ., 'none/*', 'a*/b']\n",
            ),
            ("a.yaml", "x: ["),
        ],
        &[
            "main.yaml:1:19: found `a.yaml` again, first included at main.yaml:1:11, wanted each file once",
            "main.yaml:1:19: found files that include each other: `main.yaml` → `main.yaml`, wanted no cycle",
            "main.yaml:1:29: found `none.yaml`, which cannot be read: No such file or directory (os error 2), wanted a readable file",
            "main.yaml:1:40: found a number, wanted the path of a file",
            "main.yaml:1:43: found `.`, which is no regular file, wanted a readable file",
            "main.yaml:1:46: found `none`, which cannot be read: No such file or directory (os error 2), wanted a readable folder",
            "main.yaml:1:56: found `a*/b`, wanted `*` only in the last part of a path",
            "a.yaml:2:1: found a syntax error: while parsing a node, did not find expected node content, wanted YAML",
        ],
    );
    check(
        &[],
        &[
            "main.yaml:1:1: found `main.yaml`, which cannot be read: No such file or directory (os error 2), wanted a readable file",
        ],
    );
}

#[test]
fn files_that_are_no_text() {
    let folder = Folder::with(&[("main.yaml", "")]);
    fs::write(folder.0.join("main.yaml"), b"a: 1\nb: \xc3\xa4 \xff\n").expect("a file");
    let found = folder.load().expect_err("a mistake");
    assert_eq!(
        found,
        "main.yaml:2:6: found bytes that are not UTF-8, wanted text in UTF-8"
    );
    let marked = "\u{feff}listeners: [{ name: a, address: '1.1.1.1:1' }]\r\n";
    Folder::with(&[("main.yaml", marked)])
        .load()
        .expect("a byte order mark and CRLF are fine");
}

#[test]
fn large_files_are_refused() {
    let large = "# x\n".repeat(10 << 18);
    check(
        &[("main.yaml", &large)],
        &[
            "main.yaml:1:1: found `main.yaml`, a file of more than 4 MiB, wanted at most 4 MiB in a file",
        ],
    );
    let below = "#".repeat(4 << 20);
    let names = ["1.yaml", "2.yaml", "3.yaml", "4.yaml"];
    let mut files: Vec<_> = names.iter().map(|name| (*name, below.as_str())).collect();
    files.push(("main.yaml", "include: ['?.yaml', '*.yaml']"));
    files[4].1 = "include: [1.yaml, 2.yaml, 3.yaml, 4.yaml]";
    check(
        &files,
        &[
            "4.yaml:1:1: found `4.yaml`, with which the files are more than 16 MiB, wanted at most 16 MiB in all files",
        ],
    );
}

/// A file of endpoints in JSON is read in a quicker way where all is well, which gives the same,
/// and says what is wrong like any other.
#[test]
fn endpoints_in_json_are_those_in_yaml() {
    let endpoints = |text: &str| {
        let folder = Folder::with(&[("all", text)]);
        let path = folder.0.join("all");
        let found = load_endpoints(&path);
        let name = path.display().to_string();
        found.map_err(|mistakes| mistakes.to_string().replace(&name, "all"))
    };
    let json = r#" {"endpoints": ["127.0.0.1:80", {"address": "unix:/a", "weight": 0},
        {"address": "[::1]:1", "tier": 2, "zone": "z", "labels": {"a": "b"}}]}"#;
    let yaml = "endpoints: ['127.0.0.1:80', { address: 'unix:/a', weight: 0 }, \
                { address: '[::1]:1', tier: 2, zone: z, labels: { a: b } }]";
    let found = endpoints(json).expect("all is well");
    assert_eq!(found.len(), 3);
    assert_eq!(endpoints(yaml), Ok(found));
    assert_eq!(
        endpoints("endpoints:\n  - 127.0.0.1:80\n").unwrap().len(),
        1
    );
    for (json, wanted) in [
        (r#"{"endpoints": ["a:80"]}"#, "would have to be looked up"),
        (r#"{"endpoints": ["1.2.3.4:0"]}"#, "all:1:16"),
        (r#"{"endpoints": ["${A}"]}"#, "a variable that is not set"),
        (
            r#"{"endpoints": [{"address": "1.2.3.4:5", "weight": 65536}]}"#,
            "65535",
        ),
        (r#"{"endpoints": [null]}"#, "all:1:16"),
        (
            r#"{"endpoints": [{"address": "1.2.3.4:5", "labels": {"a": "b", "a": "c"}}]}"#,
            "again",
        ),
        (r#"{"endpoints": [], "endpoints": []}"#, "again"),
        (r#"{"endpoints": [], "more": 1}"#, "the unknown key `more`"),
        (
            "endpoints:\n  - 127.0.0.1:80\n  - 127.0.0.1:216",
            "all:3:18: found the end of the file",
        ),
    ] {
        let found = endpoints(json).expect_err(json);
        assert!(found.contains(wanted), "{json}: {found}");
    }
}
