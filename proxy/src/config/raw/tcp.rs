//! The keys of TCP.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::units::{HOUR, Time};

/// How connections of TCP are used.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "Tcp")]
pub(in crate::config) struct RawTcp {
    /// Without a byte in either direction. Then the connection is closed.
    pub(in crate::config) idle: Time<1, { 720 * HOUR }>,
    /// From a connection's beginning. Then it is closed, whatever passes through it.
    /// Without this key it may last for ever.
    #[schemars(with = "Time<1, { 8760 * HOUR }>")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) max_lifetime: Option<Time<1, { 8760 * HOUR }>>,
}

impl Default for RawTcp {
    fn default() -> Self {
        Self {
            idle: Time(HOUR),
            max_lifetime: None,
        }
    }
}
