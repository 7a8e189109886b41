//! Bytes that are no filter.

use super::*;

fn check(bytes: &[u8], message: &str) {
    let refused = engine()
        .load(Digest::of(bytes), bytes, Pace::Full)
        .err()
        .expect("refused")
        .to_string();
    assert!(refused.contains(message), "{refused}");
}

fn check_text(text: &str, message: &str) {
    check(&wat::parse_str(text).unwrap(), message);
}

#[test]
fn other_bytes_are_refused() {
    check(b"", "is not WebAssembly");
    check(b"#!/bin/sh\n", "is not WebAssembly");
    check(b"\0asm", "is not WebAssembly");
    check(b"\0asm\x0d\0\x01\0garbage", "is not a valid component: ");
    let half = &guests::component()[..guests::component().len() / 2];
    check(half, "is not a valid component: ");
    check_text(
        "(module)",
        "is a core module, not a component (build it for `wasm32-wasip2`)",
    );
}

#[test]
fn other_components_are_refused() {
    check_text(
        "(component)",
        "is a component of another world: it exports neither `lockgate:filter/http-filter@0.1.0`",
    );
    for (import, message) in [
        (
            "wasi:sockets/network@0.2.6",
            "filters have no network of their own",
        ),
        (
            "wasi:http/types@0.2.6",
            "filters have no network of their own",
        ),
        (
            "acme:own/thing@1.0.0",
            "imports `acme:own/thing@1.0.0`, which nobody provides",
        ),
        (
            "lockgate:filter/request@0.3.0",
            "is not the version served here (0.1.0)",
        ),
    ] {
        check_text(
            &format!("(component (import \"{import}\" (instance)))"),
            message,
        );
    }
    for (export, message) in [
        ("background@0.2.0", "is not the version served here (0.1.0)"),
        ("hand-over@0.2.0", "is not the version served here (0.1.0)"),
        ("connection-filter@0.1.0", "does not fit the contract: "),
    ] {
        let text = format!(
            "(component (instance $empty) (export \"lockgate:filter/{export}\" (instance $empty)))"
        );
        check_text(&text, message);
    }
}

#[test]
fn a_component_must_fit_the_contract() {
    check_text(
        "(component
            (instance $empty)
            (export \"lockgate:filter/http-filter@0.1.0\" (instance $empty)))",
        "does not fit the contract: ",
    );
    check_text(
        "(component
            (instance $empty)
            (export \"lockgate:filter/http-filter@0.1.0\" (instance $empty))
            (export \"lockgate:filter/background@0.1.0\" (instance $empty)))",
        "does not fit the contract: ",
    );
    check_text(
        "(component
            (import \"lockgate:filter/request@0.1.0\" (instance
                (export \"method\" (func (result u32)))))
            (instance $empty)
            (export \"lockgate:filter/http-filter@0.1.0\" (instance $empty)))",
        "does not fit the contract: ",
    );
}
