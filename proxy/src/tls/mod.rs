//! TLS towards clients and origins: which certificate whom, who peers are, handshakes.
//!
//! Takes checked configurations, in which every file was good; gives one rustls
//! configuration for each listener and cluster, which all workers share, and connections
//! whose handshake is done, or why it failed. Must never: decide what is safe where rustls
//! has an opinion, or know of HTTP.

mod choice;
mod client;
mod connect;
mod facts;
mod failure;
mod handshake;
mod hello;
mod key_log;
mod server;
mod sessions;
mod tickets;
mod verifier;

pub use client::Client;
pub use connect::{NoTls, UpstreamTls, Use, connect, is_of_tls, refuses_certificate, speaks_http2};
pub use facts::{PeerFacts, TlsFacts};
pub use failure::Failure;
pub use handshake::accept;
pub use hello::{Hello, HelloReader};
pub use server::{Server, SetupError, client_verifier};
