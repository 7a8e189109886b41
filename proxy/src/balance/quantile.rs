//! What most requests lately took no longer than.
//!
//! Counts in buckets that grow with what they count, sixteen for each doubling, as in
//! HdrHistogram, so that a quantile is at most a sixteenth too high. To follow changes all
//! counts are halved once there are enough. P² (Jain and Chlamtac 1985) needs less memory, but
//! never forgets.

use std::time::Duration;

use super::nanoseconds;

/// Buckets for each doubling, as a power of two.
const FINE: u32 = 4;

/// Below 2^10 ns, a microsecond, all is alike.
const FIRST_DOUBLING: u32 = 10;

/// Up to 2^37 ns, two minutes.
const DOUBLINGS: u32 = 27;

const BUCKETS: usize = (DOUBLINGS << FINE) as usize;

/// Then all counts are halved.
const MAX_COUNT: u32 = 4096;

/// Of one cluster or endpoint on one worker.
#[derive(Debug, Clone)]
pub struct Quantiles {
    counts: Box<[u16; BUCKETS]>,
    count: u32,
}

impl Default for Quantiles {
    fn default() -> Self {
        Self {
            counts: Box::new([0; BUCKETS]),
            count: 0,
        }
    }
}

impl Quantiles {
    pub fn observe(&mut self, took: Duration) {
        if self.count >= MAX_COUNT {
            self.counts.iter_mut().for_each(|count| *count /= 2);
            self.count = self.counts.iter().copied().map(u32::from).sum();
        }
        self.counts[bucket(took)] += 1;
        self.count += 1;
    }

    /// How many are remembered.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The time that this share of requests, from 0 to 1, took no longer than; `None`
    /// before the first. It goes through all buckets, so that it is not for each request.
    pub fn at(&self, share: f64) -> Option<Duration> {
        let wanted = (f64::from(self.count) * share).ceil().max(1.0);
        let sum = |sum: &mut u32, count: &u16| {
            *sum += u32::from(*count);
            Some(*sum)
        };
        let mut sums = self.counts.iter().scan(0, sum);
        sums.position(|sum| f64::from(sum) >= wanted).map(end)
    }
}

fn bucket(took: Duration) -> usize {
    let nanoseconds = nanoseconds(took).max(1 << FIRST_DOUBLING);
    let doubling = nanoseconds.ilog2();
    let fine = (nanoseconds >> (doubling - FINE)) & ((1 << FINE) - 1);
    let bucket = (u64::from(doubling - FIRST_DOUBLING) << FINE) + fine;
    usize::try_from(bucket).unwrap_or(BUCKETS).min(BUCKETS - 1)
}

/// The first time that is beyond the bucket.
fn end(bucket: usize) -> Duration {
    let next = bucket as u64 + 1;
    let fine = (next & ((1 << FINE) - 1)) + (1 << FINE);
    let doubling = (next >> FINE) + u64::from(FIRST_DOUBLING);
    Duration::from_nanos(fine << (doubling - u64::from(FINE)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use fastrand::Rng;

    fn micros(micros: u64) -> Duration {
        Duration::from_micros(micros)
    }

    #[test]
    fn a_time_is_within_its_bucket() {
        let mut rng = Rng::with_seed(6);
        for _ in 0..10_000 {
            let doubling = rng.u32(11..37);
            let took = Duration::from_nanos(rng.u64(..1 << doubling));
            let bucket = bucket(took);
            assert!(took < end(bucket), "{took:?}");
            assert!(bucket == 0 || took >= end(bucket - 1), "{took:?}");
        }
        assert_eq!(bucket(Duration::ZERO), 0);
        assert_eq!(bucket(Duration::MAX), BUCKETS - 1);
    }

    #[test]
    fn a_quantile_is_a_sixteenth_too_high_at_most() {
        let mut rng = Rng::with_seed(7);
        let mut quantiles = Quantiles::default();
        let draw = |_| match rng.u32(..10) {
            0 => micros(rng.u64(..40_000)),
            _ => micros(rng.u64(..1_000)),
        };
        let took: Vec<_> = (0..4096).map(draw).collect();
        took.iter().for_each(|took| quantiles.observe(*took));
        let mut sorted = took.clone();
        sorted.sort_unstable();
        for share in [0.01, 0.5, 0.9, 0.95, 0.99, 1.0] {
            let exact = sorted[(4096.0 * share) as usize - 1].max(micros(1));
            let found = quantiles.at(share).unwrap();
            let ratio = found.as_secs_f64() / exact.as_secs_f64();
            assert!(
                (1.0..1.08).contains(&ratio),
                "{share}: {found:?}, {exact:?}"
            );
        }
    }

    #[test]
    fn what_was_is_forgotten() {
        let mut quantiles = Quantiles::default();
        assert_eq!(quantiles.at(0.95), None);
        (0..100_000).for_each(|_| quantiles.observe(micros(100_000)));
        (0..20_000).for_each(|_| quantiles.observe(micros(1000)));
        let found = quantiles.at(0.95).unwrap();
        assert!(found < micros(1100), "{found:?}");
        (0..300).for_each(|_| quantiles.observe(Duration::MAX));
        assert!(quantiles.at(0.95).unwrap() > Duration::from_secs(100));
        assert!(quantiles.count() <= MAX_COUNT);
    }
}
