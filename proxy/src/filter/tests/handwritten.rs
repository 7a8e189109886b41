//! A filter written by hand, instruction by instruction: the contract needs no
//! language's bindings, and nothing here depends on what they generate.

use wit_bindgen_core::wit_parser::Resolve;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};

use super::*;

/// The module with the world that it is for, as a component.
fn component() -> Vec<u8> {
    let mut module = wat::parse_str(include_str!("handwritten.wat")).unwrap();
    let mut resolve = Resolve::default();
    let contract = include_str!("../../../../wit/filter.wit");
    let package = resolve.push_str("filter.wit", contract).unwrap();
    let world = resolve.select_world(&[package], Some("filter")).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    let mut encoder = ComponentEncoder::default();
    encoder.module(&module).unwrap().encode().unwrap()
}

fn load() -> Arc<Module> {
    let bytes = component();
    engine()
        .load(Digest::of(&bytes), &bytes, Pace::Full)
        .unwrap()
}

#[test]
fn it_is_a_filter_that_imports_what_it_uses() {
    let module = load();
    let manifest = module.manifest();
    assert_eq!(
        (&*manifest.name, &*manifest.version),
        ("handwritten", "1.0.0")
    );
    assert_eq!(manifest.config_schema, None);
    let functions: Vec<_> = module
        .imports()
        .iter()
        .filter(|name| !name.contains("/types@"))
        .collect();
    assert_eq!(functions, ["lockgate:filter/request@0.1.0"]);
}

#[test]
fn it_does_what_its_instructions_say() {
    let filter = entry("guest", json!({ "whatever": [1, 2] }));
    let mut bench = Bench::of([build_of(load(), &filter).unwrap()]);
    // More calls than there would be memory for, were it not used again.
    for _ in 0..20_000 {
        bench.again();
        bench
            .view
            .request
            .headers
            .insert("x-hand", HeaderValue::from_static("left"));
        assert!(matches!(bench.on_request(), Flow::Next));
    }
    assert_eq!(bench.request_field("x-seen-by"), ["handwritten"]);

    bench.again();
    let Flow::Respond(reply) = bench.on_request() else {
        panic!("it answers");
    };
    assert_eq!(
        (reply.status, &*reply.body),
        (StatusCode::FORBIDDEN, &b"no x-hand\n"[..])
    );
    assert!(bench.request_field("x-seen-by").is_empty());
    assert_eq!(bench.lost(), 0);
}
