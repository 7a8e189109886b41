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
    pending: AtomicU32,
    retries: AtomicU32,
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

    pub fn of(&self, kind: Kind) -> u32 {
        self.word(kind).load(Relaxed)
    }

    fn word(&self, kind: Kind) -> &AtomicU32 {
        match kind {
            Kind::Connection => &self.connections,
            Kind::Pending => &self.pending,
            Kind::Retry => &self.retries,
        }
    }

    /// Has workers give up a connection that is idle.
    pub fn want(&self) {
        self.wanted.store(true, Relaxed);
    }

    pub fn is_wanted(&self) -> bool {
        self.wanted.load(Relaxed)
    }
}

/// What there may be so many of, beside requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Connection,
    /// A request that waits for a connection to be made.
    Pending,
    /// A request that was tried before, or is tried elsewhere as well.
    Retry,
}

/// One of so many. Dropped, it is over.
pub struct Held {
    at_once: Arc<AtOnce>,
    kind: Kind,
}

impl Held {
    pub fn one_of(most: u32, at_once: &Arc<AtOnce>, kind: Kind) -> Option<Self> {
        take(at_once.word(kind), most).then(|| Self {
            at_once: Arc::clone(at_once),
            kind,
        })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let Self { at_once, kind } = self;
        at_once.word(*kind).fetch_sub(1, Relaxed);
        // Who still wants one says so again.
        if *kind == Kind::Connection && at_once.is_wanted() {
            at_once.wanted.store(false, Relaxed);
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
                for kind in [Kind::Connection, Kind::Pending, Kind::Retry] {
                    if let Some(_held) = Held::one_of(2, &at_once, kind) {
                        assert!(at_once.of(kind) <= 2);
                    }
                }
            }
        };
        std::thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(work))));
        let left = [Kind::Connection, Kind::Pending, Kind::Retry].map(|kind| at_once.of(kind));
        assert_eq!((at_once.requests(), left), (0, [0; 3]));
    }
}
