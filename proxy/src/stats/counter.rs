//! Numbers that one worker writes and the control thread reads.
//!
//! Each has exactly one writer, so adding is a plain load and store: no locked
//! instruction, and nobody waits.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Only the thread that owns this counter may call this: an addition of
    /// another thread at the same moment would be lost.
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A number that goes up and down, with one writer like [`Counter`].
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    pub fn add(&self, n: i64) {
        self.set(self.get().wrapping_add(n));
    }

    pub fn sub(&self, n: i64) {
        self.set(self.get().wrapping_sub(n));
    }

    pub fn set(&self, value: i64) {
        self.0.store(value, Relaxed);
    }

    pub fn get(&self) -> i64 {
        self.0.load(Relaxed)
    }
}

/// Upper bounds of a [`Histogram`]'s buckets in nanoseconds: 100 µs to 60 s.
pub const BOUNDS: [u64; 18] = [
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
    30_000_000_000,
    60_000_000_000,
];

/// How long things of one kind took, in the buckets of [`BOUNDS`] and one more
/// for what took longer.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [Counter; BOUNDS.len() + 1],
    nanoseconds: Counter,
}

impl Histogram {
    pub fn observe(&self, duration: Duration) {
        let nanoseconds = nanoseconds(duration);
        let bucket = BOUNDS.partition_point(|bound| *bound < nanoseconds);
        self.buckets[bucket].add(1);
        self.nanoseconds.add(nanoseconds);
    }

    /// Observations by bucket, not added up; the last is for what is beyond
    /// every bound.
    pub fn buckets(&self) -> impl Iterator<Item = u64> {
        self.buckets.iter().map(Counter::get)
    }

    /// The sum of all observations.
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.nanoseconds.get())
    }
}

/// Saturates after 584 years.
fn nanoseconds(duration: Duration) -> u64 {
    duration
        .as_secs()
        .saturating_mul(1_000_000_000)
        .saturating_add(u64::from(duration.subsec_nanos()))
}

/// One `T` for each worker, far enough apart that no two workers write to the
/// same cache line.
#[derive(Debug)]
pub struct PerWorker<T>(Box<[CachePadded<T>]>);

/// Shares no cache line with anything else. Two lines of 64 bytes: processors fetch them
/// in pairs.
#[derive(Debug)]
#[repr(align(128))]
pub struct CachePadded<T>(pub T);

impl<T> PerWorker<T> {
    pub fn new(workers: usize, make: impl Fn() -> T) -> Self {
        Self((0..workers).map(|_| CachePadded(make())).collect())
    }

    /// The one that `worker` alone writes.
    pub fn of(&self, worker: usize) -> &T {
        &self.0[worker].0
    }

    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|padded| &padded.0)
    }

    /// The sum of one counter over all workers.
    pub fn sum(&self, counter: impl Fn(&T) -> &Counter) -> u64 {
        self.iter().map(|part| counter(part).get()).sum()
    }

    /// The sum of one gauge over all workers.
    pub fn level(&self, gauge: impl Fn(&T) -> &Gauge) -> i64 {
        self.iter().map(|part| gauge(part).get()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_fall_into_the_bucket_whose_bound_they_do_not_pass() {
        check(Duration::ZERO, 0);
        check(Duration::from_micros(100), 0);
        check(Duration::from_nanos(100_001), 1);
        check(Duration::from_millis(1), 3);
        check(Duration::from_secs(60), 17);
        check(Duration::from_secs(61), 18);
        check(Duration::MAX, 18);
    }

    fn check(duration: Duration, bucket: usize) {
        let histogram = Histogram::default();
        histogram.observe(duration);
        let found = histogram.buckets().position(|count| count == 1);
        assert_eq!(found, Some(bucket), "{duration:?}");
    }

    #[test]
    fn a_histogram_adds_up_what_it_saw() {
        let histogram = Histogram::default();
        histogram.observe(Duration::from_millis(3));
        histogram.observe(Duration::from_millis(4));
        assert_eq!(histogram.sum(), Duration::from_millis(7));
        assert_eq!(histogram.buckets().sum::<u64>(), 2);
    }

    #[test]
    fn workers_count_apart_and_are_summed() {
        let counters = PerWorker::new(2, Counter::default);
        counters.of(0).add(2);
        counters.of(1).add(3);
        assert_eq!(counters.sum(|counter| counter), 5);

        let gauges = PerWorker::new(2, Gauge::default);
        gauges.of(0).add(2);
        gauges.of(1).sub(3);
        assert_eq!(gauges.level(|gauge| gauge), -1);
    }
}
