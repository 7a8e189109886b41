//! What one series of a filter's own metric stands at.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::MetricKind;
use crate::stats::counter::BOUNDS;

/// One series.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Counter(f64),
    Gauge { value: f64, order: u64 },
    Histogram(Box<Distribution>),
}

/// Observations in seconds (or whatever the filter measures), in the buckets
/// that the proxy itself uses and one more.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Distribution {
    pub buckets: [u64; BOUNDS.len() + 1],
    pub sum: f64,
}

/// Tells which of two updates of a gauge on different workers came later.
static ORDER: AtomicU64 = AtomicU64::new(1);

impl Value {
    pub(super) fn new(kind: MetricKind) -> Self {
        match kind {
            MetricKind::Counter => Value::Counter(0.0),
            MetricKind::Gauge => Value::Gauge {
                value: 0.0,
                order: 0,
            },
            MetricKind::Histogram => Value::Histogram(Box::default()),
        }
    }

    pub(super) fn take(&mut self, update: f64) {
        match self {
            Value::Counter(sum) => *sum += update,
            Value::Gauge { value, order } => {
                *value = update;
                *order = ORDER.fetch_add(1, Relaxed);
            }
            Value::Histogram(distribution) => distribution.observe(update),
        }
    }

    pub(super) fn merge(&mut self, other: &Value) {
        match (self, other) {
            (Value::Counter(sum), Value::Counter(more)) => *sum += more,
            (
                Value::Gauge { value, order },
                Value::Gauge {
                    value: newer,
                    order: later,
                },
            ) if later > order => {
                *value = *newer;
                *order = *later;
            }
            (Value::Histogram(sum), Value::Histogram(more)) => sum.merge(more),
            // The same metric has the same kind on every worker and in every version.
            _ => {}
        }
    }
}

impl Distribution {
    fn observe(&mut self, value: f64) {
        let bucket = BOUNDS.partition_point(|bound| (*bound as f64) / 1e9 < value);
        self.buckets[bucket] += 1;
        self.sum += value;
    }

    fn merge(&mut self, other: &Distribution) {
        for (bucket, more) in self.buckets.iter_mut().zip(other.buckets) {
            *bucket += more;
        }
        self.sum += other.sum;
    }
}
