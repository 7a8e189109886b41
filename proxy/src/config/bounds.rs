//! How much is asked of a cluster at once.

use std::time::Duration;

/// Nothing of it by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterBounds {
    pub limits: ClusterLimits,
    pub per_endpoint: EndpointLimits,
    /// Where requests beyond a limit wait.
    pub queue: Option<Queue>,
    pub concurrency: Option<Concurrency>,
    pub breaker: Option<Breaker>,
}

/// At once, over all workers; `None` for however many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClusterLimits {
    pub requests: Option<u32>,
    pub connections: Option<u32>,
    /// Requests that wait for a connection to be made.
    pub pending: Option<u32>,
    pub retries: Option<u32>,
}

/// At once at each endpoint, over all workers; `None` for however many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EndpointLimits {
    /// No more than connections, where each request has one for itself.
    pub requests: Option<u32>,
    pub connections: Option<u32>,
    /// Requests that wait for a connection to be made.
    pub pending: Option<u32>,
    pub retries: Option<u32>,
}

impl EndpointLimits {
    pub fn is_any(&self) -> bool {
        *self != Self::default()
    }
}

/// Of each worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queue {
    pub max: u32,
    pub timeout: Duration,
}

/// A limit of requests that follows how long answers take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Concurrency {
    pub first: u32,
    pub least: u32,
    pub most: u32,
}

/// When a cluster that fails is no longer asked, and when it is again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Breaker {
    /// In percent.
    pub failed: u8,
    pub min_requests: u32,
    pub window: Duration,
    pub open: Duration,
    pub max_open: Duration,
    pub probes: u32,
    pub closing: Duration,
}
