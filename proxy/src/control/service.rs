//! What the service manager is told (sd_notify(3)), where there is one. The protocol's
//! variable tells where; without it nothing is sent.

use sd_notify::NotifyState;

/// This process serves.
pub fn serves() {
    tell(&[NotifyState::Ready]);
}

/// Another process serves, and is the one to watch. Its predecessor says so, whose word
/// counts where only that of the main process does.
pub fn hands_over(process: u32) {
    tell(&[NotifyState::MainPid(process)]);
}

/// A reload begins. [`serves`] tells that it is over, whatever came of it.
pub fn reloads() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!(%error, "the service manager is not told of a reload"),
    }
}

pub fn stops() {
    tell(&[NotifyState::Stopping]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the service manager cannot be told");
    }
}
