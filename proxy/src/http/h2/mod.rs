//! What HTTP/2 leaves open once its frames are read: the rules for heads that RFC
//! 9113 adds to those of HTTP, and the form in which heads go out.
//!
//! Framing, HPACK, flow control and pseudo-fields are the `h2` crate's. It refuses
//! what breaks the protocol; here it is seen to that nothing which would be refused
//! in HTTP/1 comes in this way, since most of it goes on as HTTP/1.

mod fields;
mod request;
mod response;

pub use fields::{check_answer_fields, check_fields};
pub use request::read_request;
pub use response::{answer_head, interim_head};

/// What every client sends first (RFC 9113 section 3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
