//! The contract and the guide travel with the crate as copies, because a package cannot
//! reach above its folder.

use std::fs;
use std::path::Path;

#[test]
fn the_copy_of_the_contract_is_the_contract() {
    let crate_root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let copy = fs::read_to_string(crate_root.join("wit/filter.wit")).unwrap();
    let contract = fs::read_to_string(crate_root.join("../../wit/filter.wit")).unwrap();
    assert!(
        copy == contract,
        "copy wit/filter.wit to sdk/rust/wit/filter.wit"
    );
}

#[test]
fn the_copy_of_the_guide_is_the_guide() {
    let crate_root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let copy = fs::read_to_string(crate_root.join("docs/writing-filters.md")).unwrap();
    let guide = fs::read_to_string(crate_root.join("../../docs/writing-filters.md")).unwrap();
    assert!(
        copy == guide,
        "copy docs/writing-filters.md to sdk/rust/docs/writing-filters.md"
    );
}

#[test]
fn the_package_carries_the_contract_and_the_guide() {
    let output = std::process::Command::new(env!("CARGO"))
        .args(["package", "--list", "--allow-dirty", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let files = String::from_utf8(output.stdout).unwrap();
    for wanted in ["wit/filter.wit", "docs/writing-filters.md", "README.md"] {
        let is_there = files.lines().any(|file| file == wanted);
        assert!(is_there, "no {wanted} in {files}");
    }
}
