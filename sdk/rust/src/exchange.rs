//! The exchange itself: facts about it, and decisions that take effect once
//! the phase returns.

use std::marker::PhantomData;
use std::time::Duration;

use crate::prefetch::Prefetch;
use crate::{Request, Response, RouteError, Trailers, host};

/// One of the times of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timeout {
    /// From the request's first byte to the answer's last.
    Total,
    /// One try, until the head of its answer.
    Try,
    /// Without a byte of the answer's body.
    Idle,
    /// Of each try: until a new connection is there, TLS and all.
    Connect,
    /// Of that, the TLS handshake.
    Tls,
    /// Of each try: from the request's last byte to the answer's head.
    Answer,
}

/// The exchange for which the filter is being called. It is valid for that call
/// only, which is why it is lent and cannot be kept.
pub struct Exchange<'a> {
    request: Prefetch<'a>,
    response: Prefetch<'a>,
}

impl<'a> Exchange<'a> {
    pub(crate) fn in_request(prefetch: Prefetch<'a>) -> Self {
        Exchange {
            request: prefetch,
            response: Prefetch::default(),
        }
    }

    pub(crate) fn in_response(prefetch: Prefetch<'a>) -> Self {
        Exchange {
            request: Prefetch::default(),
            response: prefetch,
        }
    }

    /// In a phase that is not handed fields.
    pub(crate) fn in_later_phase() -> Self {
        Exchange {
            request: Prefetch::default(),
            response: Prefetch::default(),
        }
    }
}

impl Exchange<'_> {
    /// The request.
    pub fn request(&self) -> Request<'_> {
        Request {
            prefetch: &self.request,
        }
    }

    /// The response. Empty until there is one.
    pub fn response(&self) -> Response<'_> {
        Response {
            prefetch: &self.response,
        }
    }

    /// The trailers of the message whose trailer phase it is.
    pub fn trailers(&self) -> Trailers<'_> {
        Trailers {
            exchange: PhantomData,
        }
    }

    /// IP address of the client, without a port: the peer, or what trusted hops
    /// or a PROXY header say.
    pub fn client_address(&self) -> String {
        host::exchange::client_address()
    }

    /// A fact by its well-known name (`route.name`, `request.id`,
    /// `upstream.cluster`, ...) or one that an earlier filter left.
    pub fn attribute(&self, name: &str) -> Option<String> {
        host::exchange::attribute(name)
    }

    /// Leave a fact for later filters and the access log. The proxy prefixes
    /// the name with this filter's name, so no fact can be forged.
    pub fn set_attribute(&self, name: &str, value: &str) {
        host::exchange::set_attribute(name, value);
    }

    /// The bytes that follow this exchange through this filter's phases; empty
    /// at first. Other filters do not see them.
    pub fn state(&self) -> Vec<u8> {
        host::exchange::state()
    }

    /// Set those bytes.
    pub fn set_state(&self, state: &[u8]) {
        host::exchange::set_state(state);
    }

    /// Send the request to this cluster, which
    /// [`Wants::cluster`](crate::Wants::cluster) declared.
    pub fn route_to(&self, cluster: &str) -> Result<(), RouteError> {
        host::exchange::route_to(cluster)
    }

    /// Name the route that was taken, which
    /// [`Wants::route`](crate::Wants::route) declared. It selects the
    /// configuration of the filters not yet called.
    pub fn set_route(&self, name: &str) -> Result<(), RouteError> {
        host::exchange::set_route(name)
    }

    /// Among the cluster's endpoints, only those with these labels, and the last ones that
    /// were set count. It is for clusters with subsets; where there is none,
    /// [`RouteError::Unsupported`].
    pub fn set_subset(&self, labels: &[(&str, &str)]) -> Result<(), RouteError> {
        host::exchange::set_subset(labels)
    }

    /// Try the request again by the retry policy of this name instead of the
    /// cluster's. It must be declared with [`Wants::retry`](crate::Wants::retry).
    pub fn set_retry(&self, policy: &str) -> Result<(), RouteError> {
        host::exchange::set_retry(policy)
    }

    /// Balance by this key: equal keys prefer the same endpoint, and the last one counts. It
    /// is for clusters that hash by keys of filters; where there is none,
    /// [`RouteError::Unsupported`].
    pub fn set_hash_key(&self, key: &[u8]) -> Result<(), RouteError> {
        host::exchange::set_hash_key(key)
    }

    /// Also send a copy to this (declared) cluster, with these fields set, and
    /// ignore its answer.
    pub fn mirror_to(&self, cluster: &str, headers: &[(&str, &[u8])]) -> Result<(), RouteError> {
        host::exchange::mirror_to(cluster, headers)
    }

    /// Hold the message this long after this phase of this filter. No instance
    /// waits. Delays of several filters add up, to a limit of the proxy's
    /// configuration. Without effect in trailer phases and in a
    /// [`Transform`](crate::Transform).
    pub fn delay(&self, by: Duration) {
        host::exchange::delay(by);
    }

    /// Change one of the times of this exchange, within the limits of the
    /// proxy's configuration.
    pub fn set_timeout(&self, which: Timeout, after: Duration) {
        host::exchange::set_timeout(which, after);
    }

    /// Time since the request's first byte.
    pub fn elapsed(&self) -> Duration {
        host::exchange::elapsed()
    }

    /// Bytes of the request's body so far.
    pub fn request_bytes(&self) -> u64 {
        host::exchange::request_bytes()
    }

    /// Bytes of the response's body so far.
    pub fn response_bytes(&self) -> u64 {
        host::exchange::response_bytes()
    }
}
