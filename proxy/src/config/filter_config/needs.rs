//! Imports that a component needs for a part of its configuration only.
//!
//! What a component imports it imports for every configuration, also for one that has
//! no use for it. So its schema may mark a property with the interfaces that are
//! needed where it is given; they need a grant in such a configuration alone. Nothing
//! is gained by marking wrongly: what is not granted is denied at each call.

use serde_json::Value;

use super::walk::{Below, CannotFollow, walk};
use crate::config::checked::FilterConfig;

/// A list of names of interfaces, beside the property that needs them.
const MARK: &str = "x-lockgate-needs";

/// Whether a component with this schema needs an interface that it imports for any
/// of these configurations.
pub fn needs<'c>(
    interface: &str,
    schema: Option<&Value>,
    mut configs: impl Iterator<Item = &'c FilterConfig>,
) -> bool {
    match schema {
        Some(schema) if is_optional(interface, schema) => {
            configs.any(|config| is_needed(interface, schema, &config.value))
        }
        Some(_) | None => true,
    }
}

/// Whether any property is marked with it. JSON that was parsed is not deep.
fn is_optional(interface: &str, schema: &Value) -> bool {
    match schema {
        Value::Object(members) => {
            is_marked(interface, members.get(MARK))
                || members.values().any(|inner| is_optional(interface, inner))
        }
        Value::Array(items) => items.iter().any(|inner| is_optional(interface, inner)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// Whether the configuration has anything where the property is marked. A schema
/// that cannot be followed may need it anywhere.
fn is_needed(interface: &str, schema: &Value, config: &Value) -> bool {
    let mut is_needed = false;
    let walked = walk(schema, &mut config.clone(), |members, value| {
        is_needed |= !value.is_null() && is_marked(interface, members.get(MARK));
        match is_needed {
            true => Below::Pass,
            false => Below::Look,
        }
    });
    match walked {
        Ok(()) => is_needed,
        Err(CannotFollow) => true,
    }
}

fn is_marked(interface: &str, mark: Option<&Value>) -> bool {
    let mut named = mark.and_then(Value::as_array).into_iter().flatten();
    named.any(|name| name == interface)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(schema: &Value, value: Value, expected: bool) {
        let config = FilterConfig {
            value: value.clone(),
            pointer: String::new(),
            texts: Vec::new(),
        };
        let found = needs("shared", Some(schema), [config].iter());
        assert_eq!(found, expected, "{value}");
    }

    #[test]
    fn what_is_marked_is_needed_where_it_is_given() {
        let schema = json!({
            "properties": { "jwt": { "anyOf": [{ "$ref": "#/$defs/Jwt" }, { "type": "null" }] } },
            "$defs": { "Jwt": { "properties": {
                "keys": { "type": "array" },
                "cluster": { "type": ["string", "null"], MARK: ["shared", "http-client"] },
            }}},
        });
        check(&schema, json!({}), false);
        check(&schema, json!({ "jwt": null }), false);
        check(&schema, json!({ "jwt": { "keys": [] } }), false);
        check(&schema, json!({ "jwt": { "cluster": null } }), false);
        check(&schema, json!({ "jwt": { "cluster": "idp" } }), true);
        check(&schema, json!({ "cluster": "idp" }), false);
    }

    #[test]
    fn what_is_not_marked_is_always_needed() {
        check(&json!({ "properties": { "a": {} } }), json!({}), true);
        check(
            &json!({ "properties": { "a": { MARK: ["secrets"] } } }),
            json!({}),
            true,
        );
        check(
            &json!({ "properties": { "a": { MARK: "shared" } } }),
            json!({}),
            true,
        );
        assert!(needs("shared", None, [].iter()));
    }

    #[test]
    fn a_schema_without_an_end_may_need_anything() {
        let schema = json!({
            "properties": { "a": { MARK: ["shared"] } },
            "allOf": [{ "$ref": "#/allOf/0" }],
        });
        check(&schema, json!({}), true);
        let broken = json!({ "$ref": "#/none", "properties": { "a": { MARK: ["shared"] } } });
        check(&broken, json!({}), true);
    }
}
