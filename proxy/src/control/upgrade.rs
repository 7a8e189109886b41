//! Binary upgrade: a new process serves on the same sockets before this one drains.
//! Until then this one goes on as if nothing had been asked, and if the other never
//! comes to serve, for good.

use std::ffi::OsString;
use std::process::ExitStatus;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::inbox::{Inbox, UpgradeReply};
use super::successor::Successor;
use super::{Control, service};
use crate::config::ListenAddress;
use crate::listener::{MOST_PASSED, OF_LISTENER, WITH_PATH};

/// For the new process to serve. Less than a client of the admin address waits.
pub const START_LIMIT: Duration = Duration::from_secs(100);

/// What came of an upgrade.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpgradeOutcome {
    /// Another process serves.
    pub ok: bool,
    /// Its id.
    #[serde(default)]
    pub process: Option<u32>,
    /// Why there is none.
    #[serde(default)]
    pub mistakes: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum UpgradeError {
    #[error("`{program}` cannot be started", program = program.to_string_lossy())]
    Start {
        program: OsString,
        source: std::io::Error,
    },
    #[error("the sockets cannot be passed on")]
    Sockets(#[source] std::io::Error),
    #[error("the new process does not serve: {}", .0.join("; "))]
    Refused(Vec<String>),
    #[error("the new process ended before it served ({0}); its log tells more")]
    Ended(ExitStatus),
    #[error("the new process did not serve within {} seconds, and was ended", START_LIMIT.as_secs())]
    Late,
    #[error("the new process lives and does not say that it serves, but {0}; it was ended")]
    Garbled(String),
    #[error("{0} sockets are more than {MOST_PASSED}, which can be passed on")]
    Many(usize),
    #[error("only `lockgate run` can be upgraded")]
    NoProcess,
}

impl From<Result<u32, UpgradeError>> for UpgradeOutcome {
    fn from(outcome: Result<u32, UpgradeError>) -> Self {
        match outcome {
            Ok(process) => Self {
                ok: true,
                process: Some(process),
                mistakes: Vec::new(),
            },
            Err(UpgradeError::Refused(mistakes)) => Self {
                mistakes,
                ..Self::default()
            },
            Err(error) => Self {
                mistakes: vec![format!("{:#}", anyhow::Error::new(error))],
                ..Self::default()
            },
        }
    }
}

impl Control {
    /// Whether another process serves now. `None` if a drain was asked for before.
    pub(super) async fn upgrade(
        &mut self,
        inbox: &mut Inbox,
        reply: Option<UpgradeReply>,
    ) -> Option<bool> {
        let outcome = match self.start_successor() {
            Ok(mut successor) => {
                tracing::info!(
                    process = successor.process(),
                    "a new process starts, to take over"
                );
                // Nothing is decided about versions meanwhile: what is known of them is the
                // new process's to change from the word on.
                let ready = tokio::select! {
                    biased;
                    () = inbox.drain() => return None,
                    ready = successor.ready() => ready,
                };
                match ready {
                    // Who asks to stop from here on has the other process serve.
                    Ok(()) => tokio::select! {
                        biased;
                        gone = successor.go() => gone,
                        () = inbox.drain() => return None,
                    },
                    Err(error) => Err(error),
                }
            }
            Err(error) => Err(error),
        };
        let outcome = UpgradeOutcome::from(outcome);
        match outcome.process {
            Some(process) => {
                service::hands_over(process);
                tracing::info!(process, "handed over");
            }
            None => {
                for mistake in &outcome.mistakes {
                    tracing::error!("{mistake}");
                }
                tracing::error!("upgrade refused; this process goes on serving");
            }
        }
        let is_ok = outcome.ok;
        if let Some(reply) = reply {
            // Who asked may have gone away meanwhile.
            reply.send(outcome).ok();
        }
        Some(is_ok)
    }

    fn start_successor(&self) -> Result<Successor, UpgradeError> {
        let program = self.program.as_ref().ok_or(UpgradeError::NoProcess)?;
        let mut passed = Vec::new();
        for listener in &self.published.load().listeners {
            if let Some(socket) = &listener.socket {
                let descriptors = socket.descriptors().map_err(UpgradeError::Sockets)?;
                // By that name a socket of any port is found, and one that systemd passed.
                let name = match &listener.config.address {
                    ListenAddress::Systemd(name) => name.to_string(),
                    ListenAddress::Unix(_) if socket.has_path() => WITH_PATH.to_owned(),
                    ListenAddress::Tcp(_) | ListenAddress::Unix(_) => {
                        format!("{OF_LISTENER}{}", listener.config.name)
                    }
                };
                let descriptors = descriptors.into_iter();
                passed.extend(descriptors.map(|descriptor| (descriptor, name.clone())));
            }
        }
        if let Some(admin) = &self.admin {
            passed.push(admin.pass_on().map_err(UpgradeError::Sockets)?);
        }
        Successor::start(program, passed)
    }
}
