//! The heads of an exchange, whatever version of HTTP carried them.

use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Method, StatusCode};

/// The head of a request as filters see it and origins get it.
#[derive(Debug, Clone)]
pub struct RequestHead {
    pub method: Method,
    pub scheme: Scheme,
    /// From the target or `Host`. Absent for HTTP/1.0 clients that name none.
    /// `headers` holds no `host`.
    pub authority: Option<Authority>,
    /// Normalised; `*` for `OPTIONS *`.
    pub path: PathAndQuery,
    pub headers: HeaderMap,
}

/// The head of an answer.
#[derive(Debug, Clone)]
pub struct ResponseHead {
    pub status: StatusCode,
    pub headers: HeaderMap,
}
