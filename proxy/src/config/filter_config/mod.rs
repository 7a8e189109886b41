//! A filter's own configuration against the schema that the filter gives.
//!
//! Takes the schema of a manifest, which a guest wrote and which is trusted with
//! nothing: not to be valid, not to end, not to be small. Gives mistakes with
//! their place in the YAML file, and the configuration as it may be shown.

mod guard;
mod mask;
mod needs;
mod trusted;
mod walk;

use serde_json::Value;

use super::checked::FilterConfig;
use super::mistake::{Mistake, Tone, What};
use super::place::{Places, below, segments};
use super::structure::{Schema, put};
use super::words;
pub(super) use mask::mask_value;
pub use needs::needs;
pub use trusted::{TrustedHeader, trusted_headers};

/// A filter's configuration as the schema of its manifest sees it.
#[derive(Debug)]
pub struct Checked {
    /// What the filter is to be given: with text where it wants text and `${ENV}`
    /// gave digits or such. Where there are mistakes, with something good in their
    /// place, so that the filter can tell what is wrong with the rest.
    pub config: FilterConfig,
    /// Every mistake that the schema finds.
    pub mistakes: Vec<Mistake>,
}

/// Check a filter's configuration by the schema of its manifest.
pub fn check(schema: &Value, config: &FilterConfig, places: &Places) -> Checked {
    let mut config = config.clone();
    let checked = guard::check(schema, &config.value).and_then(|()| Schema::build(schema.clone()));
    let mistakes = match checked {
        Ok(schema) => check_by(&schema, &mut config, places),
        Err(problem) => vec![broken_schema(&problem, &config, places)],
    };
    Checked { config, mistakes }
}

fn check_by(schema: &Schema, config: &mut FilterConfig, places: &Places) -> Vec<Mistake> {
    schema.take_as_text(&mut config.value, &config.texts);
    let masked = mask_value(schema.value(), &config.value);
    let found = schema.check(&config.value, &masked, &config.pointer, places);
    for (pointer, good) in found.mends {
        put(&mut config.value, &pointer, good);
    }
    let mut mistakes = found.mistakes;
    mistakes.sort_by(|a, b| a.place.cmp(&b.place));
    mistakes
}

fn broken_schema(problem: &str, config: &FilterConfig, places: &Places) -> Mistake {
    let found = format!(
        "a filter whose configuration schema is broken: {}",
        one_line(problem)
    );
    let pointer = component_of(&config.pointer);
    Mistake::at(places, &pointer, found, "a filter with a valid JSON Schema")
}

/// What a filter told of a configuration, at a JSON pointer within that.
pub struct Told<'a> {
    pub filter: &'a str,
    pub tone: Tone,
    pub at: &'a str,
    pub text: &'a str,
}

impl Told<'_> {
    /// As a mistake in the file.
    pub fn about(&self, config: &FilterConfig, places: &Places) -> Mistake {
        let inside = match self.at {
            "" => String::new(),
            pointer if pointer.starts_with('/') => pointer.to_owned(),
            name => format!("/{name}"),
        };
        let text = with_places(&one_line(self.text), config, places);
        self.at(&format!("{}{inside}", config.pointer), text, places)
    }

    /// As a mistake of the whole filter, which stands at `pointer`.
    pub fn about_all(&self, pointer: &str, places: &Places) -> Mistake {
        self.at(pointer, one_line(self.text), places)
    }

    fn at(&self, pointer: &str, text: String, places: &Places) -> Mistake {
        Mistake {
            place: places.find(pointer),
            pointer: pointer.to_owned(),
            what: What::Told {
                filter: self.filter.to_owned(),
                tone: self.tone,
                text,
            },
        }
    }
}

/// The text with the place in the file for every JSON pointer into the
/// configuration that stands in backquotes: a filter knows no other places.
fn with_places(text: &str, config: &FilterConfig, places: &Places) -> String {
    let parts = text.split('`').enumerate().map(|(number, part)| {
        let is_quoted = number % 2 == 1;
        // One segment alone is more likely a path of a request.
        let is_pointer = part.starts_with('/') && part[1..].contains('/');
        match is_quoted && is_pointer && config.value.pointer(part).is_some() {
            true => {
                let place = places.find(&format!("{}{part}", config.pointer));
                format!("{}:{}", place.line, place.column)
            }
            false => part.to_owned(),
        }
    });
    parts.collect::<Vec<_>>().join("`")
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
