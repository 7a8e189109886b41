//! The PROXY protocol: how a balancer in front tells whose connection it passes on.
//!
//! Takes the first bytes of a connection; gives who the client is and what else the
//! header says. For an origin it writes the same. Must never: take a byte that comes behind the header, or decide who
//! may send one.

mod header;
mod introduction;
mod read;
mod version;
mod write;

pub use introduction::Introduction;
pub use read::{Unreadable, read};
pub use version::Version;
pub use write::{Ends, header};
