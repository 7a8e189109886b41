//! The life of one job: run, rest, run again.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::oneshot;

use super::back_off::BackOff;
use crate::config::Name;
use crate::filter::{Failure, Job, Ran};
use crate::stats::{JobStats, PerWorker};

/// A job that wants no rest has this one.
const LEAST_REST: Duration = Duration::from_millis(100);

/// A job with what is told of it.
pub struct Life {
    pub job: Job,
    /// Whose it is, for the log.
    pub filter: Name,
    pub config: String,
    /// Of this thread alone.
    pub stats: Arc<PerWorker<JobStats>>,
    /// Told how the first run went.
    pub first: Option<oneshot::Sender<Result<(), Failure>>>,
}

impl Life {
    /// Runs the job until it rests for good. Dropping it ends the job, wherever
    /// it is.
    pub async fn run(mut self) {
        let mut back_off = BackOff::default();
        loop {
            self.job.state().begin();
            let ran = self.job.run().await;
            let rest = match &ran.outcome {
                Ok(rest) => {
                    back_off.succeeded();
                    rest.map(|rest| rest.max(LEAST_REST))
                }
                Err(_) => Some(back_off.failed(fastrand::f64())),
            };
            self.tell(ran, rest);
            match rest {
                Some(rest) => tokio::time::sleep(rest).await,
                None => return,
            }
        }
    }

    fn tell(&mut self, ran: Ran, rest: Option<Duration>) {
        let stats = self.stats.of(0);
        stats.runs.add(1);
        stats.used(ran.cpu);
        match &ran.outcome {
            Ok(_) => {
                let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
                let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
                stats.last_success.set(now);
            }
            Err(failure) => {
                stats.faults(failure.fault as usize).add(1);
                tracing::warn!(
                    filter = &*self.filter,
                    config = &*self.config,
                    fault = failure.fault.name(),
                    again_in = ?rest,
                    "a job failed: {}",
                    failure.detail
                );
            }
        }
        let failure = ran.outcome.err();
        self.job.state().end(failure.as_ref(), rest);
        if let Some(first) = self.first.take() {
            // Who waited may have gone on without.
            first.send(failure.map_or(Ok(()), Err)).ok();
        }
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.job.state().cancel();
    }
}
