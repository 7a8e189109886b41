//! One client connection: its sockets' halves, its timers, and the loop that
//! reads one request after another, or accepts one stream after another, and hands
//! each to the exchange.
//!
//! Takes an accepted socket and the worker's current snapshot; reads the PROXY header
//! where the listener wants one, looks at what is spoken where that is not known, and
//! gives each exchange the head it parsed and the two halves to go on with. It answers
//! heads that cannot be understood, through `exchange::reply`. Filters of
//! connections are asked here; those of exchanges and origins it never looks at.

mod admit;
mod connection;
mod detect;
mod first_bytes;
mod frames;
mod handshake;
mod http2;
mod introduce;
mod linger;
mod patience;
mod place;
mod terms;

pub use connection::{Accepted, serve};
