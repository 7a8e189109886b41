//! Heads of answers on their way to a client of HTTP/2.

use http::header::{
    CONNECTION, CONTENT_LENGTH, DATE, SEC_WEBSOCKET_ACCEPT, SERVER, TE, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use crate::http::h1::OwnFields;
use crate::http::{AnswerFraming, ResponseHead};

/// Meant for one connection, which HTTP/2 has no fields for (RFC 9113 section
/// 8.2.2).
static OF_CONNECTION: [HeaderName; 6] = [
    CONNECTION,
    TRANSFER_ENCODING,
    UPGRADE,
    TE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// The head of a final answer. Of its own fields about the body's length only that
/// of an answer without a body is kept; `how` says the rest.
pub fn answer_head(head: &ResponseHead, how: AnswerFraming, own: OwnFields<'_>) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = head.status;
    let mut headers = without_fields_of_connection(&head.headers);
    match how {
        // That there is no body, the frame says. An answer of trailers only has no
        // field about it.
        AnswerFraming::Length(0) if !headers.contains_key(CONTENT_LENGTH) => {}
        AnswerFraming::Length(length) => {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        AnswerFraming::None if head.status != StatusCode::NO_CONTENT => {}
        AnswerFraming::None | AnswerFraming::Chunked | AnswerFraming::Close => {
            headers.remove(CONTENT_LENGTH);
        }
        // The answer to extended CONNECT (RFC 8441 section 5).
        AnswerFraming::Switch => {
            *response.status_mut() = StatusCode::OK;
            headers.remove(CONTENT_LENGTH);
            headers.remove(SEC_WEBSOCKET_ACCEPT);
        }
    }
    if !headers.contains_key(DATE) {
        headers.insert(DATE, own.date.clone());
    }
    if let Some(server) = own.server {
        headers.insert(SERVER, server.clone());
    }
    *response.headers_mut() = headers;
    response
}

/// An interim answer (1xx), which has no fields of ours.
pub fn interim_head(head: &ResponseHead) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = head.status;
    let mut headers = without_fields_of_connection(&head.headers);
    headers.remove(CONTENT_LENGTH);
    *response.headers_mut() = headers;
    response
}

fn without_fields_of_connection(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    for name in &OF_CONNECTION {
        // Looking is cheaper than removing, and nearly all are absent.
        if headers.contains_key(name) {
            headers.remove(name);
        }
    }
    headers
}
