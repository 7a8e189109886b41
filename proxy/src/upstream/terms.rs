//! How long one request may take, how often it may be tried, and what the origin is told
//! of that.

use std::time::Duration;

use http::HeaderMap;
use tokio::time::Instant;

use crate::config::{self, RetryPolicy};
use crate::http::hops::{self, Covered};

/// The terms of one request.
#[derive(Debug, Clone)]
pub struct Terms<'a> {
    pub connect: ConnectTimes,
    /// From the request's last byte to the answer's head.
    pub answer: Duration,
    /// Without a byte of the answer's body, or without the origin taking a byte
    /// of the request's.
    pub idle: Duration,
    /// For one try, to the answer's head.
    pub try_timeout: Option<Duration>,
    /// Without one it is tried elsewhere where it was not sent, or died without an answer.
    pub retry: Option<&'a RetryPolicy>,
    /// When all must be over. Whoever waits for the answer gives it up by itself then.
    pub deadline: Option<Instant>,
    pub told: Told<'a>,
}

/// How long a connection may take to be made.
#[derive(Debug, Clone, Copy)]
pub struct ConnectTimes {
    pub whole: Duration,
    /// The TLS handshake, where that has a time of its own.
    pub tls: Option<Duration>,
}

impl ConnectTimes {
    /// Those of a cluster.
    pub fn of(cluster: &config::Cluster) -> Self {
        Self {
            whole: cluster.timeouts.connect,
            tls: cluster.timeouts.tls,
        }
    }
}

/// What the next hop is told.
#[derive(Debug, Clone, Default)]
pub struct Told<'a> {
    /// Of what is left to the deadline.
    pub deadline: bool,
    /// The same in the words of gRPC.
    pub grpc_timeout: bool,
    /// A call of gRPC, which is answered in its words.
    pub is_grpc: bool,
    /// What the hop before does again, and so this one does not.
    pub covered: Option<&'a Covered>,
}

impl<'a> Terms<'a> {
    /// Those of a cluster.
    pub fn of(cluster: &'a config::Cluster) -> Self {
        let timeouts = &cluster.timeouts;
        Self {
            connect: ConnectTimes::of(cluster),
            answer: timeouts.answer,
            idle: timeouts.idle,
            try_timeout: timeouts.try_timeout,
            deadline: None,
            told: Told::default(),
            retry: None,
        }
        .with_retry(cluster.retry.as_deref())
    }

    /// By this policy, whose time for a try counts more than the cluster's.
    pub fn with_retry(self, retry: Option<&'a RetryPolicy>) -> Self {
        let own = retry.and_then(|retry| retry.try_timeout);
        Self {
            try_timeout: own.or(self.try_timeout),
            retry,
            ..self
        }
    }

    /// When a try that begins now is over.
    pub(super) fn try_deadline(&self, now: Instant) -> Option<Instant> {
        now.checked_add(self.try_timeout?)
    }

    /// What is left of the time for all tries; as good as no end where there is none.
    pub(super) fn left(&self, now: Instant) -> Duration {
        let left = |deadline: Instant| deadline.saturating_duration_since(now);
        self.deadline.map_or(Duration::MAX, left)
    }

    /// Puts on a head what depends on the time of sending it.
    pub(super) fn tell(&self, headers: &mut HeaderMap, now: Instant) {
        let left = self.left(now);
        let left = self.try_timeout.map_or(left, |limit| limit.min(left));
        if self.told.deadline {
            hops::write_deadline(headers, left);
        }
        if self.told.grpc_timeout {
            hops::write_grpc_timeout(headers, left);
        }
    }
}
