//! What a PROXY header says, without what reads it from sockets.

#[path = "../../proxy/src/proxy_protocol/introduction.rs"]
#[allow(dead_code, reason = "nothing is read from sockets")]
mod introduction;

pub use introduction::Introduction;
