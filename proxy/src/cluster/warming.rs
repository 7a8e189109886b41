//! How many connections of a cluster are made ahead at once, over all workers.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::Cluster;

/// Few, and enough: thousands of endpoints are warm within seconds.
const AT_ONCE: u32 = 8;

/// Dropped, it is another's.
pub struct WarmTurn(Arc<Cluster>);

impl Cluster {
    /// `None` where so many are being made already.
    pub fn warm_turn(self: &Arc<Self>) -> Option<WarmTurn> {
        let one_more = |now: u32| (now < AT_ONCE).then_some(now + 1);
        self.warming.fetch_update(Relaxed, Relaxed, one_more).ok()?;
        Some(WarmTurn(Arc::clone(self)))
    }
}

impl Drop for WarmTurn {
    fn drop(&mut self) {
        self.0.warming.fetch_sub(1, Relaxed);
    }
}
