//! What would come of certificates before they are put in place.
//!
//! Takes a checked configuration and what would replace a part of it; gives for each
//! endpoint and each chain of a client what it would say. Endpoints are asked live, with
//! what is configured and with what is new, through the pools and the TLS by which they
//! are asked in service. Must never: change anything, here or there; the one request that
//! an endpoint gets is a HEAD.

mod clients;
mod new;
mod origins;

pub use clients::{Refused, refused};
pub use new::{New, NewError, read};
pub use origins::{Asked, Fate, ask};
