//! A filter's own configuration against the schema that the filter gives.
//!
//! Takes the schema of a manifest, which a guest wrote and which is trusted with
//! nothing: not to be valid, not to end, not to be small. Gives mistakes with
//! their place in the YAML file, and the configuration as it may be shown.

mod guard;
mod mask;
mod trusted;

use serde_json::Value;

use super::checked::FilterConfig;
use super::mistake::Mistake;
use super::place::{Places, below, segments};
use super::structure::Schema;
use super::words;
pub(super) use mask::mask_value;
pub use trusted::{TrustedHeader, trusted_headers};

/// Every mistake of a filter's configuration by the schema of its manifest.
pub fn check(schema: &Value, config: &FilterConfig, places: &Places) -> Vec<Mistake> {
    let checked = guard::check(schema, &config.value).and_then(|()| Schema::build(schema.clone()));
    match checked {
        Ok(schema) => {
            let masked = mask_value(schema.value(), &config.value);
            let mut mistakes = schema.check(&config.value, &masked, &config.pointer, places);
            mistakes.sort_by(|a, b| a.place.cmp(&b.place));
            mistakes
        }
        Err(problem) => {
            let found = format!(
                "a filter whose configuration schema is broken: {}",
                one_line(&problem)
            );
            let pointer = component_of(&config.pointer);
            vec![Mistake::at(
                places,
                &pointer,
                found,
                "a filter with a valid JSON Schema",
            )]
        }
    }
}

/// A mistake that the filter itself told when it was given its configuration, at
/// a JSON pointer within that.
pub fn mistake_at(
    config: &FilterConfig,
    json_pointer_inside: &str,
    message: &str,
    places: &Places,
) -> Mistake {
    let inside = match json_pointer_inside {
        "" => String::new(),
        pointer if pointer.starts_with('/') => pointer.to_owned(),
        name => format!("/{name}"),
    };
    let pointer = format!("{}{inside}", config.pointer);
    let found = match config.value.pointer(&inside) {
        Some(_) => "a value that the filter refuses",
        None => "a configuration that the filter refuses",
    };
    Mistake::at(places, &pointer, found, one_line(message))
}

/// The configuration as it may be shown: `***` instead of what came from
/// `${ENV}` or what the schema marks `writeOnly`.
pub fn mask(schema: Option<&Value>, config: &FilterConfig, from_env: &[String]) -> Value {
    let mut masked = match schema {
        Some(schema) => mask_value(schema, &config.value),
        None => config.value.clone(),
    };
    mask_pointers(&mut masked, &config.pointer, from_env);
    masked
}

/// Mask what stands at `pointers`, of which those within `base` are in `value`.
pub(super) fn mask_pointers(value: &mut Value, base: &str, pointers: &[String]) {
    for pointer in pointers {
        let inside = pointer
            .strip_prefix(base)
            .filter(|inside| inside.is_empty() || inside.starts_with('/'));
        if let Some(value) = inside.and_then(|inside| value.pointer_mut(inside)) {
            *value = mask::masked();
        }
    }
}

/// The `component` of the filter in which a pointer stands.
fn component_of(pointer: &str) -> String {
    let filter: String = segments(pointer)
        .take(2)
        .fold(String::new(), |parent, segment| below(&parent, segment));
    below(&filter, "component")
}

/// A guest's text, made fit for a message.
fn one_line(text: &str) -> String {
    const MAX: usize = 500;
    let shown = text.chars().take(MAX);
    let shown: String = shown
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    match (shown.trim().is_empty(), text.chars().nth(MAX)) {
        (true, _) => words::quoted(""),
        (false, None) => shown,
        (false, Some(_)) => format!("{shown}…"),
    }
}

#[cfg(test)]
mod tests;
