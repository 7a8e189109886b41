//! What the system tells the process.

use std::io;

use tokio::signal::unix::{self, SignalKind};

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGHUP.
    Reload,
    /// SIGUSR2.
    Upgrade,
    /// SIGTERM or SIGINT. Another one, during the drain, means at once.
    Drain,
}

/// The signals of the process, from the moment of `new` on.
#[derive(Debug)]
pub struct Signals {
    hangup: unix::Signal,
    terminate: unix::Signal,
    interrupt: unix::Signal,
    /// Log rotation is used to send it, and without a handler it would end the
    /// process. The access log notices by itself that its file was renamed.
    user: unix::Signal,
    upgrade: unix::Signal,
}

impl Signals {
    /// Needs a tokio runtime with I/O.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            hangup: unix::signal(SignalKind::hangup())?,
            terminate: unix::signal(SignalKind::terminate())?,
            interrupt: unix::signal(SignalKind::interrupt())?,
            user: unix::signal(SignalKind::user_defined1())?,
            upgrade: unix::signal(SignalKind::user_defined2())?,
        })
    }

    /// The next signal that asks for something. Dropping the future loses none.
    pub async fn next(&mut self) -> Signal {
        loop {
            tokio::select! {
                Some(()) = self.terminate.recv() => return Signal::Drain,
                Some(()) = self.interrupt.recv() => return Signal::Drain,
                Some(()) = self.hangup.recv() => return Signal::Reload,
                Some(()) = self.upgrade.recv() => return Signal::Upgrade,
                Some(()) = self.user.recv() => {}
            }
        }
    }

    /// The next signal that asks to stop. The others stay for [`Signals::next`].
    /// Dropping the future loses none.
    pub async fn drain(&mut self) {
        tokio::select! {
            Some(()) = self.terminate.recv() => {}
            Some(()) = self.interrupt.recv() => {}
            else => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// One test for all of them, because signals reach the whole process.
    #[tokio::test]
    async fn signals_ask_for_reload_upgrade_and_drain() {
        let mut signals = Signals::new().unwrap();
        raise("USR1");
        raise("HUP");
        assert_eq!(signals.next().await, Signal::Reload);
        raise("TERM");
        assert_eq!(signals.next().await, Signal::Drain);
        raise("HUP");
        assert_eq!(signals.next().await, Signal::Reload);
        raise("INT");
        assert_eq!(signals.next().await, Signal::Drain);
        raise("USR2");
        assert_eq!(signals.next().await, Signal::Upgrade);
        raise("HUP");
        raise("TERM");
        signals.drain().await;
        assert_eq!(signals.next().await, Signal::Reload);
    }

    fn raise(name: &str) {
        let own = std::process::id().to_string();
        let status = Command::new("kill").args(["-s", name, &own]).status();
        assert!(status.unwrap().success());
    }
}
