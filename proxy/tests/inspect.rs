//! What `filter inspect` shows of a component that nobody need trust yet.

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use support::Proxy;
use support::process::run;
use wit_bindgen_core::wit_parser::Resolve;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};

/// A filter of this name, which is as long as its own.
fn named(name: &str) -> Vec<u8> {
    let text = include_str!("../src/filter/tests/handwritten.wat");
    let text = text.replace("\"handwritten\"", name);
    let mut module = wat::parse_str(text).unwrap();
    let mut resolve = Resolve::default();
    let contract = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit/filter.wit");
    let (package, _) = resolve.push_path(contract).unwrap();
    let world = resolve.select_world(&[package], Some("filter")).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    let mut encoder = ComponentEncoder::default();
    encoder.module(&module).unwrap().encode().unwrap()
}

fn inspected(component: &[u8]) -> (Option<i32>, String) {
    let path: PathBuf = Proxy::folder().join("a.wasm");
    fs::write(&path, component).unwrap();
    let output = run(&["filter", "inspect", path.to_str().unwrap()]);
    let told = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(told).unwrap())
}

#[test]
fn a_name_forges_no_line_and_does_not_reach_the_terminal() {
    let (code, told) = inspected(&named("\"a\\0a\\1b[2Jbcdef\""));
    assert_eq!(code, Some(0), "{told}");
    assert!(
        told.starts_with("name      a\\n\\u{1b}[2Jbcdef\nversion"),
        "{told}"
    );
}

#[test]
fn nor_does_the_name_of_an_import() {
    let component = wat::parse_str("(component (import \"url=<a\\0a\\1b[2J>\" (func)))").unwrap();
    let (code, told) = inspected(&component);
    assert_eq!(code, Some(2), "{told}");
    assert!(!told.contains('\u{1b}'), "{told:?}");
    assert_eq!(told.lines().count(), 1, "{told}");
    assert!(told.contains("a\\n\\u{1b}[2J"), "{told}");
}
