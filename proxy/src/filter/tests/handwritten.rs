//! A filter written by hand, instruction by instruction: the contract needs no
//! language's bindings, and nothing here depends on what they generate.

use wit_bindgen_core::wit_parser::Resolve;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};

use super::*;

const TEXT: &str = include_str!("handwritten.wat");

/// The module with the world that it is for, as a component.
fn component(text: &str) -> Vec<u8> {
    let mut module = wat::parse_str(text).unwrap();
    let mut resolve = Resolve::default();
    let contract = include_str!("../../../../wit/filter.wit");
    let package = resolve.push_str("filter.wit", contract).unwrap();
    let world = resolve.select_world(&[package], Some("filter")).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    let mut encoder = ComponentEncoder::default();
    encoder.module(&module).unwrap().encode().unwrap()
}

fn load() -> Arc<Module> {
    load_of(TEXT)
}

fn load_of(text: &str) -> Arc<Module> {
    let bytes = component(text);
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

/// A chain with a filter whose `on-request` fills so much memory with one instruction, of
/// which it has 64 KiB more.
fn filling(megabytes: usize) -> Bench {
    let begin = "(global.set $free (i32.const 4096))";
    let fill = format!(
        "(memory.fill (i32.const 65536) (i32.const 1) (i32.const {}))",
        megabytes << 20
    );
    let memory = format!("(memory (export \"memory\") {})", megabytes * 16 + 1);
    let text = TEXT
        .replace("(memory (export \"memory\") 1)", &memory)
        .replace(begin, &format!("{begin}\n{fill}"));
    let mut filter = entry("guest", json!({}));
    filter.limits.cpu = Duration::from_millis(1);
    filter.limits.memory_bytes = 512 << 20;
    Bench::of([build_of(load_of(&text), &filter).unwrap()])
}

/// No epoch interrupts it, and none ends behind it: it is judged when it is over.
#[test]
fn one_long_instruction_is_an_overrun() {
    let mut bench = filling(240);
    let failed = failure(bench.on_request());
    assert_eq!(failed.failure.fault, FilterFault::Overrun, "{failed}");
}

/// Each might be forgiven, and not one after the other.
#[test]
fn calls_that_are_somewhat_too_long_are_not_forgiven_again_and_again() {
    let mut bench = filling(100);
    let mut flows = (0..100).map(|_| {
        bench.again();
        bench.on_request()
    });
    let failed = flows.find_map(|flow| match flow {
        Flow::Fail(failed) => Some(failed),
        _ => None,
    });
    let failed = failed.expect("one of a hundred calls fails");
    assert_eq!(failed.failure.fault, FilterFault::Overrun, "{failed}");
}
