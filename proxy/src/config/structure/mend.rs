//! Something good in the place of what is mistaken, so that a filter can be
//! asked about the rest: otherwise its first mistake would hide all others.

use serde_json::{Map, Value};

use crate::config::place::segments;
use crate::config::words::resolve;

/// Schemas that are followed within each other.
const MAX_DEPTH: usize = 16;

/// A value that a schema most likely lets pass. Nothing depends on that it does.
pub(super) fn stand_in(root: &Value, schema: &Value) -> Option<Value> {
    any_of(root, schema, MAX_DEPTH)
}

fn any_of(root: &Value, schema: &Value, depth: usize) -> Option<Value> {
    let (schema, depth) = (schema.as_object()?, depth.checked_sub(1)?);
    if let Some(value) = ["const", "default"].iter().find_map(|key| schema.get(*key)) {
        return Some(value.clone());
    }
    let listed = |key: &&str| schema.get(*key)?.as_array()?.first();
    if let Some(value) = ["enum", "examples"].iter().find_map(listed) {
        return Some(value.clone());
    }
    if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
        return any_of(root, resolve(root, target)?, depth);
    }
    let branches = ["oneOf", "anyOf"]
        .iter()
        .find_map(|key| schema.get(*key)?.as_array());
    if let Some(branches) = branches {
        return branches
            .iter()
            .find_map(|branch| any_of(root, branch, depth));
    }
    let name = match schema.get("type")? {
        Value::Array(names) => names.first()?,
        name => name,
    };
    match name.as_str()? {
        "string" => text(schema),
        "integer" | "number" => Some(number(schema)),
        "boolean" => Some(false.into()),
        "array" => Some(Value::Array(Vec::new())),
        "object" => required(root, schema, depth),
        _ => Some(Value::Null),
    }
}

/// 1 where it may be: 0 has a meaning of its own more often.
fn number(schema: &Map<String, Value>) -> Value {
    let limit = |key| schema.get(key).filter(|limit| limit.is_number());
    let above = limit("minimum").filter(|least| least.as_f64() > Some(1.0));
    let below = limit("maximum").filter(|most| most.as_f64() < Some(1.0));
    above.or(below).cloned().unwrap_or(1.into())
}

fn text(schema: &Map<String, Value>) -> Option<Value> {
    let least = schema.get("minLength").and_then(Value::as_u64).unwrap_or(1);
    let length = usize::try_from(least.clamp(1, 100)).expect("a small number");
    (!schema.contains_key("pattern")).then(|| "x".repeat(length).into())
}

/// A map with no more than it needs.
fn required(root: &Value, schema: &Map<String, Value>, depth: usize) -> Option<Value> {
    let names = schema.get("required").and_then(Value::as_array);
    let names = names.into_iter().flatten().filter_map(Value::as_str);
    let members = names.map(|name| {
        let inner = schema.get("properties")?.get(name)?;
        Some((name.to_owned(), any_of(root, inner, depth)?))
    });
    members.collect::<Option<Map<_, _>>>().map(Value::Object)
}

/// Put `new` in the place of a value, or take it away. Of an item in a list the
/// place remains, or later ones would have other pointers.
pub(in crate::config) fn put(value: &mut Value, pointer: &str, new: Option<Value>) {
    let Some((parent, _)) = pointer.rsplit_once('/') else {
        if let Some(new) = new {
            *value = new;
        }
        return;
    };
    let name = segments(pointer).last().unwrap_or_default();
    match (value.pointer_mut(parent), new) {
        (Some(Value::Object(members)), Some(new)) => drop(members.insert(name, new)),
        (Some(Value::Object(members)), None) => drop(members.remove(&name)),
        (Some(Value::Array(items)), new) => {
            let index = name.parse().ok();
            if let Some(item) = index.and_then(|index: usize| items.get_mut(index)) {
                *item = new.unwrap_or_default();
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(schema: Value, wanted: Option<Value>) {
        let root = json!({"$defs": {
            "loop": {"$ref": "#/$defs/loop"},
            "share": {
                "type": "object",
                "properties": {"cluster": {"type": "string"}, "weight": {"type": "integer", "minimum": 0}},
                "required": ["cluster", "weight"],
            },
        }});
        assert_eq!(stand_in(&root, &schema), wanted, "{schema}");
    }

    #[test]
    fn a_schema_tells_what_would_be_good() {
        check(json!({"type": "string"}), Some(json!("x")));
        check(
            json!({"type": "string", "minLength": 3}),
            Some(json!("xxx")),
        );
        check(json!({"type": "string", "pattern": "^a$"}), None);
        check(
            json!({"pattern": "^a$", "examples": ["a"]}),
            Some(json!("a")),
        );
        check(
            json!({"oneOf": [{"const": "b"}, {"type": "null"}]}),
            Some(json!("b")),
        );
        check(
            json!({"$ref": "#/$defs/share"}),
            Some(json!({"cluster": "x", "weight": 1})),
        );
        check(json!({"type": "number", "minimum": 2.5}), Some(json!(2.5)));
        check(json!({"type": "integer", "maximum": 0}), Some(json!(0)));
        check(json!({"$ref": "#/$defs/loop"}), None);
        check(json!(true), None);
    }

    #[test]
    fn values_are_put_in_and_taken_away() {
        let mut value = json!({"a": [1, {"b": 2}]});
        put(&mut value, "/a/1/b", Some(json!(3)));
        put(&mut value, "/a/0", None);
        put(&mut value, "/a/7/x", Some(json!(1)));
        assert_eq!(value, json!({"a": [null, {"b": 3}]}));
        put(&mut value, "/a", None);
        assert_eq!(value, json!({}));
        put(&mut value, "", None);
        assert_eq!(value, json!({}));
        put(&mut value, "", Some(json!(5)));
        assert_eq!(value, json!(5));
    }
}
