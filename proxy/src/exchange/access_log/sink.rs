//! The thread that writes blocks of lines to where the access log goes.
//!
//! It never ends on an error: what cannot be written is lost and counted, the
//! trouble is told once, and so is its end. A log file that was renamed or
//! removed, as rotation does, is made anew before the next block.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use crate::config::AccessLogTarget;
use crate::stats::Stats;

/// Blocks that may wait for the thread: about 2 MiB.
const WAITING_BLOCKS: usize = 64;

/// How long the end of the process waits for the last blocks.
const LAST_BLOCKS: Duration = Duration::from_secs(5);

/// Whole lines, and how many.
#[derive(Debug, Default)]
pub struct Block {
    pub bytes: Vec<u8>,
    pub lines: u64,
}

/// Where workers leave their blocks. The thread ends, with everything written,
/// once every clone is gone.
#[derive(Debug, Clone)]
pub struct AccessLogSink(SyncSender<Block>);

/// The thread's end, for who wants to wait for it.
#[derive(Debug)]
pub struct AccessLogThread {
    /// Nothing is ever sent; it disconnects when the thread is over.
    over: Receiver<()>,
}

impl AccessLogSink {
    /// Opens the target and starts its thread. `None` when the log is off.
    pub fn open(
        target: &AccessLogTarget,
        stats: &Arc<Stats>,
    ) -> io::Result<Option<(Self, AccessLogThread)>> {
        let output = match target {
            AccessLogTarget::Off => return Ok(None),
            AccessLogTarget::Stdout => Output::Stdout,
            AccessLogTarget::File(path) => Output::File(LogFile::open(path)?),
        };
        start(output, stats.clone()).map(Some)
    }

    /// Leaves a block, unless too many wait already.
    pub fn offer(&self, block: Block) -> bool {
        self.0.try_send(block).is_ok()
    }
}

impl AccessLogThread {
    /// Waits until everything is written, once the last sink is gone. Says
    /// `false` when that takes too long, perhaps because nobody reads the
    /// standard output.
    pub fn finish(self) -> bool {
        self.over.recv_timeout(LAST_BLOCKS) == Err(RecvTimeoutError::Disconnected)
    }
}

fn start(output: Output, stats: Arc<Stats>) -> io::Result<(AccessLogSink, AccessLogThread)> {
    let (sender, blocks) = sync_channel(WAITING_BLOCKS);
    let (ending, over) = sync_channel(0);
    thread::Builder::new()
        .name("access-log".into())
        .spawn(move || {
            let _ending: SyncSender<()> = ending;
            write_all(output, blocks, &stats);
        })?;
    Ok((AccessLogSink(sender), AccessLogThread { over }))
}

fn write_all(mut output: Output, blocks: Receiver<Block>, stats: &Stats) {
    let mut is_failing = false;
    for block in blocks {
        match output.write(&block.bytes) {
            Ok(()) if is_failing => {
                tracing::info!("the access log is written again");
                is_failing = false;
            }
            Ok(()) => {}
            Err(error) => {
                stats
                    .process
                    .access_log_lost
                    .fetch_add(block.lines, Relaxed);
                if !is_failing {
                    tracing::error!(%error, "cannot write the access log, lines are lost");
                }
                is_failing = true;
            }
        }
    }
}

#[derive(Debug)]
enum Output {
    Stdout,
    File(LogFile),
}

impl Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Output::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(bytes)?;
                stdout.flush()
            }
            Output::File(file) => file.write(bytes),
        }
    }
}

#[derive(Debug)]
struct LogFile {
    path: PathBuf,
    file: File,
    /// Device and inode of `file`.
    identity: (u64, u64),
}

impl LogFile {
    fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        let identity = identity(&file.metadata()?);
        Ok(Self {
            path: path.to_owned(),
            file,
            identity,
        })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let current = fs::metadata(&self.path).ok().as_ref().map(identity);
        if current != Some(self.identity) {
            *self = Self::open(&self.path)?;
        }
        self.file.write_all(bytes)
    }
}

fn identity(metadata: &fs::Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

#[cfg(test)]
impl AccessLogSink {
    /// One whose thread never takes a block.
    pub fn stuck() -> Self {
        let (sender, blocks) = sync_channel(WAITING_BLOCKS);
        std::mem::forget(blocks);
        Self(sender)
    }
}
