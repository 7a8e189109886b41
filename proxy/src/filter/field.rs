//! Reading fields of a head by the names that filters use, pseudo-fields
//! included. Prefetching and asking take the same way, so they cannot differ.

use http::header::ValueIter;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::packed;
use crate::http::{RequestHead, ResponseHead};

/// A field or pseudo-field that may be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field {
    Header(HeaderName),
    Method,
    Scheme,
    /// `:authority` and `host`, which a head keeps in one place.
    Authority,
    Path,
    Status,
}

impl Field {
    pub fn of_request(name: &str) -> Option<Self> {
        match name {
            ":method" => Some(Field::Method),
            ":scheme" => Some(Field::Scheme),
            ":authority" => Some(Field::Authority),
            ":path" => Some(Field::Path),
            _ => match HeaderName::from_bytes(name.as_bytes()).ok()? {
                http::header::HOST => Some(Field::Authority),
                name => Some(Field::Header(name)),
            },
        }
    }

    pub fn of_response(name: &str) -> Option<Self> {
        match name {
            ":status" => Some(Field::Status),
            _ => HeaderName::from_bytes(name.as_bytes())
                .ok()
                .map(Field::Header),
        }
    }

    pub fn in_request<'a>(&self, head: &'a RequestHead) -> Values<'a> {
        match self {
            Field::Header(name) => Values::headers(&head.headers, name),
            Field::Method => Values::one(head.method.as_str()),
            Field::Scheme => Values::one(head.scheme.as_str()),
            Field::Authority => Values::One(head.authority.as_ref().map(|a| a.as_str().as_bytes())),
            Field::Path => Values::one(head.path.as_str()),
            Field::Status => Values::One(None),
        }
    }

    pub fn in_response<'a>(&self, head: &'a ResponseHead) -> Values<'a> {
        match self {
            Field::Header(name) => Values::headers(&head.headers, name),
            Field::Status => Values::one(head.status.as_str()),
            Field::Method | Field::Scheme | Field::Authority | Field::Path => Values::One(None),
        }
    }
}

/// The values of one field, in order.
pub enum Values<'a> {
    One(Option<&'a [u8]>),
    Many(ValueIter<'a, HeaderValue>),
}

impl<'a> Values<'a> {
    fn one(text: &'a str) -> Self {
        Values::One(Some(text.as_bytes()))
    }

    fn headers(headers: &'a HeaderMap, name: &HeaderName) -> Self {
        Values::Many(headers.get_all(name).into_iter())
    }
}

impl<'a> Iterator for Values<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        match self {
            Values::One(value) => value.take(),
            Values::Many(values) => values.next().map(readable),
        }
    }
}

/// What a guest reads of a value: nothing of one that a secret was put into.
pub fn readable(value: &HeaderValue) -> &[u8] {
    match value.is_sensitive() {
        true => b"",
        false => value.as_bytes(),
    }
}

/// Writes the fields of a request as `on-request` takes them.
pub fn pack_request(packed: &mut Vec<u8>, fields: &[Field], head: &RequestHead) {
    packed.clear();
    for field in fields {
        packed::pack(packed, field.in_request(head));
    }
}

/// Writes the fields of an answer as `on-response` takes them.
pub fn pack_response(packed: &mut Vec<u8>, fields: &[Field], head: &ResponseHead) {
    packed.clear();
    for field in fields {
        packed::pack(packed, field.in_response(head));
    }
}
