//! Whole configurations: YAML in, messages or a checked configuration out.

mod bad;
mod cases;
mod files;
mod good;
mod hostile;

use super::{Loaded, Mistakes, load_text};

/// Load a text named `x.yaml` with two variables in the environment.
fn load(text: &str) -> Result<Loaded, Mistakes> {
    load_text(text, "x.yaml", &env)
}

fn env(name: &str) -> Option<String> {
    match name {
        "PORT" => Some("8080".to_owned()),
        "SECRET" => Some("hunter2".to_owned()),
        "WORD" => Some("word".to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    }
}

/// The messages for a text, one in a line, without the name of the file.
fn messages(text: &str) -> String {
    let mistakes = load(text).expect_err(text).to_string();
    mistakes.replace("x.yaml:", "")
}

/// That exactly these messages are told for a text.
fn check(text: &str, wanted: &[&str]) {
    assert_eq!(messages(text), wanted.join("\n"), "{text}");
}

/// The same for a text that has a listener in front, so that lines count from 2.
fn check_with_listener(text: &str, wanted: &[&str]) {
    check(
        &format!("listeners: [{{ name: web, address: '0.0.0.0:80' }}]\n{text}"),
        wanted,
    );
}
