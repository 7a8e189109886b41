//! Metrics, exported by the proxy under this filter's name.
//!
//! Define them in [`Filter::create`](crate::Filter::create) and keep them in
//! the filter: equal definitions are the same metric, in every instance. The
//! number of different label values must be bounded.

use crate::{MetricError, host};

/// How a metric behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// Only goes up.
pub struct Counter(host::metrics::Metric);

impl Counter {
    /// Define a counter; names such as `refused_total`.
    pub fn define(name: &str, help: &str, labels: &[&str]) -> Result<Self, MetricError> {
        host::metrics::Metric::define(Kind::Counter, name, help, labels).map(Counter)
    }

    /// Add one. The values stand for the labels of the definition, in order.
    pub fn increment(&self, labels: &[&str]) {
        self.add(1.0, labels);
    }

    /// Add a number that is not negative.
    pub fn add(&self, by: f64, labels: &[&str]) {
        self.0.update(by, labels);
    }
}

/// Goes up and down.
pub struct Gauge(host::metrics::Metric);

impl Gauge {
    /// Define a gauge.
    pub fn define(name: &str, help: &str, labels: &[&str]) -> Result<Self, MetricError> {
        host::metrics::Metric::define(Kind::Gauge, name, help, labels).map(Gauge)
    }

    /// Set it to this value.
    pub fn set(&self, value: f64, labels: &[&str]) {
        self.0.update(value, labels);
    }
}

/// Counts observations by size.
pub struct Histogram(host::metrics::Metric);

impl Histogram {
    /// Define a histogram.
    pub fn define(name: &str, help: &str, labels: &[&str]) -> Result<Self, MetricError> {
        host::metrics::Metric::define(Kind::Histogram, name, help, labels).map(Histogram)
    }

    /// Observe a value.
    pub fn observe(&self, value: f64, labels: &[&str]) {
        self.0.update(value, labels);
    }
}
