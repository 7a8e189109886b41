//! The access log: one line for each exchange.
//!
//! Takes: finished records, on the worker that finished them, into a buffer of
//! that worker. Gives: blocks of whole lines to a thread that writes them.
//! Must never: make a worker wait for a disk or a reader. When the thread does
//! not keep up, lines are dropped and counted.

mod clock;
mod escape;
mod format;
mod sink;

use std::cell::RefCell;
use std::sync::Arc;

use crate::config::LogFormat;
use crate::exchange::record::Record;
use crate::stats::{Counter, PerWorker};

pub use sink::{AccessLogSink, AccessLogThread};

use clock::Clock;
use sink::Block;

/// A buffer this full is handed over.
const BLOCK_BYTES: usize = 32 * 1024;

/// Room for the line that makes a block full, so that it seldom grows.
const BLOCK_CAPACITY: usize = BLOCK_BYTES + 4 * 1024;

/// The access log of one worker. What is left in the buffer is handed over when
/// it is dropped.
#[derive(Debug)]
pub struct AccessLog(Option<Writing>);

#[derive(Debug)]
struct Writing {
    sink: AccessLogSink,
    format: LogFormat,
    tells_filters: bool,
    block: RefCell<Block>,
    clock: RefCell<Clock>,
    dropped: Arc<PerWorker<Counter>>,
    worker: usize,
}

impl AccessLog {
    /// Writes nothing.
    pub fn off() -> Self {
        Self(None)
    }

    /// The log of `worker`; what it has to drop is counted in its slot of
    /// `dropped`.
    pub fn new(
        sink: AccessLogSink,
        (format, tells_filters): (LogFormat, bool),
        dropped: Arc<PerWorker<Counter>>,
        worker: usize,
    ) -> Self {
        Self(Some(Writing {
            sink,
            format,
            tells_filters,
            block: RefCell::default(),
            clock: RefCell::new(Clock::new(format)),
            dropped,
            worker,
        }))
    }

    /// Whether lines tell what each filter did.
    pub fn tells_filters(&self) -> bool {
        self.0.as_ref().is_some_and(|writing| writing.tells_filters)
    }

    /// Adds a line, and hands the block over when it is full.
    pub fn write(&self, record: &Record) {
        if let Some(writing) = &self.0 {
            writing.write(record);
        }
    }

    /// Hands over what there is. To be called every now and then, so that lines
    /// are seen while there is little traffic.
    pub fn flush(&self) {
        if let Some(writing) = &self.0 {
            writing.flush();
        }
    }
}

impl Writing {
    fn write(&self, record: &Record) {
        let mut block = self.block.borrow_mut();
        if block.bytes.capacity() == 0 {
            block.bytes.reserve(BLOCK_CAPACITY);
        }
        let mut clock = self.clock.borrow_mut();
        match self.format {
            LogFormat::Json => format::json(record, &mut clock, &mut block.bytes),
            LogFormat::Text => format::text(record, &mut clock, &mut block.bytes),
        }
        block.lines += 1;
        if block.bytes.len() >= BLOCK_BYTES {
            self.hand_over(&mut block);
        }
    }

    fn flush(&self) {
        let mut block = self.block.borrow_mut();
        if block.lines > 0 {
            self.hand_over(&mut block);
        }
    }

    fn hand_over(&self, block: &mut Block) {
        let lines = block.lines;
        if !self.sink.offer(std::mem::take(block)) {
            self.dropped.of(self.worker).add(lines);
        }
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.flush();
    }
}

#[cfg(test)]
mod tests;
