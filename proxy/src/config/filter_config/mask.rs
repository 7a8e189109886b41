//! Values that a schema marks `writeOnly`.

use serde_json::Value;

use crate::config::words::resolve;

const FUEL: usize = 1_000_000;
const MAX_DEPTH: usize = 256;

/// What stands in the place of a value that is not shown.
pub(super) fn masked() -> Value {
    Value::String("***".to_owned())
}

/// The value with `***` for all that is marked in any part of the schema that may
/// be about it. A schema that cannot be followed to its end masks everything: it
/// may have marked anything.
pub(in crate::config) fn mask_value(schema: &Value, value: &Value) -> Value {
    let mut result = value.clone();
    let mut marker = Marker {
        root: schema,
        fuel: FUEL,
    };
    match marker.mark(schema, &mut result, 0) {
        Ok(()) => result,
        Err(CannotFollow) => masked(),
    }
}

#[derive(Debug)]
struct CannotFollow;

struct Marker<'a> {
    root: &'a Value,
    fuel: usize,
}

impl Marker<'_> {
    fn mark(
        &mut self,
        schema: &Value,
        value: &mut Value,
        depth: usize,
    ) -> Result<(), CannotFollow> {
        self.fuel = self.fuel.checked_sub(1).ok_or(CannotFollow)?;
        if depth > MAX_DEPTH {
            return Err(CannotFollow);
        }
        let Some(members) = schema.as_object() else {
            return Ok(());
        };
        if members
            .get("writeOnly")
            .is_some_and(|mark| mark == &Value::Bool(true))
        {
            *value = masked();
            return Ok(());
        }
        let depth = depth + 1;
        for (keyword, inner) in members {
            match keyword.as_str() {
                "$ref" => {
                    let target = inner.as_str().and_then(|target| resolve(self.root, target));
                    self.mark(target.ok_or(CannotFollow)?, value, depth)?;
                }
                "allOf" | "anyOf" | "oneOf" => self.mark_all(inner, value, depth)?,
                "if" | "then" | "else" => self.mark(inner, value, depth)?,
                "dependentSchemas" | "dependencies" => self.mark_all(inner, value, depth)?,
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
    fn mark_all(
        &mut self,
        schemas: &Value,
        value: &mut Value,
        depth: usize,
    ) -> Result<(), CannotFollow> {
        match schemas {
            Value::Array(schemas) => schemas
                .iter()
                .try_for_each(|schema| self.mark(schema, value, depth)),
            Value::Object(schemas) => schemas
                .values()
                .try_for_each(|schema| self.mark(schema, value, depth)),
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
                self.mark(schema, member, depth)?;
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
                self.mark(schema, member, depth)?;
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
                .try_for_each(|item| self.mark(schema, item, depth)),
            Value::Object(members) => members
                .values_mut()
                .try_for_each(|member| self.mark(schema, member, depth)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
        }
    }
}
