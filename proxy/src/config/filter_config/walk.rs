//! A value side by side with the schema that is about it. The schema is a guest's,
//! so it may be broken, or have no end.

use serde_json::{Map, Value};

use crate::config::words::resolve;

const FUEL: usize = 1_000_000;
const MAX_DEPTH: usize = 256;

/// The schema refers to what is not there, or has no end.
#[derive(Debug)]
pub struct CannotFollow;

/// What is to be done below a value that was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Below {
    Look,
    Pass,
}

/// Shows `visit` each part of the value with each part of the schema that may be
/// about it.
pub fn walk(
    schema: &Value,
    value: &mut Value,
    visit: impl FnMut(&Map<String, Value>, &mut Value) -> Below,
) -> Result<(), CannotFollow> {
    let mut walk = Walk {
        root: schema,
        fuel: FUEL,
        visit,
    };
    walk.at(schema, value, 0)
}

struct Walk<'a, V> {
    root: &'a Value,
    fuel: usize,
    visit: V,
}

impl<V: FnMut(&Map<String, Value>, &mut Value) -> Below> Walk<'_, V> {
    fn at(&mut self, schema: &Value, value: &mut Value, depth: usize) -> Result<(), CannotFollow> {
        self.fuel = self.fuel.checked_sub(1).ok_or(CannotFollow)?;
        if depth > MAX_DEPTH {
            return Err(CannotFollow);
        }
        let Some(members) = schema.as_object() else {
            return Ok(());
        };
        if (self.visit)(members, value) == Below::Pass {
            return Ok(());
        }
        let depth = depth + 1;
        for (keyword, inner) in members {
            match keyword.as_str() {
                "$ref" => {
                    let target = inner.as_str().and_then(|target| resolve(self.root, target));
                    self.at(target.ok_or(CannotFollow)?, value, depth)?;
                }
                "allOf" | "anyOf" | "oneOf" => self.all(inner, value, depth)?,
                "if" | "then" | "else" => self.at(inner, value, depth)?,
                "dependentSchemas" | "dependencies" => self.all(inner, value, depth)?,
                "properties" => self.properties(inner, value, depth)?,
                "patternProperties" => {
                    for inner in inner.as_object().into_iter().flat_map(|map| map.values()) {
                        self.within(inner, value, depth)?;
                    }
                }
                "items" | "prefixItems" | "additionalItems" | "unevaluatedItems" | "contains"
                    if value.is_array() =>
                {
                    match inner.as_array() {
                        Some(schemas) => {
                            schemas
                                .iter()
                                .try_for_each(|inner| self.within(inner, value, depth))?;
                        }
                        None => self.within(inner, value, depth)?,
                    }
                }
                "additionalProperties" | "unevaluatedProperties" if value.is_object() => {
                    self.additional(members.get("properties"), inner, value, depth)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Every schema of a list or map of them, about the same value.
    fn all(
        &mut self,
        schemas: &Value,
        value: &mut Value,
        depth: usize,
    ) -> Result<(), CannotFollow> {
        match schemas {
            Value::Array(schemas) => schemas
                .iter()
                .try_for_each(|schema| self.at(schema, value, depth)),
            Value::Object(schemas) => schemas
                .values()
                .try_for_each(|schema| self.at(schema, value, depth)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
        }
    }

    fn properties(
        &mut self,
        schemas: &Value,
        value: &mut Value,
        depth: usize,
    ) -> Result<(), CannotFollow> {
        let Some(members) = value.as_object_mut() else {
            return Ok(());
        };
        for (name, schema) in schemas.as_object().into_iter().flatten() {
            if let Some(member) = members.get_mut(name) {
                self.at(schema, member, depth)?;
            }
        }
        Ok(())
    }

    /// What is not among the named properties.
    fn additional(
        &mut self,
        named: Option<&Value>,
        schema: &Value,
        value: &mut Value,
        depth: usize,
    ) -> Result<(), CannotFollow> {
        for (name, member) in value.as_object_mut().into_iter().flatten() {
            if named.and_then(|named| named.get(name)).is_none() {
                self.at(schema, member, depth)?;
            }
        }
        Ok(())
    }

    fn within(
        &mut self,
        schema: &Value,
        value: &mut Value,
        depth: usize,
    ) -> Result<(), CannotFollow> {
        match value {
            Value::Array(items) => items
                .iter_mut()
                .try_for_each(|item| self.at(schema, item, depth)),
            Value::Object(members) => members
                .values_mut()
                .try_for_each(|member| self.at(schema, member, depth)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
        }
    }
}
