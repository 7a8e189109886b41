//! What the control loop is asked to do, from wherever it comes.

use std::collections::VecDeque;
use std::future::Future;
use std::mem;
use std::path::PathBuf;

use tokio::sync::{mpsc, oneshot};

use super::Sources;
use super::admin::{Command, Decide, ReloadOutcome};
use super::signals::{Signal, Signals};
use super::upgrade::UpgradeOutcome;
use super::watch::Watch;

/// Who waits for what comes of a reload.
pub type Reply = oneshot::Sender<ReloadOutcome>;

/// Who waits for what comes of an upgrade.
pub type UpgradeReply = oneshot::Sender<UpgradeOutcome>;

/// What there is to do next.
pub enum Asked {
    Reload {
        why: &'static str,
        replies: Vec<Reply>,
    },
    Decide(Decide),
    /// To have another process take over.
    Upgrade {
        reply: Option<UpgradeReply>,
    },
    /// To look at files that have changed.
    Look(Vec<PathBuf>),
    Drain,
}

/// Commands, signals, changes of files.
pub struct Inbox {
    commands: mpsc::Receiver<Command>,
    signals: Option<Signals>,
    /// Absent where files cannot be watched.
    watch: Option<Watch>,
    /// Who asked while another reload was built. No more than the admin address
    /// has connections.
    waiting: Vec<Reply>,
    /// The same for canaries.
    decisions: VecDeque<Decide>,
    /// The same for upgrades.
    upgrades: VecDeque<UpgradeReply>,
    /// A reload found no room for one more generation.
    is_owed: bool,
    /// A configuration was refused, and any file may be what was wrong with it.
    to_mend: bool,
}

impl Inbox {
    pub fn new(
        commands: mpsc::Receiver<Command>,
        signals: Option<Signals>,
        watch: Option<Watch>,
    ) -> Self {
        Self {
            commands,
            signals,
            watch,
            waiting: Vec::new(),
            decisions: VecDeque::new(),
            upgrades: VecDeque::new(),
            is_owed: false,
            to_mend: false,
        }
    }

    /// The next thing to do. `room` ends when there is room for one more
    /// generation. Dropping the future loses nothing.
    pub async fn next(&mut self, room: impl Future<Output = ()>) -> Asked {
        if let Some(decide) = self.decisions.pop_front() {
            return Asked::Decide(decide);
        }
        if !self.waiting.is_empty() {
            return Asked::by_command(mem::take(&mut self.waiting));
        }
        if let Some(reply) = self.upgrades.pop_front() {
            return Asked::Upgrade { reply: Some(reply) };
        }
        tokio::select! {
            command = self.commands.recv() => match command {
                Some(Command::Reload { reply }) => Asked::by_command(vec![reply]),
                Some(Command::Decide(decide)) => Asked::Decide(decide),
                Some(Command::Upgrade { reply }) => Asked::Upgrade { reply: Some(reply) },
                Some(Command::Drain) | None => Asked::Drain,
            },
            signal = next_signal(&mut self.signals) => match signal {
                Signal::Reload => Asked::unasked("SIGHUP"),
                Signal::Upgrade => Asked::Upgrade { reply: None },
                Signal::Drain => Asked::Drain,
            },
            files = changed(&self.watch) => Asked::Look(files),
            () = room, if self.is_owed => Asked::unasked("there is room again"),
        }
    }

    /// Waits for a drain and nothing else. Whatever asks for a reload meanwhile
    /// is kept for [`Inbox::next`], also when the future is dropped.
    pub async fn drain(&mut self) {
        let Self {
            commands,
            signals,
            waiting,
            decisions,
            upgrades,
            ..
        } = self;
        let command = async {
            loop {
                match commands.recv().await {
                    Some(Command::Reload { reply }) => waiting.push(reply),
                    Some(Command::Decide(decide)) => decisions.push_back(decide),
                    Some(Command::Upgrade { reply }) => upgrades.push_back(reply),
                    Some(Command::Drain) | None => return,
                }
            }
        };
        tokio::select! {
            () = command => {}
            () = drain_signal(signals) => {}
        }
    }

    /// Nothing is taken any more, and who waits is told so. Gives what a drain
    /// still needs.
    pub fn close(self) -> (Option<Signals>, Option<Watch>) {
        (self.signals, self.watch)
    }

    /// Whether a reload is to be tried again when there is room.
    pub fn owe(&mut self, is_owed: bool) {
        self.is_owed = is_owed;
    }

    /// Whether a change of any file may make a configuration good that was refused.
    pub fn is_to_mend(&self) -> bool {
        self.to_mend
    }

    /// These files were published: they are what changes matter in.
    pub fn watch_only(&mut self, sources: Sources) {
        self.to_mend = false;
        if let Some(watch) = &self.watch {
            watch.replace(sources.files, sources.since);
        }
    }

    /// These files were refused: mending them matters too.
    pub fn watch_also(&mut self, sources: Sources) {
        self.to_mend = true;
        if let Some(watch) = &self.watch {
            watch.also(sources.files, sources.since);
        }
    }
}

impl Asked {
    fn by_command(replies: Vec<Reply>) -> Self {
        Self::Reload {
            why: "asked for",
            replies,
        }
    }

    fn unasked(why: &'static str) -> Self {
        Self::Reload {
            why,
            replies: Vec::new(),
        }
    }
}

/// SIGTERM or SIGINT; a SIGHUP stays for later.
pub async fn drain_signal(signals: &mut Option<Signals>) {
    match signals {
        Some(signals) => signals.drain().await,
        None => std::future::pending().await,
    }
}

async fn next_signal(signals: &mut Option<Signals>) -> Signal {
    match signals {
        Some(signals) => signals.next().await,
        None => std::future::pending().await,
    }
}

async fn changed(watch: &Option<Watch>) -> Vec<PathBuf> {
    match watch {
        Some(watch) => watch.changed().await,
        None => std::future::pending().await,
    }
}
