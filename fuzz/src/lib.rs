//! The modules under test, as the proxy has them: the files are the proxy's own.
//! The library itself is not used, as it would bring wasmtime along.

#[path = "../../proxy/src/balance/mod.rs"]
pub mod balance;
#[path = "../../proxy/src/config/mod.rs"]
pub mod config;
#[path = "../../proxy/src/digest.rs"]
pub mod digest;
#[path = "../../proxy/src/error.rs"]
pub mod error;
#[path = "../../proxy/src/http/mod.rs"]
pub mod http;
#[path = "../../proxy/src/filter/packed.rs"]
pub mod packed;
pub mod proxy_protocol;
pub mod stats;

use config::{EncodedSlashes, Limits, PathRules};

/// Small enough for a fuzzer to run into.
pub fn limits() -> Limits {
    Limits {
        max_head_bytes: 2048,
        max_headers: 20,
        max_target_bytes: 512,
        max_body_bytes: 1024,
        min_body_rate: 0,
        max_requests: 1,
        max_connections: 1,
        max_client_connections: 1,
        client_ipv6_prefix: 64,
        max_handshakes: 1,
        max_client_handshakes: 1,
    }
}

/// Every combination of rules.
pub fn all_path_rules() -> [PathRules; 4] {
    let rules = |merge_slashes, encoded_slashes| PathRules {
        merge_slashes,
        encoded_slashes,
    };
    [
        rules(true, EncodedSlashes::Refuse),
        rules(true, EncodedSlashes::Keep),
        rules(false, EncodedSlashes::Refuse),
        rules(false, EncodedSlashes::Keep),
    ]
}

/// The first byte says how large the pieces are that the rest comes in.
pub fn pieces(data: &[u8]) -> Option<(usize, &[u8])> {
    let (&size, wire) = data.split_first()?;
    Some((usize::from(size).max(1), wire))
}
