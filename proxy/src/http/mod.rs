//! The words of HTTP and the HTTP/1 codec, as pure code.
//!
//! Here live: the heads of an exchange, the strict HTTP/1 codec (`h1/`), what
//! HTTP/2's heads are checked for (`h2/`), path normalisation, hop-by-hop removal, `Forwarded` and friends, `traceparent`,
//! request ids, what hops tell each other, `Via`, `Date`, and which framing an answer gets.
//! It takes bytes and header maps and gives values or an error with a reason.
//! It must never touch a socket, a clock or a task: time and randomness come in
//! as values (ids are drawn from the thread's generator, which is no secret).
//! What could be read in two ways is refused here and nowhere else.

mod authority;
pub mod call_depth;
pub mod date;
pub mod disguise;
mod error;
pub mod forwarded;
pub mod framing;
pub mod grpc;
pub mod h1;
pub mod h2;
mod head;
pub mod hop;
pub mod hops;
pub mod path;
pub mod request_id;
pub mod trace;
pub mod upgrade;
pub mod via;

pub use error::{BodyError, HeadError};
pub use framing::{AnswerFraming, Framing};
pub use head::{ParsedRequest, RequestHead, ResponseHead, Role, TargetForm};
pub use upgrade::Upgrade;
