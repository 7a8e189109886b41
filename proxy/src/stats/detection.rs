//! What connections of one listener were found to speak, on one worker.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::counter::Counter;

/// What became of looking at how a connection begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Detected {
    Http1,
    Http2,
    /// Of TLS that is passed on.
    Tls,
    /// Something else.
    Opaque,
    /// Too little came to tell.
    Timeout,
    /// Nobody looked: on its port servers speak first.
    ServerFirst,
}

impl Detected {
    pub const NAMES: [&str; 6] = ["http1", "http2", "tls", "opaque", "timeout", "server_first"];

    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }

    /// Whether it is passed on as it is.
    pub fn is_opaque(self) -> bool {
        match self {
            Self::Http1 | Self::Http2 => false,
            Self::Tls | Self::Opaque | Self::Timeout | Self::ServerFirst => true,
        }
    }
}

#[derive(Debug, Default)]
pub struct Detections([Counter; Detected::NAMES.len()]);

impl Detections {
    pub fn count(&self, detected: Detected) {
        self.0[detected as usize].add(1);
    }

    /// By the index of what was detected.
    pub fn of(&self, index: usize) -> &Counter {
        &self.0[index]
    }
}
