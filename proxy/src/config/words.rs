//! Values and schemas in words, for messages.

use serde_json::{Map, Value};

/// Names that a misspelt one is compared with.
const MAX_COMPARED: usize = 300;

/// Characters of a string that a message shows.
const MAX_SHOWN: usize = 60;

/// Choices that a message lists.
const MAX_LISTED: usize = 16;

/// References and choices that are followed within each other.
const MAX_REFERENCES: usize = 5;

/// Whether a message may show a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Showing {
    Plain,
    /// It came from `${ENV}`.
    FromEnv,
    /// Its schema says `writeOnly`.
    Secret,
}

/// What was found.
pub(super) fn found(value: &Value, showing: Showing) -> String {
    match showing {
        Showing::Plain => plain(value),
        Showing::FromEnv => format!("{} from the environment", kind(value)),
        Showing::Secret => kind(value).to_owned(),
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::Bool(value) => format!("`{value}`"),
        Value::Number(value) => format!("the number {value}"),
        Value::String(text) if !text.is_empty() => quoted(text),
        Value::Null | Value::String(_) | Value::Array(_) | Value::Object(_) => {
            kind(value).to_owned()
        }
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "`true` or `false`",
        Value::Number(_) => "a number",
        Value::String(text) if text.is_empty() => "an empty string",
        Value::String(_) => "a string",
        Value::Array(items) if items.is_empty() => "an empty list",
        Value::Array(_) => "a list",
        Value::Object(members) if members.is_empty() => "an empty map",
        Value::Object(_) => "a map",
    }
}

/// A text in backquotes, on one line and not too long.
pub(super) fn quoted(text: &str) -> String {
    format!("`{}`", shortened(text))
}

/// A text on one line and not too long.
pub(super) fn shortened(text: &str) -> String {
    let mut shown: String = text
        .chars()
        .take(MAX_SHOWN)
        .flat_map(|c| {
            let escaped = c.is_control().then(|| c.escape_default());
            let plain = escaped.is_none().then_some(c);
            escaped.into_iter().flatten().chain(plain)
        })
        .collect();
    if text.chars().nth(MAX_SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

/// What a schema wants, where it says so. `root` is what its references are about.
pub(super) fn wanted(root: &Value, schema: &Value) -> Option<String> {
    let choices = choices(root, schema, MAX_REFERENCES);
    (!choices.is_empty()).then(|| one_of(choices))
}

/// The kinds of value that a schema lets pass, in words.
fn choices(root: &Value, schema: &Value, references: usize) -> Vec<String> {
    let (Some(schema), Some(references)) = (schema.as_object(), references.checked_sub(1)) else {
        return Vec::new();
    };
    if let Some(words) = schema.get("x-wanted").and_then(Value::as_str) {
        return vec![words.to_owned()];
    }
    if let Some(value) = schema.get("const") {
        return vec![choice(value)];
    }
    if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        return values.iter().take(MAX_LISTED + 1).map(choice).collect();
    }
    for keyword in ["oneOf", "anyOf"] {
        if let Some(branches) = schema.get(keyword).and_then(Value::as_array) {
            let branches = branches.iter().take(MAX_LISTED + 1);
            return branches
                .flat_map(|branch| choices(root, branch, references))
                .collect();
        }
    }
    if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
        let target = resolve(root, target).unwrap_or(&Value::Null);
        return choices(root, target, references);
    }
    let names = match schema.get("type") {
        Some(Value::Array(names)) => names.as_slice(),
        Some(name) => std::slice::from_ref(name),
        None => &[],
    };
    let names = names.iter().filter_map(Value::as_str);
    names.map(|name| of_type(schema, name)).collect()
}

/// What a reference within a schema stands for.
pub(super) fn resolve<'a>(root: &'a Value, reference: &str) -> Option<&'a Value> {
    root.pointer(reference.strip_prefix('#')?)
}

/// A constant.
pub(super) fn choice(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        other => quoted(&other.to_string()),
    }
}

fn of_type(schema: &Map<String, Value>, name: &str) -> String {
    match name {
        "integer" => format!("a whole number{}", range(schema)),
        "number" => format!("a number{}", range(schema)),
        "string" => text_with(schema),
        "boolean" => "`true` or `false`".to_owned(),
        "array" => "a list".to_owned(),
        "object" => map_with(schema),
        "null" => "nothing".to_owned(),
        other => quoted(other),
    }
}

fn range(schema: &Map<String, Value>) -> String {
    let limit = |name| schema.get(name).filter(|limit| limit.is_number());
    match (limit("minimum"), limit("maximum")) {
        (Some(min), Some(max)) => format!(" from {min} to {max}"),
        (Some(min), None) => format!(" of at least {min}"),
        (None, Some(max)) => format!(" of at most {max}"),
        (None, None) => match (limit("exclusiveMinimum"), limit("exclusiveMaximum")) {
            (Some(min), Some(max)) => format!(" above {min} and below {max}"),
            (Some(min), None) => format!(" above {min}"),
            (None, Some(max)) => format!(" below {max}"),
            (None, None) => String::new(),
        },
    }
}

fn text_with(schema: &Map<String, Value>) -> String {
    if let Some(pattern) = schema.get("pattern").and_then(Value::as_str) {
        return format!("a string that matches {}", quoted(pattern));
    }
    if let Some(format) = schema.get("format").and_then(Value::as_str) {
        return format!("a string of the format {}", quoted(format));
    }
    let limit = |name| schema.get(name).and_then(Value::as_u64);
    match (limit("minLength"), limit("maxLength")) {
        (Some(1), None) => "a string that is not empty".to_owned(),
        (Some(min), Some(max)) => format!("a string of {min} to {max} characters"),
        (Some(min), None) => format!("a string of at least {min} characters"),
        (None, Some(max)) => format!("a string of at most {max} characters"),
        (None, None) => "a string".to_owned(),
    }
}

fn map_with(schema: &Map<String, Value>) -> String {
    let required = schema.get("required").and_then(Value::as_array);
    let names: Vec<_> = required
        .into_iter()
        .flatten()
        .map(choice)
        .take(MAX_LISTED)
        .collect();
    match names.as_slice() {
        [] => "a map".to_owned(),
        names => format!("a map with {}", listed(names, "and")),
    }
}

/// "`a`, `b` or `c`", each once.
pub(super) fn one_of(choices: impl IntoIterator<Item = String>) -> String {
    let mut unique: Vec<String> = Vec::new();
    for choice in choices {
        if !unique.contains(&choice) {
            unique.push(choice);
        }
        if unique.len() > MAX_LISTED {
            break;
        }
    }
    match unique.len() > MAX_LISTED {
        true => format!("one of {}, …", unique[..MAX_LISTED].join(", ")),
        false => listed(&unique, "or"),
    }
}

fn listed(words: &[String], last: &str) -> String {
    match words {
        [] => "another value".to_owned(),
        [word] => word.clone(),
        [words @ .., end] => format!("{} {last} {end}", words.join(", ")),
    }
}

/// The known name that someone who wrote `name` most likely meant.
pub(super) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase();
    let distance = |known: &str| {
        let whole = strsim::osa_distance(&name, &known.to_lowercase());
        let begins = known.starts_with(&name) || name.starts_with(known);
        let most = if begins && name.len() >= 3 {
            usize::MAX
        } else {
            (name.len() / 3).clamp(1, 3)
        };
        let other_start = name.chars().next() != known.chars().next();
        (whole <= most).then_some((whole, other_start))
    };
    // A long word is no misspelling, and comparing it takes long.
    if name.len() > MAX_SHOWN {
        return None;
    }
    known
        .into_iter()
        .take(MAX_COMPARED)
        .filter(|known| known.len() <= MAX_SHOWN)
        .filter_map(|known| Some((distance(known)?, known)))
        .min()
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn schemas_in_words() {
        let root =
            json!({"$defs": {"loop": {"$ref": "#/$defs/loop"}, "size": {"type": "integer"}}});
        for (schema, words) in [
            (
                json!({"type": "integer", "minimum": 1, "maximum": 9}),
                Some("a whole number from 1 to 9"),
            ),
            (
                json!({"type": ["string", "null"]}),
                Some("a string or nothing"),
            ),
            (json!({"enum": ["a", "b", 3]}), Some("`a`, `b` or `3`")),
            (
                json!({"oneOf": [{"enum": ["a", "c"]}, {"const": "b"}]}),
                Some("`a`, `c` or `b`"),
            ),
            (
                json!({"anyOf": [{"$ref": "#/$defs/size"}, {"type": "null"}]}),
                Some("a whole number or nothing"),
            ),
            (
                json!({"type": "object", "required": ["a", "b"]}),
                Some("a map with `a` and `b`"),
            ),
            (
                json!({"type": "string", "x-wanted": "a colour"}),
                Some("a colour"),
            ),
            (json!({"$ref": "#/$defs/loop"}), None),
            (json!({"$ref": "#/$defs/none"}), None),
            (json!(true), None),
        ] {
            assert_eq!(wanted(&root, &schema).as_deref(), words, "{schema}");
        }
    }

    #[test]
    fn the_nearest_name_is_near() {
        let known = [
            "address",
            "endpoints",
            "timeouts",
            "max_body_bytes",
            "name",
            "cluster",
        ];
        for (name, wanted) in [
            ("adress", Some("address")),
            ("addr", Some("address")),
            ("timeout", Some("timeouts")),
            ("max_body", Some("max_body_bytes")),
            ("Name", Some("name")),
            ("clsuter", Some("cluster")),
            ("x", None),
            ("colour", None),
        ] {
            assert_eq!(nearest(name, known), wanted, "{name}");
        }
    }

    #[test]
    fn texts_stay_short_and_on_one_line() {
        assert_eq!(quoted("a\nb\u{1b}"), "`a\\nb\\u{1b}`");
        assert_eq!(quoted(&"x".repeat(100)), format!("`{}…`", "x".repeat(60)));
    }
}
