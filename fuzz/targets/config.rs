//! The configuration loader: no text makes it panic or work without end, and a
//! refusal names at least one mistake.

#![no_main]

use libfuzzer_sys::fuzz_target;
use lockgate_fuzz::config::load_text;

fuzz_target!(|text: &str| {
    let environment = |name: &str| match name {
        "PORT" => Some("8080".to_owned()),
        "TEXT" => Some("a: \"b\"\n- *c".to_owned()),
        _ => None,
    };
    match load_text(text, "fuzz.yaml", &environment) {
        Ok(loaded) => assert!(!format!("{:?}", loaded.config).is_empty()),
        Err(mistakes) => assert!(!mistakes.to_string().is_empty()),
    }
});
