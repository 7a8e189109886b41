//! Header fields that a filter vouches for.

use serde_json::Value;

use crate::config::checked::FilterConfig;
use crate::config::place::below;

/// What a schema says of a property that names a header field by which the
/// filter tells origins something that they rely on.
const MARK: &str = "x-lockgate-trusted-header";

/// A field that a configuration names so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedHeader {
    /// JSON pointer of the name in the file.
    pub pointer: String,
    pub name: String,
}

/// The fields named by properties of the configuration itself (not of what is
/// inside them) that the schema marks.
pub fn trusted_headers(schema: Option<&Value>, config: &FilterConfig) -> Vec<TrustedHeader> {
    let properties = schema.and_then(|schema| schema.get("properties")?.as_object());
    properties
        .into_iter()
        .flatten()
        .filter(|(_, schema)| schema.get(MARK) == Some(&Value::Bool(true)))
        .filter_map(|(property, _)| {
            let name = config.value.get(property)?.as_str()?;
            Some(TrustedHeader {
                pointer: below(&config.pointer, property),
                name: name.to_owned(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn marked_properties_name_trusted_headers() {
        let schema = json!({ "properties": {
            "identity_header": { "type": "string", MARK: true },
            "other": { "type": "string" },
        }});
        let config = |value| FilterConfig {
            value,
            pointer: "/filters/auth/config".to_owned(),
            texts: Vec::new(),
        };
        let found = |value| trusted_headers(Some(&schema), &config(value));
        assert_eq!(
            found(json!({ "identity_header": "x-user", "other": "x-other" })),
            [TrustedHeader {
                pointer: "/filters/auth/config/identity_header".to_owned(),
                name: "x-user".to_owned(),
            }]
        );
        assert_eq!(found(json!({ "other": "x-other" })), []);
        assert_eq!(trusted_headers(None, &config(json!({}))), []);
    }
}
