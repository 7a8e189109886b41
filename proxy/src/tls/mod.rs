//! TLS towards clients: which certificate whom, who clients are, handshakes.
//!
//! Takes checked configurations, in which every file was good; gives one rustls
//! configuration for each listener, which all workers share, and connections whose
//! handshake is done, or why it failed. Must never: decide what is safe where rustls
//! has an opinion, or know of HTTP.

mod choice;
mod facts;
mod failure;
mod handshake;
mod key_log;
mod server;

pub use facts::{PeerFacts, TlsFacts};
pub use failure::Failure;
pub use handshake::accept;
pub use server::{Server, SetupError};
