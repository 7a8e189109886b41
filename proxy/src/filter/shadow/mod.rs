//! A version of a filter that sees copies of exchanges and is compared with the one
//! that serves.
//!
//! A worker notes each call of the serving version with what it saw and what came of
//! it (`record.rs`). When the exchange is over, the copy goes through a bounded channel
//! to the thread of jobs, which makes the same calls of the shadow (`replay.rs`), compares
//! (`compare.rs`) and keeps what differed (`report.rs`).
//! Must never: keep an exchange waiting or change it; hold more copies than there is
//! room for, in number and in bytes; or use more of the processor than it may.

mod compare;
mod record;
mod replay;
mod report;
mod share;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use tokio::sync::mpsc;

use super::loaded::LoadedFilter;
use crate::config;
use crate::stats::{PerWorker, ShadowStats};
use record::Exchange;
pub(super) use record::{Outcomes, Recording, Watch};
pub use replay::Understudy;
use report::Report;

/// Exchanges that wait to be looked at. Those that find no room are not.
const MAX_WAITING: usize = 64;

/// Exchanges that are copied at the same time: they may last.
const MAX_UNDER_WAY: usize = 256;

/// A version that has no effect.
pub struct Shadow {
    filter: Arc<LoadedFilter>,
    /// What it is compared with.
    serving: Arc<LoadedFilter>,
    rules: config::Shadow,
    copies: mpsc::Sender<Exchange>,
    /// Until somebody looks at them.
    seen: Mutex<Option<mpsc::Receiver<Exchange>>>,
    /// Exchanges that are being copied now.
    under_way: AtomicUsize,
    /// It has used what it may use of the processor.
    is_resting: AtomicBool,
    stats: Arc<PerWorker<ShadowStats>>,
    report: Report,
}

impl Shadow {
    /// What `stats` counted before is not told of this one.
    pub fn new(
        filter: Arc<LoadedFilter>,
        serving: Arc<LoadedFilter>,
        rules: config::Shadow,
        stats: Arc<PerWorker<ShadowStats>>,
    ) -> Arc<Self> {
        let (copies, seen) = mpsc::channel(MAX_WAITING);
        Arc::new(Self {
            report: Report::new(&stats, &filter, &serving),
            filter,
            serving,
            rules,
            copies,
            seen: Mutex::new(Some(seen)),
            under_way: AtomicUsize::new(0),
            is_resting: AtomicBool::new(false),
            stats,
        })
    }

    pub fn filter(&self) -> &Arc<LoadedFilter> {
        &self.filter
    }

    /// The same shadow, compared with another version from now on.
    pub fn beside(&self, serving: Arc<LoadedFilter>) -> Arc<Self> {
        let (filter, rules) = (self.filter.clone(), self.rules.clone());
        Self::new(filter, serving, rules, self.stats.clone())
    }

    /// Whether both compare the same two by the same rules.
    pub fn is_as(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.filter, &other.filter)
            && Arc::ptr_eq(&self.serving, &other.serving)
            && self.rules == other.rules
    }

    /// Begins to copy an exchange, if this one is to be.
    pub(super) fn record(self: &Arc<Self>, worker: usize) -> Option<Box<Recording>> {
        let is_meant = fastrand::u16(..10_000) < self.rules.share;
        if !is_meant {
            return None;
        }
        let is_too_much = self.under_way.fetch_add(1, Relaxed) >= MAX_UNDER_WAY;
        if is_too_much || self.is_resting.load(Relaxed) {
            self.under_way.fetch_sub(1, Relaxed);
            self.stats.of(worker).skipped.add(1);
            return None;
        }
        Some(Box::new(Recording::new(self.clone(), worker)))
    }

    /// An exchange is over, and is to be looked at unless it was given up.
    fn recorded(&self, exchange: Exchange, is_whole: bool, worker: usize) {
        self.under_way.fetch_sub(1, Relaxed);
        // One in which it had no part tells nothing.
        let is_nothing = is_whole && exchange.calls.is_empty();
        let is_sent = is_whole && !is_nothing && self.copies.try_send(exchange).is_ok();
        if !is_sent && !is_nothing {
            self.stats.of(worker).skipped.add(1);
        }
    }

    /// Whether both keep what is shared in the same form.
    fn finds_the_same(&self) -> bool {
        self.filter.module().format() == self.serving.module().format()
    }

    /// Copies are not wanted for a while, or are again.
    fn rest(&self, is_resting: bool) {
        self.is_resting.store(is_resting, Relaxed);
    }

    /// The copies, for the one who looks at them.
    fn take_copies(&self) -> Option<mpsc::Receiver<Exchange>> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.take()
    }

    /// What was found so far.
    pub fn tell(&self) -> Value {
        let mut told = self.report.tell(&self.stats, &self.filter, &self.serving);
        told["digest"] = self.filter.module().digest().into();
        told["percent"] = (f64::from(self.rules.share) / 100.0).into();
        told["resting"] = self.is_resting.load(Relaxed).into();
        told["is_what_serves"] = self.filter.does_as(&self.serving).into();
        told
    }
}
