//! Whether a filter's configuration is documented.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde_json::Value;

/// The keys of a configuration that a README does not name as `` `key` ``.
pub fn undocumented_keys<C: JsonSchema>(readme: &str) -> Vec<String> {
    keys::<C>()
        .into_iter()
        .filter(|(key, _)| !readme.contains(&format!("`{key}`")))
        .map(|(key, _)| key)
        .collect()
}

/// The keys of a configuration without a description, which is a doc comment on
/// the field.
pub fn undescribed_keys<C: JsonSchema>() -> Vec<String> {
    keys::<C>()
        .into_iter()
        .filter(|(_, is_described)| !is_described)
        .map(|(key, _)| key)
        .collect()
}

/// Every key below `properties`, and whether it has a description.
fn keys<C: JsonSchema>() -> BTreeSet<(String, bool)> {
    let mut keys = BTreeSet::new();
    collect(schemars::schema_for!(C).as_value(), &mut keys);
    keys
}

fn collect(schema: &Value, keys: &mut BTreeSet<(String, bool)>) {
    match schema {
        Value::Object(object) => {
            if let Some(Value::Object(properties)) = object.get("properties") {
                let named = |(key, property): (&String, &Value)| {
                    (key.clone(), property.get("description").is_some())
                };
                keys.extend(properties.iter().map(named));
            }
            object.values().for_each(|inner| collect(inner, keys));
        }
        Value::Array(items) => items.iter().for_each(|inner| collect(inner, keys)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
