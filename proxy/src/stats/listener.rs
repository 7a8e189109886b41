//! What one listener did on one worker.

use super::counter::{Counter, Gauge, Histogram};
use super::detection::Detections;
use super::ending::Endings;
use super::proxy_header::ProxyHeaders;
use super::refusal::Refusals;
use super::tls::TlsStats;

/// Room for every kind of error, by its index in the list of kinds.
pub const MAX_ERROR_KINDS: usize = 64;

#[derive(Debug)]
pub struct ListenerStats {
    /// By the answer's class; see [`StatusClass`].
    requests: [Counter; StatusClass::ALL.len()],
    errors: [Counter; MAX_ERROR_KINDS],
    /// From a request's first byte to its answer's last.
    pub durations: Histogram,
    /// Body bytes from clients, and all bytes where TCP is spoken.
    pub bytes_in: Counter,
    /// The same to clients.
    pub bytes_out: Counter,
    pub connections_opened: Counter,
    pub connections_active: Gauge,
    /// Exchanges that go on in another protocol.
    pub tunnels_active: Gauge,
    /// Closed as they came, because there were as many as may be.
    pub connections_refused: Refusals,
    /// Ended later, by the proxy itself.
    pub connections_ended: Endings,
    /// Streams of HTTP/2.
    pub streams_refused: Counter,
    pub accept_errors: Counter,
    /// Connections of TCP that are over.
    pub tcp_connections: Counter,
    pub tls: TlsStats,
    pub proxy_headers: ProxyHeaders,
    pub detections: Detections,
}

/// The first digit of a status, or that no answer was sent at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusClass {
    Informational,
    Success,
    Redirection,
    ClientError,
    ServerError,
    None,
}

impl StatusClass {
    pub const ALL: [StatusClass; 6] = [
        StatusClass::Informational,
        StatusClass::Success,
        StatusClass::Redirection,
        StatusClass::ClientError,
        StatusClass::ServerError,
        StatusClass::None,
    ];

    /// `None` and what is no status at all have no class.
    pub const fn of(status: Option<u16>) -> Self {
        match status {
            Some(100..=199) => StatusClass::Informational,
            Some(200..=299) => StatusClass::Success,
            Some(300..=399) => StatusClass::Redirection,
            Some(400..=499) => StatusClass::ClientError,
            Some(500..=599) => StatusClass::ServerError,
            Some(_) | None => StatusClass::None,
        }
    }

    /// The value of the label `status`.
    pub const fn name(self) -> &'static str {
        match self {
            StatusClass::Informational => "1xx",
            StatusClass::Success => "2xx",
            StatusClass::Redirection => "3xx",
            StatusClass::ClientError => "4xx",
            StatusClass::ServerError => "5xx",
            StatusClass::None => "none",
        }
    }
}

impl ListenerStats {
    /// Exchanges that ended with this class of answer.
    pub fn requests(&self, class: StatusClass) -> &Counter {
        &self.requests[class as usize]
    }

    /// Exchanges that failed with the kind of this index.
    pub fn errors(&self, kind: usize) -> &Counter {
        &self.errors[kind]
    }
}

impl Default for ListenerStats {
    fn default() -> Self {
        Self {
            requests: Default::default(),
            errors: std::array::from_fn(|_| Counter::default()),
            durations: Histogram::default(),
            bytes_in: Counter::default(),
            bytes_out: Counter::default(),
            connections_opened: Counter::default(),
            connections_active: Gauge::default(),
            tunnels_active: Gauge::default(),
            connections_refused: Refusals::default(),
            connections_ended: Endings::default(),
            streams_refused: Counter::default(),
            accept_errors: Counter::default(),
            tcp_connections: Counter::default(),
            tls: TlsStats::default(),
            proxy_headers: ProxyHeaders::default(),
            detections: Detections::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_have_classes() {
        check(Some(101), "1xx");
        check(Some(204), "2xx");
        check(Some(304), "3xx");
        check(Some(499), "4xx");
        check(Some(599), "5xx");
        check(Some(0), "none");
        check(Some(600), "none");
        check(None, "none");
    }

    fn check(status: Option<u16>, name: &str) {
        assert_eq!(StatusClass::of(status).name(), name, "{status:?}");
    }
}
