//! One client connection: its sockets' halves, its timers, and the loop that
//! reads one request after another, or accepts one stream after another, and hands
//! each to the exchange.
//!
//! Takes an accepted socket and the worker's current snapshot; gives each
//! exchange the head it parsed and the two halves to go on with. It answers
//! heads that cannot be understood, through `exchange::reply`. It never looks
//! at filters or origins.

mod connection;
mod handshake;
mod http2;
mod linger;

pub use connection::{Accepted, serve};
