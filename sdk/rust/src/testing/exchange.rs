//! A request to put through a filter.

use std::time::Duration;

use crate::host::simulated::State;

/// A request as the proxy would show it, and the facts about its exchange.
#[derive(Debug, Clone)]
pub struct Exchange {
    pub(crate) state: State,
}

impl Exchange {
    /// A request from 127.0.0.1 for `http://localhost`.
    pub fn new(method: &str, path: &str) -> Self {
        let state = State {
            method: method.to_owned(),
            scheme: "http".to_owned(),
            authority: "localhost".to_owned(),
            path: path.to_owned(),
            client_address: "127.0.0.1".to_owned(),
            ..State::default()
        };
        let id = "00000000-0000-4000-8000-000000000000";
        Exchange { state }.attribute("request.id", id)
    }

    /// A GET for this path, which may have a query.
    pub fn get(path: &str) -> Self {
        Exchange::new("GET", path)
    }

    /// A POST for this path.
    pub fn post(path: &str) -> Self {
        Exchange::new("POST", path)
    }

    /// Add a field of the request.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.state.request.push(name, value.as_ref());
        self
    }

    /// The host that the request is for: what `authority()`, `:authority` and
    /// `host` read.
    pub fn authority(mut self, authority: &str) -> Self {
        self.state.authority = authority.to_owned();
        self
    }

    /// `http` or `https`.
    pub fn scheme(mut self, scheme: &str) -> Self {
        self.state.scheme = scheme.to_owned();
        self
    }

    /// IP address of the client.
    pub fn client(mut self, address: &str) -> Self {
        self.state.client_address = address.to_owned();
        self
    }

    /// A fact by its full name, such as `request.id` or `auth.who`.
    pub fn attribute(mut self, name: &str, value: &str) -> Self {
        let attributes = &mut self.state.attributes;
        attributes.insert(name.to_owned(), value.to_owned());
        self
    }

    /// What [`elapsed`](crate::Exchange::elapsed) answers.
    pub fn elapsed(mut self, elapsed: Duration) -> Self {
        self.state.elapsed = elapsed;
        self
    }

    /// The body bytes so far, of the request and of the response.
    pub fn bytes(mut self, request: u64, response: u64) -> Self {
        self.state.request_bytes = request;
        self.state.response_bytes = response;
        self
    }
}
