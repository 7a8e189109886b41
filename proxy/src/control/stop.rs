//! How it ends: a time in which only `/ready` says so, the drain, and what cuts both
//! short.

use std::pin::pin;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::inbox::{Inbox, drain_signal};
use super::signals::Signals;
use super::{Control, Ended, service};
use crate::worker::{Drained, Stage};

/// Signals to stop that come so close together are one: `timeout` and terminals
/// signal a process and its group.
const TOGETHER: Duration = Duration::from_millis(100);

/// For a request that is on its way to a process that stops.
const LAST_REQUEST: Duration = Duration::from_secs(1);

/// Why it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// A signal or a command said so.
    Asked,
    /// Another process serves on the same sockets.
    HandedOver,
}

impl Control {
    pub(super) async fn stop(mut self, why: Stop, inbox: Inbox) -> Ended {
        let config = self.published.load().config.clone();
        // The watch ends last, because that may wait for a disk.
        let (mut signals, _watch) = inbox.close();
        let mut second = pin!(second_drain(&mut signals, why));
        match why {
            Stop::Asked => {
                service::stops();
                self.status.stop(&self.published.load());
            }
            Stop::HandedOver => {
                for socket in self.published.load().sockets() {
                    socket.leave_name();
                }
                if let Some(admin) = self.admin.take() {
                    admin.hand_over().await;
                }
            }
        }
        if why == Stop::Asked && !config.lame_duck.is_zero() {
            tracing::info!(time = ?config.lame_duck, "stopping; serving on, not ready any more");
            tokio::select! {
                () = self.serve_on(config.lame_duck) => {}
                () = &mut second => return at_once(),
            }
        }
        tracing::info!(limit = ?config.drain_timeout, "draining");
        for socket in self.published.load().sockets() {
            socket.let_go();
        }
        let half = config.drain_timeout / 2;
        self.stage.send_replace(Stage::Draining {
            until: Instant::now() + config.drain_timeout,
            patience: match why {
                Stop::Asked => half.min(LAST_REQUEST),
                // Nobody waits for the end of it: clients that come back to a connection
                // are told that it was the last time, and not by a close.
                Stop::HandedOver => half,
            },
        });
        let (workers, jobs) = (self.workers, self.jobs);
        let joined = tokio::task::spawn_blocking(move || {
            let joined: Vec<_> = workers.into_iter().map(JoinHandle::join).collect();
            // Exchanges to the last one had what jobs learn.
            jobs.stop();
            joined
        });
        tokio::select! {
            joined = joined => ended(joined.unwrap_or_default()),
            () = second => at_once(),
        }
    }

    /// Everything goes on, but that nothing is reloaded.
    async fn serve_on(&mut self, time: Duration) {
        let mut over = pin!(tokio::time::sleep(time));
        loop {
            let published = self.published.load();
            tokio::select! {
                () = &mut over => return,
                event = self.versions.event(&published) => self.act(event).await,
            }
        }
    }
}

fn at_once() -> Ended {
    tracing::warn!("ending at once: a second signal came");
    Ended::AtOnce
}

fn ended(workers: Vec<std::thread::Result<Drained>>) -> Ended {
    let mut open = 0;
    for worker in workers {
        match worker {
            Ok(Drained::Clean) => {}
            Ok(Drained::CutOff(count)) => open += count,
            Err(_) => tracing::error!("a worker panicked"),
        }
    }
    match open {
        0 => {
            tracing::info!("drained");
            Ended::Drained
        }
        open => {
            tracing::warn!(open, "the drain limit was reached with connections open");
            Ended::CutOff(open)
        }
    }
}

/// Being asked to stop once more. A reload makes no sense any more. Who serves on the same
/// sockets now is asked to stop by the same signal where that goes to all of a service: it
/// is the first here.
async fn second_drain(signals: &mut Option<Signals>, why: Stop) {
    if why == Stop::HandedOver {
        drain_signal(signals).await;
        tracing::info!("asked to stop; draining already, and ending at once if asked again");
    }
    let mut together = std::pin::pin!(tokio::time::sleep(TOGETHER));
    loop {
        tokio::select! {
            // What came in time is one with the first, even if it is seen late.
            biased;
            () = drain_signal(signals) => {}
            () = &mut together => break,
        }
    }
    drain_signal(signals).await;
}
