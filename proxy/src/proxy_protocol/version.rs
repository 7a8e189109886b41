//! The versions of the protocol.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// In which a header is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "ProxyProtocolVersion")]
pub enum Version {
    /// A line of text.
    V1,
    /// Bytes.
    V2,
}
