//! What has left the windows of the clusters' retry budgets.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::cluster::clock::since_start;
use crate::snapshot::Published;

const EVERY: Duration = Duration::from_secs(1);

/// Looks each second, until it is dropped. Where it is late, fewer tokens are granted.
pub async fn run(published: Arc<Published>) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let now = since_start(Instant::now());
        for cluster in &published.load().clusters {
            cluster.retry_tokens.tick(now);
        }
    }
}
