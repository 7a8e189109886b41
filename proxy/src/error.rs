//! What can go wrong with an exchange, in the words that the log and the
//! metrics use. `exchange/reply.rs` alone turns it into an answer.

use std::error::Error as StdError;
use std::fmt;

/// Why an exchange failed.
#[derive(Debug)]
pub struct ProxyError {
    pub kind: ErrorKind,
    /// The cause, for the log only.
    pub source: Option<Box<dyn StdError + Send + Sync>>,
}

/// Whose fault it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    Downstream,
    Filter,
    Upstream,
    Internal,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident $origin:ident $status:literal $name:literal;)*) => {
        /// What went wrong. Each has a name for logs and metrics and the status
        /// that the client is answered with.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ErrorKind { $($(#[$doc])* $variant,)* }

        impl ErrorKind {
            /// Every kind, so that metrics can hold one counter for each.
            pub const ALL: &[ErrorKind] = &[$(ErrorKind::$variant,)*];

            pub const fn origin(self) -> Origin {
                match self { $(ErrorKind::$variant => Origin::$origin,)* }
            }

            /// The status of the answer, where there can be one.
            pub const fn status(self) -> u16 {
                match self { $(ErrorKind::$variant => $status,)* }
            }

            pub const fn name(self) -> &'static str {
                match self { $(ErrorKind::$variant => $name,)* }
            }
        }
    };
}

kinds! {
    /// The request's head breaks a rule of RFC 9110 or 9112.
    BadRequest Downstream 400 "bad_request";
    /// The head can be read in two ways: a smuggling attempt or a broken peer.
    AmbiguousRequest Downstream 400 "ambiguous_request";
    BadPath Downstream 400 "bad_path";
    /// What a client wants to be connected with, or to have fetched, cannot be.
    BadTarget Downstream 400 "bad_target";
    /// It is not among those that clients may go to.
    TargetRefused Downstream 403 "target_refused";
    /// It is, but its name stands for an address that nobody goes to by a name.
    AddressRefused Downstream 403 "address_refused";
    BadBody Downstream 400 "bad_body";
    HeadTimeout Downstream 408 "head_timeout";
    BodyTimeout Downstream 408 "body_timeout";
    /// The body came, but more slowly than a client may.
    BodyTooSlow Downstream 408 "body_too_slow";
    BodyTooLarge Downstream 413 "body_too_large";
    TargetTooLong Downstream 414 "target_too_long";
    ExpectationFailed Downstream 417 "expectation_failed";
    /// Said before the end of a TLS handshake, and not safe to be repeated.
    TooEarly Downstream 425 "too_early";
    /// A WebSocket handshake of another version than there is.
    UpgradeRequired Downstream 426 "upgrade_required";
    HeadTooLarge Downstream 431 "head_too_large";
    NotImplemented Downstream 501 "not_implemented";
    BadVersion Downstream 505 "bad_version";
    /// The client went away before the answer was complete.
    ClientGone Downstream 499 "client_gone";
    /// The client stopped reading the answer.
    ClientStalled Downstream 499 "client_stalled";
    /// It read, but more slowly than it may.
    ClientTooSlow Downstream 499 "client_too_slow";
    /// No filter routed it and the listener has no cluster.
    NoRoute Downstream 404 "no_route";
    FilterFailed Filter 500 "filter_failed";
    FilterUnavailable Filter 503 "filter_unavailable";
    FilterReset Filter 0 "filter_reset";
    /// A filter refused the connection.
    ConnectionDenied Filter 0 "connection_denied";
    NoEndpoint Upstream 503 "no_endpoint";
    /// So many requests as there may be are under way in the cluster.
    RequestLimit Upstream 503 "request_limit";
    /// So many connections as there may be.
    ConnectionLimit Upstream 503 "connection_limit";
    /// So many of either as there may be at each endpoint that could be asked.
    EndpointLimit Upstream 503 "endpoint_limit";
    /// Those that could be asked gave nothing for so long that they are asked only now and then.
    EndpointSilent Upstream 503 "endpoint_silent";
    /// So many requests as may wait for a connection to be made.
    PendingLimit Upstream 503 "pending_limit";
    /// So many as may wait for their turn.
    QueueFull Upstream 503 "queue_full";
    /// Its turn did not come in time.
    QueueTimeout Upstream 503 "queue_timeout";
    /// Most requests to the cluster fail, and it is not asked for now.
    BreakerOpen Upstream 503 "breaker_open";
    /// The name that a client asked for stands for no address.
    LookupFailed Upstream 502 "lookup_failed";
    LookupTimeout Upstream 504 "lookup_timeout";
    ConnectFailed Upstream 502 "connect_failed";
    ConnectTimeout Upstream 504 "connect_timeout";
    /// It could be reached, and TLS with it took too long.
    TlsTimeout Upstream 504 "tls_timeout";
    /// The origin could be reached, and there is no TLS with it.
    UpstreamTlsFailed Upstream 502 "upstream_tls_failed";
    AnswerTimeout Upstream 504 "answer_timeout";
    /// One try took too long, and there was no other.
    TryTimeout Upstream 504 "try_timeout";
    /// The origin closed or reset before a whole answer.
    UpstreamReset Upstream 502 "upstream_reset";
    /// The answer breaks a rule, or can be read in two ways.
    BadAnswer Upstream 502 "bad_answer";
    /// The head of the answer.
    AnswerTooLarge Upstream 502 "answer_too_large";
    /// A body that a filter wants to see whole and that is larger than it takes.
    AnswerBodyTooLarge Upstream 502 "answer_body_too_large";
    UpstreamStalled Upstream 504 "upstream_stalled";
    TotalTimeout Internal 504 "total_timeout";
    /// The client, or a hop before, gave it no more time.
    DeadlineExceeded Downstream 504 "deadline_exceeded";
    Draining Internal 503 "draining";
    /// The process has more than it can carry.
    Overloaded Internal 503 "overloaded";
    /// A connection on which nothing came for too long.
    IdleTimeout Internal 0 "idle_timeout";
    /// A connection that was open for as long as it may be.
    LifetimeOver Internal 0 "lifetime_over";
    Internal Internal 500 "internal";
}

impl ProxyError {
    pub fn new(kind: ErrorKind) -> Self {
        Self { kind, source: None }
    }

    pub fn with(kind: ErrorKind, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self {
            kind,
            source: Some(source.into()),
        }
    }

    /// A fixed text for the log, where the kind alone says too little.
    pub fn because(kind: ErrorKind, why: &'static str) -> Self {
        Self::with(kind, why)
    }
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.name())
    }
}

impl StdError for ProxyError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source
            .as_deref()
            .map(|source| source as &(dyn StdError + 'static))
    }
}

impl From<ErrorKind> for ProxyError {
    fn from(kind: ErrorKind) -> Self {
        Self::new(kind)
    }
}
