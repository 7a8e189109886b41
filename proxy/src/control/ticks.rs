//! What the control thread looks at from time to time: the bounds of clusters, which follow
//! what workers counted, and what has left the windows of their retry budgets.

use std::sync::Arc;

use tokio::time::{MissedTickBehavior, interval};

use crate::cluster::TICK;
use crate::cluster::clock::since_start;
use crate::snapshot::Published;

/// Ticks between two looks at the budgets: a second.
const BUDGETS_EVERY: u32 = 10;

/// Until it is dropped. Where it is late, bounds follow later and fewer retries are granted.
pub async fn run(published: Arc<Published>) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for count in (0..BUDGETS_EVERY).cycle() {
        let now = since_start(ticks.tick().await);
        for cluster in &published.load().clusters {
            cluster.tick(now);
            if count == 0 {
                cluster.retry_tokens.tick(now);
            }
        }
    }
}
