//! Whether a schema can be checked against in bounded time.
//!
//! A validator follows references, and a guest may write them in a circle or so
//! that the work doubles with each. So the way of the validator is walked first,
//! over schema and value together, with fuel.

use serde_json::Value;

use crate::config::words::resolve;

/// Steps of one walk. A real schema takes some hundreds.
const FUEL: usize = 200_000;

/// Schemas within schemas, references followed.
const MAX_DEPTH: usize = 256;

/// Values in a schema.
const MAX_NODES: usize = 50_000;

/// Keywords whose schemas are about the same value.
const SAME: &[&str] = &["not", "if", "then", "else", "propertyNames"];
const SAME_LISTS: &[&str] = &["allOf", "anyOf", "oneOf"];
const SAME_MAPS: &[&str] = &["dependentSchemas", "dependencies"];

/// Keywords whose schemas are about every value within.
const WITHIN: &[&str] = &[
    "additionalProperties",
    "additionalItems",
    "items",
    "contains",
    "unevaluatedItems",
    "unevaluatedProperties",
];
const WITHIN_LISTS: &[&str] = &["prefixItems", "items"];
const WITHIN_MAPS: &[&str] = &["patternProperties"];

/// Keywords that make a reference mean something else than it says, or stand
/// outside the schema. None is needed to describe a configuration.
const REFUSED: &[&str] = &[
    "$dynamicRef",
    "$recursiveRef",
    "$dynamicAnchor",
    "$recursiveAnchor",
    "$anchor",
    "$vocabulary",
];

pub(super) fn check(schema: &Value, value: &Value) -> Result<(), String> {
    shape(schema, 0, &mut 0)?;
    let mut walk = Walk {
        root: schema,
        fuel: FUEL,
    };
    walk.step(schema, value, 0)
}

/// Refuse what is too large or too deep to even be looked at, and keywords that
/// the walk below does not understand.
fn shape(schema: &Value, depth: usize, nodes: &mut usize) -> Result<(), String> {
    *nodes += 1;
    if *nodes > MAX_NODES {
        return Err(format!("it has more than {MAX_NODES} values"));
    }
    if depth > MAX_DEPTH {
        return Err("it is nested too deeply".to_owned());
    }
    match schema {
        Value::Object(members) => {
            for (key, value) in members {
                keyword(key, value, depth)?;
                shape(value, depth + 1, nodes)?;
            }
            Ok(())
        }
        Value::Array(items) => items
            .iter()
            .try_for_each(|item| shape(item, depth + 1, nodes)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

fn keyword(key: &str, value: &Value, depth: usize) -> Result<(), String> {
    if REFUSED.contains(&key) {
        return Err(format!("`{key}` is not supported"));
    }
    match (key, value) {
        ("$id" | "id", Value::String(_)) if depth > 0 => {
            Err(format!("`{key}` is supported only at its top"))
        }
        ("$ref", Value::String(target)) if target != "#" && !target.starts_with("#/") => Err(
            format!("`$ref` to `{target}`: only references within the schema are supported"),
        ),
        _ => Ok(()),
    }
}

struct Walk<'a> {
    root: &'a Value,
    fuel: usize,
}

impl Walk<'_> {
    fn step(&mut self, schema: &Value, value: &Value, depth: usize) -> Result<(), String> {
        self.spend(depth)?;
        let Some(schema) = schema.as_object() else {
            return Ok(());
        };
        let depth = depth + 1;
        if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
            let resolved = resolve(self.root, target);
            let target =
                resolved.ok_or_else(|| format!("`$ref` to `{target}`, which it does not have"))?;
            self.step(target, value, depth)?;
        }
        for (key, inner) in schema {
            let key = key.as_str();
            if SAME.contains(&key) {
                self.step(inner, value, depth)?;
            }
            if SAME_LISTS.contains(&key) {
                for inner in inner.as_array().into_iter().flatten() {
                    self.step(inner, value, depth)?;
                }
            }
            if SAME_MAPS.contains(&key) {
                for inner in inner.as_object().into_iter().flat_map(|map| map.values()) {
                    self.step(inner, value, depth)?;
                }
            }
            self.within(key, inner, value, depth)?;
        }
        Ok(())
    }

    fn within(
        &mut self,
        key: &str,
        schema: &Value,
        value: &Value,
        depth: usize,
    ) -> Result<(), String> {
        if key == "properties" {
            for (name, schema) in schema.as_object().into_iter().flatten() {
                if let Some(value) = value.get(name) {
                    self.step(schema, value, depth)?;
                }
            }
        }
        if WITHIN.contains(&key) && !schema.is_array() {
            self.each(schema, value, depth)?;
        }
        if WITHIN_LISTS.contains(&key) {
            for schema in schema.as_array().into_iter().flatten() {
                self.each(schema, value, depth)?;
            }
        }
        if WITHIN_MAPS.contains(&key) {
            for schema in schema.as_object().into_iter().flat_map(|map| map.values()) {
                self.each(schema, value, depth)?;
            }
        }
        Ok(())
    }

    /// Every value within, whether or not the keyword is about all of them.
    fn each(&mut self, schema: &Value, value: &Value, depth: usize) -> Result<(), String> {
        match value {
            Value::Array(items) => items
                .iter()
                .try_for_each(|item| self.step(schema, item, depth)),
            Value::Object(members) => members
                .values()
                .try_for_each(|member| self.step(schema, member, depth)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
        }
    }

    fn spend(&mut self, depth: usize) -> Result<(), String> {
        self.fuel = self
            .fuel
            .checked_sub(1)
            .ok_or("it takes too many steps to check")?;
        match depth > MAX_DEPTH {
            true => Err("its references go in a circle".to_owned()),
            false => Ok(()),
        }
    }
}
