//! HTTP/2 toward origins: few connections of many streams.
//!
//! A connection has a task of its own, because no stream is more than another's. What
//! a request needs of it is a handle; the last handle that goes closes it.

mod channel;
mod duplex;
mod pump;
mod send;
mod stream;

pub(super) use channel::{Channel, Channels, Waited, open};
pub use duplex::Duplex;
pub(super) use send::{StreamLease, classify, send};
pub use stream::{poll_room, poll_stream};
