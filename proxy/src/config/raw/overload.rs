//! The keys of overload.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::units::{GIB, HOUR, MIB, Size, Time};

/// What is given up when the process has more than it can carry.
///
/// First idle connections are closed, and others after the answer they are at (`close`);
/// then new requests are answered 503 with `Retry-After`, and new connections of TCP
/// refused (`shed`); then every new connection is closed as it comes (`refuse`). What is
/// under way goes on. Each of these ends when a tenth less is used than what began it.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "Overload")]
pub(in crate::config) struct RawOverload {
    /// Memory of the process.
    pub(in crate::config) memory: RawMemoryMarks,
    /// File descriptors, of which there may be as many as the hard limit of the process
    /// says (`ulimit -Hn`).
    pub(in crate::config) descriptors: RawDescriptorMarks,
    /// How long a worker's work lies before it is taken up. Each worker looks at its own.
    pub(in crate::config) delay: RawDelayMarks,
}

/// Memory that is used, in percent of what there is. Beyond it is what is told below; at
/// 100 it never is.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "MemoryMarks")]
pub(in crate::config) struct RawMemoryMarks {
    /// How much there is. Without this key, the limit of the process's control group
    /// (cgroup v2) or of one above it, of which everything in it counts that cannot be
    /// given back; without any, the machine's memory.
    #[schemars(with = "Size<{ 16 * MIB }, { 65536 * GIB }>")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) limit: Option<Size<{ 16 * MIB }, { 65536 * GIB }>>,
    /// Connections are closed.
    #[schemars(range(min = 1, max = 100))]
    pub(in crate::config) close: u8,
    /// New requests are answered 503.
    #[schemars(range(min = 1, max = 100))]
    pub(in crate::config) shed: u8,
    /// New connections are refused.
    #[schemars(range(min = 1, max = 100))]
    pub(in crate::config) refuse: u8,
}

impl Default for RawMemoryMarks {
    fn default() -> Self {
        Self {
            limit: None,
            close: 85,
            shed: 92,
            refuse: 97,
        }
    }
}

/// Descriptors that are in use, in percent of what there may be. Beyond it is what is
/// told below; at 100 it never is.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "DescriptorMarks")]
pub(in crate::config) struct RawDescriptorMarks {
    /// Connections are closed.
    #[schemars(range(min = 1, max = 100))]
    pub(in crate::config) close: u8,
    /// New requests are answered 503.
    #[schemars(range(min = 1, max = 100))]
    pub(in crate::config) shed: u8,
    /// New connections are refused.
    #[schemars(range(min = 1, max = 100))]
    pub(in crate::config) refuse: u8,
}

impl Default for RawDescriptorMarks {
    fn default() -> Self {
        Self {
            close: 85,
            shed: 92,
            refuse: 97,
        }
    }
}

/// How late a worker's timer goes off, twice in a row. Connections are not closed for it,
/// since new ones would cost more.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "DelayMarks")]
pub(in crate::config) struct RawDelayMarks {
    /// Beyond it, new requests are answered 503.
    pub(in crate::config) shed: Time<10, HOUR>,
    /// Beyond it, new connections are refused.
    pub(in crate::config) refuse: Time<10, HOUR>,
}

impl Default for RawDelayMarks {
    fn default() -> Self {
        Self {
            shed: Time(1_000),
            refuse: Time(5_000),
        }
    }
}
