//! Configuration: from JSON to the filter's type, and its schema.

use schemars::JsonSchema;
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};
use serde_path_to_error::{Path, Segment};

use crate::{ConfigError, ConfigErrors};

/// The JSON Schema of a configuration, as `describe` gives it to the proxy.
pub fn schema<C: JsonSchema>() -> String {
    schemars::schema_for!(C).as_value().to_string()
}

/// For `deserialize_with` of an optional key: one that is written has a value.
/// `null` is refused, which is what YAML makes of a key with nothing behind
/// it. Taken for a key that is left out, a forgotten value would turn a
/// condition into none at all.
///
/// ```
/// use lockgate_sdk::prelude::*;
///
/// #[derive(Deserialize, JsonSchema)]
/// struct Config {
///     /// Whom to let in. Without it, everybody.
///     #[serde(default, deserialize_with = "lockgate_sdk::given")]
///     #[schemars(with = "String")]
///     subject: Option<String>,
/// }
/// ```
pub fn given<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    match Option::deserialize(deserializer)? {
        Some(value) => Ok(Some(value)),
        None => Err(D::Error::custom(
            "a value is missing: give one, or leave the key out",
        )),
    }
}

/// Decode a configuration; a mistake carries its place.
pub(crate) fn decode<C: DeserializeOwned>(json: &str) -> Result<C, ConfigErrors> {
    let mut reader = serde_json::Deserializer::from_str(json);
    let config = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        ConfigError::at(
            pointer(error.path()),
            without_position(&error.inner().to_string()),
        )
    })?;
    reader
        .end()
        .map_err(|error| ConfigError::whole(without_position(&error.to_string())))?;
    Ok(config)
}

/// A JSON pointer (RFC 6901).
fn pointer(path: &Path) -> String {
    path.iter().fold(String::new(), |mut pointer, segment| {
        match segment {
            Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            Segment::Map { key } => {
                pointer.push('/');
                pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
            }
            // The variant's name is already there as the key of its map.
            Segment::Enum { .. } | Segment::Unknown => {}
        }
        pointer
    })
}

/// Line and column are those of the JSON that the proxy made: they would
/// mislead a reader of the YAML file.
fn without_position(message: &str) -> &str {
    message
        .rfind(" at line ")
        .map_or(message, |position| &message[..position])
}
