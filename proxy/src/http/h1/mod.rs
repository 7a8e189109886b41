//! The HTTP/1 codec toward clients, and the gate for what origins answer.
//!
//! Here live: the scan for a head's end under limits, the request head, bodies
//! and trailers, the writing of answers, and the checks that make the client half
//! of hyper as strict about answers as this codec is about requests.
//! It takes bytes in whatever pieces they come and gives values; how the pieces
//! are cut never changes the outcome. Values share the memory they were read into.
//! It must never guess: what RFC 9112 leaves to the reader's kindness, and what
//! peers are known to read differently, is an error with a kind and a reason.

mod answer_check;
mod answer_gate;
mod body;
mod chunk;
mod encode;
mod facts;
mod fields;
mod length;
mod request;
mod scan;
mod target;
mod trailers;

pub use answer_check::check_answer;
pub use answer_gate::AnswerGate;
pub use body::{BodyDecoder, Decoded};
pub use encode::{
    OwnFields, Persistence, continue_100, encode_chunk, encode_chunk_head, encode_interim,
    encode_last_chunk, encode_response, encode_trailers,
};
pub(super) use facts::read_expect;
pub(super) use length::content_length;
pub use request::parse_request;
pub(super) use request::with_plain_length;
pub use scan::{HeadScanner, is_token_byte};
pub(super) use target::with_port;
pub use trailers::remove_forbidden_trailers;

#[cfg(test)]
mod tests;
