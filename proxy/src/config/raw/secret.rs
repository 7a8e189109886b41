//! The keys of a secret.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Bytes that filters may be granted to use, and that are shown nowhere. Exactly one
/// of `file`, `env` and `value` says where they come from; they are 64 KiB at most,
/// and none are no secret.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Secret")]
pub(in crate::config) struct RawSecret {
    /// Unique among secrets. Letters, digits, `_`, `.` and `-`.
    #[schemars(required, with = "String", extend("x-wanted" = "a name"))]
    pub(in crate::config) name: Option<String>,
    /// The path of a file with nothing but the secret, relative to the file it is
    /// written in. One newline at its end is not part of the secret. When the file
    /// changes it is read again, without a reload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(min = 1), extend("x-wanted" = "the path of a file"))]
    pub(in crate::config) file: Option<PathBuf>,
    /// The name of an environment variable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(min = 1), extend("x-wanted" = "the name of an environment variable"))]
    pub(in crate::config) env: Option<String>,
    /// The secret itself, for tests. Masked wherever the configuration is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(min = 1), extend("writeOnly" = true))]
    pub(in crate::config) value: Option<String>,
}
