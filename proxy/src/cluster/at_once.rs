//! What there is at once at one endpoint, over all workers, where that is limited.
//!
//! A plain word of the endpoint for each kind, so that the limits are exact: a worker that
//! kept permits of every endpoint would keep them from all others. Clusters without such limits
//! have none of these.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

/// Of one address. It is kept for as long as anything is under way there, also where the
/// endpoint left and returned meanwhile.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct AtOnce {
    requests: AtomicU32,
    connections: AtomicU32,
    /// Some worker wants a connection, and others may have one idle.
    wanted: AtomicBool,
}

impl AtOnce {
    /// One request more, of so many; it has to be [ended](Self::end_request).
    pub fn begin_request(&self, most: u32) -> bool {
        take(&self.requests, most)
    }

    pub fn end_request(&self) {
        self.requests.fetch_sub(1, Relaxed);
    }

    pub fn requests(&self) -> u32 {
        self.requests.load(Relaxed)
    }

    pub fn connections(&self) -> u32 {
        self.connections.load(Relaxed)
    }

    /// Has workers give up a connection that is idle.
    pub fn want(&self) {
        self.wanted.store(true, Relaxed);
    }

    pub fn is_wanted(&self) -> bool {
        self.wanted.load(Relaxed)
    }
}

/// A connection, of so many. Dropped, it is over.
pub struct Held(Arc<AtOnce>);

impl Held {
    pub fn one_of(most: u32, at_once: &Arc<AtOnce>) -> Option<Self> {
        take(&at_once.connections, most).then(|| Self(Arc::clone(at_once)))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Relaxed);
        // Who still wants one says so again.
        if self.0.is_wanted() {
            self.0.wanted.store(false, Relaxed);
        }
    }
}

fn take(count: &AtomicU32, most: u32) -> bool {
    let one_more = |now: u32| (now < most).then_some(now + 1);
    count.fetch_update(Relaxed, Relaxed, one_more).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_never_have_more() {
        let at_once = Arc::new(AtOnce::default());
        let work = || {
            for _ in 0..10_000 {
                if at_once.begin_request(3) {
                    assert!(at_once.requests() <= 3);
                    at_once.end_request();
                }
                if let Some(_held) = Held::one_of(2, &at_once) {
                    assert!(at_once.connections() <= 2);
                }
            }
        };
        std::thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(work))));
        assert_eq!((at_once.requests(), at_once.connections()), (0, 0));
    }
}
