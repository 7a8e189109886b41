//! The keys of a trusted key.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A public key whose signatures on components are believed: ECDSA P-256, as cosign
/// makes them, or Ed25519. Exactly one of `file` and `pem` says what it is.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "TrustedKey")]
pub(in crate::config) struct RawTrustedKey {
    /// Unique among trusted keys. Letters, digits, `_`, `.` and `-`.
    #[schemars(required, with = "String", extend("x-wanted" = "a name"))]
    pub(in crate::config) name: Option<String>,
    /// The path of a file with the key in PEM, relative to the file it is written in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(min = 1), extend("x-wanted" = "the path of a file"))]
    pub(in crate::config) file: Option<PathBuf>,
    /// The key itself, in PEM: it begins with `-----BEGIN PUBLIC KEY-----`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(min = 1), extend("x-wanted" = "a public key in PEM"))]
    pub(in crate::config) pem: Option<String>,
}
