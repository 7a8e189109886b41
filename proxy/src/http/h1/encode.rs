//! Writing answers.

use bytes::BytesMut;
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, SERVER, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version};

use super::trailers::remove_forbidden_trailers;
use crate::http::request_id::hex_digit;
use crate::http::{AnswerFraming, ResponseHead};

/// What becomes of the client's connection, and how it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Persistence {
    /// Goes on, as HTTP/1.1 does without a word.
    KeepAlive,
    /// Goes on, which an HTTP/1.0 client has to be told.
    KeepAliveTold,
    Close,
}

impl Persistence {
    /// `version` is the request's.
    pub fn new(version: Version, keep_alive: bool) -> Self {
        match (keep_alive, version) {
            (false, _) => Persistence::Close,
            (true, Version::HTTP_10) => Persistence::KeepAliveTold,
            (true, _) => Persistence::KeepAlive,
        }
    }
}

/// Fields that this proxy adds to an answer.
#[derive(Debug, Clone, Copy)]
pub struct OwnFields<'a> {
    /// For an answer that has none.
    pub date: &'a HeaderValue,
    /// In place of the origin's; `None` passes that on.
    pub server: Option<&'a HeaderValue>,
}

/// Writes the head of a final answer. The framing is `how`'s alone: of `head`'s own
/// fields about it only the `Content-Length` of an answer without a body is kept.
/// An answer that ends with the connection says so, whatever `connection` is.
pub fn encode_response(
    out: &mut BytesMut,
    head: &ResponseHead,
    how: AnswerFraming,
    connection: Persistence,
    own: OwnFields<'_>,
) {
    out.reserve(128 + head.headers.len() * 64);
    write_status_line(out, head.status);
    let keeps_length = how == AnswerFraming::None && head.status != StatusCode::NO_CONTENT;
    let (mut has_date, mut has_upgrade) = (false, false);
    for (name, value) in &head.headers {
        let is_kept = match *name {
            CONNECTION | TRANSFER_ENCODING => false,
            CONTENT_LENGTH => keeps_length,
            SERVER => own.server.is_none(),
            DATE => {
                has_date = true;
                true
            }
            UPGRADE => {
                has_upgrade = true;
                true
            }
            _ => true,
        };
        if is_kept {
            write_field(out, name, value);
        }
    }
    if !has_date {
        write_field(out, &DATE, own.date);
    }
    if let Some(server) = own.server {
        write_field(out, &SERVER, server);
    }
    write_framing(out, how, connection);
    if has_upgrade {
        out.extend_from_slice(b"connection: upgrade\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

/// Writes an interim answer (1xx), which has no framing and no fields of ours.
pub fn encode_interim(out: &mut BytesMut, head: &ResponseHead) {
    write_status_line(out, head.status);
    for (name, value) in &head.headers {
        if ![CONNECTION, TRANSFER_ENCODING, CONTENT_LENGTH].contains(name) {
            write_field(out, name, value);
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// The interim answer that asks for the body.
pub const fn continue_100() -> &'static [u8] {
    b"HTTP/1.1 100 Continue\r\n\r\n"
}

/// The version is always this proxy's own (RFC 9110 section 6.2).
fn write_status_line(out: &mut BytesMut, status: StatusCode) {
    let canned: &[u8] = match status {
        StatusCode::SWITCHING_PROTOCOLS => b"HTTP/1.1 101 Switching Protocols\r\n",
        StatusCode::OK => b"HTTP/1.1 200 OK\r\n",
        StatusCode::CREATED => b"HTTP/1.1 201 Created\r\n",
        StatusCode::NO_CONTENT => b"HTTP/1.1 204 No Content\r\n",
        StatusCode::FOUND => b"HTTP/1.1 302 Found\r\n",
        StatusCode::NOT_MODIFIED => b"HTTP/1.1 304 Not Modified\r\n",
        StatusCode::NOT_FOUND => b"HTTP/1.1 404 Not Found\r\n",
        _ => {
            out.extend_from_slice(b"HTTP/1.1 ");
            out.extend_from_slice(status.as_str().as_bytes());
            out.extend_from_slice(b" ");
            // The reason may be empty; the space before it may not be missing.
            let reason = status.canonical_reason().unwrap_or_default();
            out.extend_from_slice(reason.as_bytes());
            b"\r\n"
        }
    };
    out.extend_from_slice(canned);
}

fn write_field(out: &mut BytesMut, name: &HeaderName, value: &HeaderValue) {
    out.extend_from_slice(name.as_str().as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn write_framing(out: &mut BytesMut, how: AnswerFraming, connection: Persistence) {
    let connection = match how {
        AnswerFraming::Length(length) => {
            out.extend_from_slice(b"content-length: ");
            out.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
            out.extend_from_slice(b"\r\n");
            connection
        }
        AnswerFraming::Chunked => {
            out.extend_from_slice(b"transfer-encoding: chunked\r\n");
            connection
        }
        AnswerFraming::None => connection,
        AnswerFraming::Switch => Persistence::KeepAlive,
        AnswerFraming::Close => Persistence::Close,
    };
    match connection {
        Persistence::KeepAlive => {}
        Persistence::KeepAliveTold => out.extend_from_slice(b"connection: keep-alive\r\n"),
        Persistence::Close => out.extend_from_slice(b"connection: close\r\n"),
    }
}

/// Writes one chunk. Nothing is written for no data: an empty chunk would end the
/// body.
pub fn encode_chunk(out: &mut BytesMut, data: &[u8]) {
    if data.is_empty() {
        return;
    }
    out.reserve(data.len() + 20);
    encode_chunk_head(out, data.len());
    out.extend_from_slice(data);
    out.extend_from_slice(b"\r\n");
}

/// Writes the line before a chunk of `length` bytes, for data that is written from
/// where it lies. CRLF must follow the data.
pub fn encode_chunk_head(out: &mut BytesMut, length: usize) {
    debug_assert!(length > 0, "an empty chunk ends the body");
    let mut line = [0; 18];
    let mut start = 16;
    line[16..].copy_from_slice(b"\r\n");
    let mut left = length;
    while left > 0 {
        start -= 1;
        line[start] = hex_digit((left & 15) as u8);
        left >>= 4;
    }
    out.extend_from_slice(&line[start..]);
}

/// Writes the end of a chunked body, without the trailers that must not be.
pub fn encode_last_chunk(out: &mut BytesMut, trailers: Option<HeaderMap>) {
    out.extend_from_slice(b"0\r\n");
    encode_trailers(out, trailers.unwrap_or_default());
}

/// Writes a trailer section and the empty line behind it, without the trailers
/// that must not be.
pub fn encode_trailers(out: &mut BytesMut, mut trailers: HeaderMap) {
    remove_forbidden_trailers(&mut trailers);
    for (name, value) in &trailers {
        write_field(out, name, value);
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests;
