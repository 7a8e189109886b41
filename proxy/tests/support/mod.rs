//! A proxy under test and its peers, all over real sockets on free ports.
//! Each test binary uses its part of this.
#![allow(dead_code, unused_imports, reason = "no test binary uses all of it")]

pub mod admin;
mod client;
pub mod clock;
pub mod filtered;
pub mod http2;
pub mod http2_origin;
pub mod load;
pub mod ocsp;
mod origin;
pub mod process;
mod proxy;
pub mod python;
pub mod tls;
pub mod tls_origin;

pub use client::{Answer, Client, read_answer};
pub use origin::{Origin, Seen, read_head, read_request, read_some, refusing};
pub use process::Process;
pub use proxy::{Proxy, component_cache, whole, within};

/// No wait of a test is longer; each waits for a condition, not for this.
pub const LIMIT: std::time::Duration = std::time::Duration::from_secs(60);
