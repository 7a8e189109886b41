//! The order of the modules of `src`: each may use only what stands below it.
//! Every folder's `mod.rs` and every file opens with what it is about.

use std::fs;
use std::path::{Path, PathBuf};

/// From the top down. Modules of one line do not use each other.
const LAYERS: &[&[&str]] = &[
    &["main"],
    &["cli"],
    &["demo", "project"],
    &["app"],
    &["control"],
    &["worker", "jobs", "health", "cases", "certs"],
    &["downstream"],
    &["tcp"],
    &["exchange"],
    &["snapshot"],
    &["filter", "upstream", "listener", "shipped"],
    &[
        "cluster",
        "secrets",
        "components",
        "state",
        "pings",
        "overload",
    ],
    &["tls"],
    &["config"],
    &["http", "client", "drain"],
    &["error", "stats", "console", "pace", "memory", "cache"],
    &[
        "balance",
        "boxed",
        "deadline",
        "shared",
        "digest",
        "private",
        "proxy_protocol",
        "pump",
        "socket_option",
    ],
];

/// The codec reads its limits from the checked configuration's shapes, and the
/// shapes name no codec.
const EXCEPTIONS: &[(&str, &str)] = &[("http", "config")];

fn layer(module: &str) -> usize {
    LAYERS
        .iter()
        .position(|layer| layer.contains(&module))
        .unwrap_or_else(|| panic!("`{module}` has no layer; give it one in this test"))
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn all_sources() -> (PathBuf, Vec<PathBuf>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    sources(&root, &mut found);
    found.sort();
    assert!(found.len() > 50, "only {} sources", found.len());
    (root, found)
}

/// The modules that a source names by `crate::`.
fn used(text: &str) -> Vec<String> {
    let code = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    code.flat_map(|line| {
        line.match_indices("crate::")
            .map(|(at, found)| &line[at + found.len()..])
            .map(|rest| {
                let end = rest
                    .find(|letter: char| !letter.is_alphanumeric() && letter != '_')
                    .unwrap_or(rest.len());
                rest[..end].to_owned()
            })
            .collect::<Vec<_>>()
    })
    .filter(|name| !name.is_empty())
    .collect()
}

#[test]
fn a_module_uses_only_what_stands_below_it() {
    let (root, files) = all_sources();
    let mut wrong = Vec::new();
    for file in files {
        if is_test(&file) {
            continue;
        }
        let inside = file.strip_prefix(&root).unwrap();
        let first = inside.iter().next().unwrap().to_str().unwrap();
        let module = first.trim_end_matches(".rs");
        if module == "lib" {
            continue;
        }
        for used in used(&fs::read_to_string(&file).unwrap()) {
            let allowed = used == module
                || EXCEPTIONS.contains(&(module, used.as_str()))
                || layer(&used) > layer(module);
            if !allowed {
                wrong.push(format!("{} uses crate::{used}", inside.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What a test file is about stands in the file that it tests.
fn is_test(file: &Path) -> bool {
    file.iter()
        .any(|part| part == "tests" || part == "tests.rs")
}

#[test]
fn every_file_says_what_it_is_about() {
    let (root, files) = all_sources();
    let silent: Vec<_> = files
        .iter()
        .filter(|file| !is_test(file))
        .filter(|file| !fs::read_to_string(file).unwrap().starts_with("//!"))
        .map(|file| file.strip_prefix(&root).unwrap().display().to_string())
        .collect();
    assert!(silent.is_empty(), "{}", silent.join("\n"));
}
