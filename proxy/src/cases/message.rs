//! Messages of HTTP/1 as bytes: those of a case as they are sent, and those that
//! came out as they are read.

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, HOST, HeaderName, HeaderValue, TRANSFER_ENCODING};
use http::{HeaderMap, Method, StatusCode};

use crate::config::cases::{SampleBody, SampleRequest, SampleResponse};
use crate::http::Framing;
use crate::http::framing::is_bodiless;
use crate::http::h1::{self, BodyDecoder, Decoded};

/// More than any head that the proxy lets pass.
const MAX_FIELDS: usize = 1024;

/// A message with its body, as far as it came.
#[derive(Debug, Default)]
pub struct Message {
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub trailers: HeaderMap,
    /// It ended before its end.
    pub is_cut_off: bool,
}

/// What the client sends.
pub fn encode_request(request: &SampleRequest) -> BytesMut {
    let mut out = BytesMut::new();
    let (method, path) = (request.method.as_str(), request.path.as_str());
    put(&mut out, &[method, " ", path, " HTTP/1.1\r\n"]);
    field(&mut out, &HOST, request.authority.as_str().as_bytes());
    fields(&mut out, &request.headers);
    encode_body(&mut out, &request.body, Unframed::Empty);
    out
}

/// What the origin sends in answer to a request of this method.
pub fn encode_response(response: &SampleResponse, method: &Method) -> BytesMut {
    let mut out = BytesMut::new();
    let reason = response.status.canonical_reason().unwrap_or_default();
    let status = response.status.as_str();
    put(&mut out, &["HTTP/1.1 ", status, " ", reason, "\r\n"]);
    fields(&mut out, &response.headers);
    match is_bodiless(method, response.status) {
        true => out.extend_from_slice(b"\r\n"),
        false => encode_body(&mut out, &response.body, Unframed::Length),
    }
    out
}

/// What the head says of a body that is not there.
#[derive(PartialEq, Eq)]
enum Unframed {
    Empty,
    /// An answer without a length would end with the connection.
    Length,
}

/// The framing, the end of the head, and the body.
fn encode_body(out: &mut BytesMut, body: &SampleBody, unframed: Unframed) {
    if body.in_pieces || !body.trailers.is_empty() {
        field(out, &TRANSFER_ENCODING, b"chunked");
        out.extend_from_slice(b"\r\n");
        for piece in &body.pieces {
            h1::encode_chunk(out, piece);
        }
        return h1::encode_last_chunk(out, Some(body.trailers.clone()));
    }
    let length: usize = body.pieces.iter().map(Bytes::len).sum();
    if length > 0 || unframed == Unframed::Length {
        field(out, &CONTENT_LENGTH, length.to_string().as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    body.pieces
        .iter()
        .for_each(|piece| out.extend_from_slice(piece));
}

fn fields(out: &mut BytesMut, headers: &HeaderMap) {
    for (name, value) in headers {
        field(out, name, value.as_bytes());
    }
}

fn field(out: &mut BytesMut, name: &HeaderName, value: &[u8]) {
    put(out, &[name.as_str(), ": "]);
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn put(out: &mut BytesMut, texts: &[&str]) {
    texts
        .iter()
        .for_each(|text| out.extend_from_slice(text.as_bytes()));
}

/// The head of a request, off the front of the buffer: its method and target, and its
/// fields. `None` while it is incomplete, or where it is none.
pub fn take_request(buffer: &mut BytesMut) -> Option<(Method, String, HeaderMap)> {
    let mut room = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut parsed = httparse::Request::new(&mut room);
    let Ok(httparse::Status::Complete(end)) = parsed.parse(buffer) else {
        return None;
    };
    let method = Method::from_bytes(parsed.method?.as_bytes()).ok()?;
    let head = (method, parsed.path?.to_owned(), map(parsed.headers));
    drop(buffer.split_to(end));
    Some(head)
}

/// An answer to a request of this method, whose bytes are all there. `None` where there
/// is none.
pub fn read_response(bytes: &[u8], method: &Method) -> Option<(StatusCode, Message)> {
    let mut buffer = BytesMut::from(bytes);
    loop {
        let (status, headers) = take_response(&mut buffer)?;
        if status.is_informational() {
            continue;
        }
        let mut message = Message {
            headers,
            ..Message::default()
        };
        if !is_bodiless(method, status) {
            match framing(&message.headers) {
                // To the end of the connection.
                Framing::None => message.body = buffer.to_vec(),
                framing => {
                    let mut body = BodyDecoder::new(framing, u64::MAX);
                    message.is_cut_off = !message.take_body(&mut body, &mut buffer);
                }
            }
        }
        return Some((status, message));
    }
}

fn take_response(buffer: &mut BytesMut) -> Option<(StatusCode, HeaderMap)> {
    let mut room = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut parsed = httparse::Response::new(&mut room);
    let Ok(httparse::Status::Complete(end)) = parsed.parse(buffer) else {
        return None;
    };
    let head = (
        StatusCode::from_u16(parsed.code?).ok()?,
        map(parsed.headers),
    );
    drop(buffer.split_to(end));
    Some(head)
}

/// By the fields of a message that the proxy sent, which are never ambiguous.
pub fn framing(headers: &HeaderMap) -> Framing {
    if headers.contains_key(TRANSFER_ENCODING) {
        return Framing::Chunked;
    }
    let length = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok());
    let length = length.and_then(|length| length.parse().ok());
    length.map_or(Framing::None, Framing::Length)
}

impl Message {
    /// Takes what there is of the body. `true` at its end.
    pub fn take_body(&mut self, body: &mut BodyDecoder, buffer: &mut BytesMut) -> bool {
        loop {
            match body.decode(buffer) {
                Ok(Decoded::Data(bytes)) => self.body.extend_from_slice(&bytes),
                Ok(Decoded::Trailers(trailers)) => self.trailers = trailers,
                Ok(Decoded::End) => return true,
                Ok(Decoded::NeedMore) | Err(_) => return false,
            }
        }
    }
}

fn map(headers: &[httparse::Header<'_>]) -> HeaderMap {
    let fields = headers.iter().filter_map(|header| {
        let name = HeaderName::from_bytes(header.name.as_bytes()).ok()?;
        Some((name, HeaderValue::from_bytes(header.value).ok()?))
    });
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        map.append(name, value);
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(
        pieces: &[&'static str],
        in_pieces: bool,
        trailers: &[(&'static str, &str)],
    ) -> SampleBody {
        let mut map = HeaderMap::new();
        for (name, value) in trailers {
            map.append(*name, value.parse().unwrap());
        }
        SampleBody {
            pieces: pieces
                .iter()
                .map(|piece| Bytes::from_static(piece.as_bytes()))
                .collect(),
            in_pieces,
            trailers: map,
        }
    }

    fn check(body: SampleBody, framed: &str) {
        let response = SampleResponse {
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            body: body.clone(),
        };
        let bytes = encode_response(&response, &Method::GET);
        let (status, message) = read_response(&bytes, &Method::GET).unwrap();
        assert_eq!(status, StatusCode::OK);
        assert_eq!(message.body, body.pieces.concat());
        assert_eq!(message.trailers, body.trailers);
        assert!(!message.is_cut_off);
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        assert!(text.contains(framed), "{text}");
        let half = &bytes[..bytes.len() - 1];
        assert!(read_response(half, &Method::GET).is_none_or(|(_, message)| message.is_cut_off));
    }

    #[test]
    fn what_is_written_is_read() {
        check(sample(&[], false, &[]), "content-length: 0");
        check(sample(&["ab"], false, &[]), "content-length: 2\r\n\r\nab");
        check(
            sample(&["ab", "c"], true, &[]),
            "2\r\nab\r\n1\r\nc\r\n0\r\n",
        );
        check(
            sample(&["ab"], false, &[("x-end", "1")]),
            "0\r\nx-end: 1\r\n",
        );
        check(sample(&[], true, &[]), "chunked\r\n\r\n0\r\n");
    }
}
