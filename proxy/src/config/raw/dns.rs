//! The keys of who is asked for names.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Items;
use super::units::{MINUTE, Time};

/// Who is asked what the names of endpoints stand for (docs/discovery.md).
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "Dns")]
pub(in crate::config) struct RawDns {
    /// Name servers, as addresses with a port. Without this key, those of the system
    /// (`/etc/resolv.conf`), with its search list. `/etc/hosts` goes before either.
    #[schemars(with = "Vec<String>")]
    pub(in crate::config) servers: Items<String>,
    /// For one question to one server.
    pub(in crate::config) timeout: Time<10, MINUTE>,
    /// How often a question is asked again.
    #[schemars(range(min = 0, max = 10))]
    pub(in crate::config) attempts: usize,
}

impl Default for RawDns {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            timeout: Time(2_000),
            attempts: 2,
        }
    }
}
