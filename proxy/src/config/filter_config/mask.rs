//! Values that a schema marks `writeOnly`.

use serde_json::Value;

use super::walk::{Below, CannotFollow, walk};

/// What stands in the place of a value that is not shown.
pub(super) fn masked() -> Value {
    Value::String("***".to_owned())
}

/// The value with `***` for all that is marked in any part of the schema that may
/// be about it. A schema that cannot be followed to its end masks everything: it
/// may have marked anything.
pub(in crate::config) fn mask_value(schema: &Value, value: &Value) -> Value {
    let mut result = value.clone();
    let walked = walk(schema, &mut result, |members, value| {
        if members.get("writeOnly") != Some(&Value::Bool(true)) {
            return Below::Look;
        }
        *value = masked();
        Below::Pass
    });
    match walked {
        Ok(()) => result,
        Err(CannotFollow) => masked(),
    }
}
