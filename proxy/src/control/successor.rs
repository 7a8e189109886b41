//! A process of the program as it is on the disk now, which takes the listening sockets
//! over.
//!
//! It is started with this process's own arguments, and gets the sockets as systemd would
//! pass them. Among them is one to speak over: it says that everything is built and bound, or why
//! not; this process says go; it serves, and says so. Until it is told to go it has changed
//! nothing that others see; one that is not told ends.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as Unconnected;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use command_fds::{CommandFdExt, FdMapping};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use super::upgrade::{START_LIMIT, UpgradeError};
use crate::listener::{FIRST_PASSED, Inherited, MOST_PASSED, PREDECESSOR};

/// For a process that has said that it does not serve to end by itself.
const END_LIMIT: Duration = Duration::from_secs(5);

/// How often it is looked whether it has.
const END_LOOK: Duration = Duration::from_millis(10);

/// Of what a new process says.
const MAX_WORD_BYTES: u64 = 256 * 1024;

/// The name under which the socket is passed that both speak over.
const TALK: &str = "/upgrade";

/// A socket, and the name by which the next process finds it.
pub type Passed = (OwnedFd, String);

/// What one says to the other, a line each.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Word {
    Ready,
    Refused(Vec<String>),
    Go,
    Serves,
}

impl Word {
    fn line(&self) -> String {
        serde_json::to_string(self).expect("text is JSON") + "\n"
    }
}

/// How this process was started, and how the next one is.
#[derive(Debug, Clone)]
pub struct Program {
    program: OsString,
    arguments: Vec<OsString>,
}

impl Program {
    /// `None` where nobody knows by which name this process was started.
    pub fn of_this_process() -> Option<Self> {
        let mut arguments = std::env::args_os();
        Some(Self {
            program: arguments.next()?,
            arguments: arguments.collect(),
        })
    }
}

/// A process that is to take this one's place. Dropping it ends it, unless it was told to
/// go and may serve.
pub struct Successor {
    /// Until it is left to itself.
    child: Option<Child>,
    process: u32,
    talk: BufReader<UnixStream>,
    may_serve: bool,
}

impl Successor {
    /// Starts it, by the path by which this process was started.
    pub fn start(program: &Program, sockets: Vec<Passed>) -> Result<Self, UpgradeError> {
        let failed = |source| UpgradeError::Start {
            program: program.program.clone(),
            source,
        };
        let (talk, theirs) = UnixStream::pair().map_err(failed)?;
        let theirs = theirs.into_std().map_err(failed)?;
        let mut passed = sockets;
        passed.push((theirs.into(), TALK.to_owned()));
        if passed.len() > MOST_PASSED {
            return Err(UpgradeError::Many(passed.len()));
        }
        let names: Vec<_> = passed.iter().map(|(_, name)| name.as_str()).collect();
        let mut command = Command::new(&program.program);
        command
            .args(&program.arguments)
            .stdin(Stdio::null())
            .env_remove("LISTEN_PID")
            .env("LISTEN_FDS", passed.len().to_string())
            .env("LISTEN_FDNAMES", names.join(":"))
            .env(PREDECESSOR, std::process::id().to_string());
        let mappings = (FIRST_PASSED..).zip(passed);
        let mappings = mappings.map(|(child_fd, (parent_fd, _))| FdMapping {
            parent_fd,
            child_fd,
        });
        command
            .fd_mappings(mappings.collect())
            .expect("each has a number of its own");
        let child = command.spawn().map_err(failed)?;
        // With it its copies of what was passed: who has the other end hears of the end.
        drop(command);
        Ok(Self {
            process: child.id(),
            child: Some(child),
            talk: BufReader::new(talk),
            may_serve: false,
        })
    }

    pub fn process(&self) -> u32 {
        self.process
    }

    /// Waits until it could serve.
    pub async fn ready(&mut self) -> Result<(), UpgradeError> {
        let Ok(said) = tokio::time::timeout(START_LIMIT, hear(&mut self.talk)).await else {
            return Err(UpgradeError::Late);
        };
        match said {
            Ok(Word::Ready) => Ok(()),
            Ok(Word::Refused(mistakes)) => Err(UpgradeError::Refused(mistakes)),
            other => Err(self.failed(other).await),
        }
    }

    /// Has it serve, and gives its id once it does. From here on this process does not end
    /// it, since it may have taken connections already; but for one that says anything else.
    pub async fn go(&mut self) -> Result<u32, UpgradeError> {
        self.may_serve = true;
        let go = Word::Go.line();
        let said = match self.talk.write_all(go.as_bytes()).await {
            Ok(()) => hear(&mut self.talk).await,
            Err(error) => Err(error),
        };
        match said {
            Ok(Word::Serves) => Ok(self.process),
            other => {
                self.may_serve = false;
                Err(self.failed(other).await)
            }
        }
    }

    /// Why it says nothing that was expected.
    async fn failed(&mut self, said: io::Result<Word>) -> UpgradeError {
        match (self.ended().await, said) {
            (Some(status), _) => UpgradeError::Ended(status),
            (None, Ok(word)) => UpgradeError::Garbled(word.line()),
            (None, Err(error)) => UpgradeError::Garbled(error.to_string()),
        }
    }

    /// How it ended, if it does so soon.
    async fn ended(&mut self) -> Option<ExitStatus> {
        let until = Instant::now() + END_LIMIT;
        while Instant::now() < until {
            if let Ok(Some(status)) = self.child.as_mut()?.try_wait() {
                return Some(status);
            }
            tokio::time::sleep(END_LOOK).await;
        }
        None
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take_if(|_| !self.may_serve) else {
            return;
        };
        if let Err(error) = child.kill() {
            tracing::debug!(%error, "the new process has ended already");
        }
        // What a process leaves behind is its exit status, until somebody reads it.
        tokio::task::spawn_blocking(move || child.wait());
    }
}

/// Hears one line.
async fn hear(talk: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Word> {
    let mut line = String::new();
    talk.take(MAX_WORD_BYTES).read_line(&mut line).await?;
    serde_json::from_str(&line).map_err(|_| io::Error::other(format!("{line:?}")))
}

/// The process that this one is to take the place of.
#[derive(Debug)]
pub struct Predecessor(Unconnected);

impl Predecessor {
    pub fn among(inherited: &Inherited) -> Option<Self> {
        let talk = inherited.take_other(TALK)?;
        Some(Self(talk.into()))
    }

    /// Says why this process does not come to serve. Blocking.
    pub fn refuse(mut self, mistakes: Vec<String>) {
        let line = Word::Refused(mistakes).line();
        let told = self.0.set_nonblocking(false);
        let told = told.and_then(|()| io::Write::write_all(&mut self.0, line.as_bytes()));
        if let Err(error) = told {
            tracing::warn!(%error, "the process before this one cannot be told");
        }
    }

    /// Says that this process could serve, and waits for the word to do so. Needs a tokio
    /// runtime with I/O.
    pub async fn ready(self) -> io::Result<Told> {
        self.0.set_nonblocking(true)?;
        let mut talk = BufReader::new(UnixStream::from_std(self.0)?);
        talk.write_all(Word::Ready.line().as_bytes()).await?;
        match hear(&mut talk).await {
            Ok(Word::Go) => Ok(Told(talk)),
            other => Err(io::Error::other(format!("it says {other:?}"))),
        }
    }
}

/// The word to serve was given.
pub struct Told(BufReader<UnixStream>);

impl Told {
    pub async fn serves(mut self) {
        if let Err(error) = self.0.write_all(Word::Serves.line().as_bytes()).await {
            tracing::warn!(%error, "the process before this one cannot be told");
        }
    }
}
