//! What is asked of an origin.

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Uri};
use http_body::Body;
use smallvec::SmallVec;
use tokio::time::Instant;

use super::body::RequestBody;
use super::destinations::is_for_services;
use super::hurry::Hurry;
use crate::balance::subsets::Label;
use crate::cluster::Endpoint;
use crate::error::ErrorKind;
use crate::http::forwarded::Peer;
use crate::http::{ResponseHead, Upgrade};
use crate::proxy_protocol::Ends;
use crate::stats::NoRetry;

/// What is known of a request while its answer is awaited, and if none comes.
#[derive(Debug, Default)]
pub struct Progress {
    /// Interim answers (1xx) but 100, as they come.
    pub interim: RefCell<Vec<ResponseHead>>,
    endpoint: RefCell<Option<Arc<Endpoint>>>,
    tries: Cell<u32>,
    /// Those that another followed.
    ended: RefCell<Vec<Try>>,
    /// When the one behind them began.
    began: Cell<Option<Instant>>,
    no_retry: Cell<Option<NoRetry>>,
    /// Whose request it is, for origins that are told so.
    pub(super) client: Option<Ends>,
    /// Where the client wants to go, for clusters that go there: any of these.
    pub(super) destinations: SmallVec<[SocketAddr; 1]>,
    pub(super) client_address: Option<IpAddr>,
    /// What a filter wants it to be balanced by, hashed.
    pub(super) filter_key: Option<u64>,
    /// What a client asked for, before any filter, where it may be given a cookie.
    pub(super) client_path: Option<PathAndQuery>,
    /// And whether it did so over TLS.
    pub(super) is_secure: bool,
    /// By which clusters that hash pick.
    pub(super) key: Cell<u64>,
    /// Those that its endpoint is to have.
    pub(super) labels: Box<[Label]>,
    /// Whom filters gave no time.
    pub(super) hurry: Hurry,
    /// Whether it is one of a breaker's probes.
    pub(super) is_probe: Cell<bool>,
}

impl Progress {
    /// Of a client's request.
    pub fn of_client(client: &Peer) -> Self {
        Self {
            client: client.ends(),
            destinations: client
                .original_destination()
                .filter(|destination| is_for_services(destination.ip()))
                .into_iter()
                .collect(),
            client_address: Some(client.address()),
            ..Self::default()
        }
    }

    /// It goes to one of these.
    pub fn toward(self, addresses: Vec<SocketAddr>) -> Self {
        let destinations = addresses.into();
        Self {
            destinations,
            ..self
        }
    }

    /// The same, to be balanced by what a filter set.
    pub fn with_key(self, filter_key: Option<u64>) -> Self {
        Self { filter_key, ..self }
    }

    /// The same of a client that asked for this path, which may be given a cookie.
    pub fn for_path(self, path: PathAndQuery, is_secure: bool) -> Self {
        Self {
            client_path: Some(path),
            is_secure,
            ..self
        }
    }

    /// The same, for an endpoint with these labels.
    pub fn with_labels(self, labels: Box<[Label]>) -> Self {
        Self { labels, ..self }
    }

    /// The same, of which filters made these times short.
    pub fn in_a_hurry(self, hurry: Hurry) -> Self {
        Self { hurry, ..self }
    }

    /// It is tried there now.
    pub(super) fn tried(&self, endpoint: &Arc<Endpoint>) {
        *self.endpoint.borrow_mut() = Some(Arc::clone(endpoint));
        self.tries.set(self.tries.get() + 1);
    }

    /// The try that began then has ended so, and another follows.
    pub(super) fn ended(&self, endpoint: &Arc<Endpoint>, end: TryEnd, began: Instant) {
        self.ended.borrow_mut().push(Try {
            endpoint: Arc::clone(endpoint),
            end,
            took: began.elapsed(),
        });
    }

    /// There was no other try.
    pub(super) fn not_retried(&self, why: NoRetry) {
        self.no_retry.set(Some(why));
    }

    /// That other begins now.
    pub(super) fn began(&self, now: Instant) {
        self.began.set(Some(now));
    }

    /// When the try that is under way began, if it is not the first.
    pub(super) fn tried_since(&self) -> Option<Instant> {
        self.began.get()
    }

    /// The tries in their order, where there was more than one; the last ended so.
    pub fn tries(&self, end: TryEnd) -> Vec<Try> {
        let mut tries = self.ended.take();
        if !tries.is_empty()
            && let Some(began) = self.began.get()
            && let Some(endpoint) = self.endpoint()
        {
            let took = began.elapsed();
            tries.push(Try {
                endpoint,
                end,
                took,
            });
        }
        tries
    }

    /// Why there was no other try, where there would have been.
    pub fn no_retry(&self) -> Option<NoRetry> {
        self.no_retry.get()
    }

    /// Where it was tried last.
    pub fn endpoint(&self) -> Option<Arc<Endpoint>> {
        self.endpoint.borrow().clone()
    }

    /// Of two tries at once it is this one, which began then, that counts.
    pub(super) fn goes_on_at(&self, endpoint: &Arc<Endpoint>, began: Instant) {
        *self.endpoint.borrow_mut() = Some(Arc::clone(endpoint));
        self.began(began);
    }

    /// Tries beyond the first, those of connecting included.
    pub fn retries(&self) -> u32 {
        self.tries.get().saturating_sub(1)
    }
}

/// One of several tries.
#[derive(Debug, Clone)]
pub struct Try {
    pub endpoint: Arc<Endpoint>,
    pub end: TryEnd,
    pub took: Duration,
}

/// What a try ended with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TryEnd {
    Error(ErrorKind),
    /// A connection that was passed on.
    Connected,
    /// An answer of this status.
    Status(u16),
    /// One of gRPC.
    Grpc(u8),
    /// Broken off: another, which was under way beside it, was answered first.
    Overtaken,
    /// Broken off with the exchange, while another was under way beside it.
    GivenUp,
}

/// One request for an origin.
#[derive(Debug)]
pub struct UpstreamRequest {
    pub method: Method,
    pub path: PathAndQuery,
    /// With `host`, without hop-by-hop fields. The framing (`content-length`,
    /// `transfer-encoding`) is taken from `body`, whatever stands here.
    pub headers: HeaderMap,
    pub body: RequestBody,
    /// Whether it may be sent twice. One with a body is so only by a retry policy.
    pub repeatable: bool,
    /// It asks for another protocol on the connection. It has no body then, and
    /// `headers` has `upgrade`.
    pub upgrade: Option<Box<Upgrade>>,
}

/// A request as hyper sends it. Boxed, since it is handed on from one to the other.
pub(super) type ToSend = Box<Request<RequestBody>>;

impl UpstreamRequest {
    /// With what it asks to go on in.
    pub(super) fn into_hyper(self) -> (ToSend, Option<Box<Upgrade>>) {
        let mut headers = self.headers;
        set_framing(&mut headers, &self.method, &self.body);
        if self.upgrade.is_some() {
            headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        }
        let mut request = Box::new(Request::new(self.body));
        *request.method_mut() = self.method;
        *request.uri_mut() = Uri::from(self.path);
        *request.headers_mut() = headers;
        (request, self.upgrade)
    }
}

/// Left alone, hyper would send no body with a GET whose length is unknown.
fn set_framing(headers: &mut HeaderMap, method: &Method, body: &RequestBody) {
    headers.remove(TRANSFER_ENCODING);
    match body {
        RequestBody::Empty if expects_body(method) => {
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        RequestBody::Empty => {
            headers.remove(CONTENT_LENGTH);
        }
        RequestBody::Stream(_) => match body.size_hint().exact() {
            Some(length) => {
                headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
            }
            None => {
                headers.remove(CONTENT_LENGTH);
                headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
            }
        },
    }
}

/// Methods whose requests say so when they have no body (RFC 9110 §8.6).
fn expects_body(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH)
}

/// Reads a request without a body back from the bytes that were sent, so that
/// it can be sent again. `None` for what is not a whole head.
pub(super) fn from_sent(sent: &[u8]) -> Option<ToSend> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut head = httparse::Request::new(&mut fields);
    if !head.parse(sent).ok()?.is_complete() {
        return None;
    }
    let mut request = Box::new(Request::new(RequestBody::Empty));
    *request.method_mut() = Method::from_bytes(head.method?.as_bytes()).ok()?;
    *request.uri_mut() = Uri::from(PathAndQuery::try_from(head.path?).ok()?);
    for field in head.headers {
        let name = http::HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        let value = HeaderValue::from_bytes(field.value).ok()?;
        request.headers_mut().append(name, value);
    }
    Some(request)
}

/// Fields of a head that can be read back; one with more is not repeated.
const MAX_FIELDS: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::body_channel;

    fn framing(method: Method, body: RequestBody) -> (Option<String>, bool) {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("77"));
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("gzip"));
        set_framing(&mut headers, &method, &body);
        let length = headers
            .get(CONTENT_LENGTH)
            .map(|v| v.to_str().unwrap().to_owned());
        let chunked = headers
            .get(TRANSFER_ENCODING)
            .is_some_and(|v| v == "chunked");
        (length, chunked)
    }

    #[test]
    fn framing_follows_the_body() {
        let stream = |length| body_channel(length).1;
        assert_eq!(framing(Method::GET, RequestBody::Empty), (None, false));
        assert_eq!(
            framing(Method::POST, RequestBody::Empty),
            (Some("0".into()), false)
        );
        assert_eq!(
            framing(Method::POST, stream(Some(5))),
            (Some("5".into()), false)
        );
        assert_eq!(framing(Method::GET, stream(None)), (None, true));
    }

    #[test]
    fn a_head_can_be_read_back() {
        let sent = b"OPTIONS * HTTP/1.1\r\nhost: a\r\nx: 1\r\nx: \xff\r\n\r\n";
        let request = from_sent(sent).unwrap();
        assert_eq!(request.method(), Method::OPTIONS);
        assert_eq!(request.uri().to_string(), "*");
        let values: Vec<_> = request.headers().get_all("x").iter().collect();
        assert_eq!(values, ["1".as_bytes(), b"\xff"]);
        assert!(from_sent(&sent[..sent.len() - 1]).is_none());
    }
}
