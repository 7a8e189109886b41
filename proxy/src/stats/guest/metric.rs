//! One metric with its series, and the room that there is for series.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use super::{Definition, MetricKind, Value, locked};
use crate::stats::counter::PerWorker;

const MAX_LABEL_VALUE_BYTES: usize = 256;

/// Between the values of one series in its key; filters cannot use it.
const SEPARATOR: char = '\u{1f}';

/// How many series there may be of all metrics together.
#[derive(Debug)]
pub(super) struct Room {
    max_series: AtomicUsize,
    series: AtomicUsize,
    /// Updates without effect: too many series, or labels that do not match.
    pub(super) dropped: AtomicU64,
}

impl Room {
    pub(super) fn new(max_series: usize) -> Arc<Self> {
        Arc::new(Self {
            max_series: AtomicUsize::new(max_series),
            series: AtomicUsize::new(0),
            dropped: AtomicU64::new(0),
        })
    }

    /// What is there already stays, also where that is more.
    pub(super) fn limit(&self, max_series: usize) {
        self.max_series.store(max_series, Relaxed);
    }

    pub(super) fn max_series(&self) -> usize {
        self.max_series.load(Relaxed)
    }

    pub(super) fn is_full(&self) -> bool {
        self.series.load(Relaxed) >= self.max_series()
    }

    fn take(&self) -> bool {
        let max = self.max_series();
        let more = |series| (series < max).then_some(series + 1);
        self.series.fetch_update(Relaxed, Relaxed, more).is_ok()
    }
}

/// A metric over all workers. Values are kept by worker and added up when they are
/// told, so an update takes a lock that only a scrape ever contends for.
#[derive(Debug)]
pub(super) struct Metric {
    kind: MetricKind,
    labels: usize,
    room: Arc<Room>,
    /// The keys of all workers.
    known: RwLock<HashSet<String>>,
    /// By the label values, joined.
    workers: PerWorker<Mutex<HashMap<String, Value>>>,
    /// The metric that has its values from then on.
    moved: OnceLock<Arc<Metric>>,
}

impl Metric {
    pub(super) fn new(definition: &Definition, workers: usize, room: Arc<Room>) -> Arc<Self> {
        Arc::new(Self {
            kind: definition.kind,
            labels: definition.labels.len(),
            room,
            known: RwLock::default(),
            workers: PerWorker::new(workers, Mutex::default),
            moved: OnceLock::new(),
        })
    }

    pub(super) fn update(&self, worker: usize, value: f64, labels: &[String]) {
        if !self.takes(value, labels) {
            self.room.dropped.fetch_add(1, Relaxed);
            return;
        }
        let key = labels.join("\u{1f}");
        self.change(worker, key, |known| known.take(value));
    }

    fn takes(&self, value: f64, labels: &[String]) -> bool {
        let is_good =
            |label: &String| label.len() <= MAX_LABEL_VALUE_BYTES && !label.contains(SEPARATOR);
        let falls = self.kind == MetricKind::Counter && value < 0.0;
        labels.len() == self.labels && value.is_finite() && !falls && labels.iter().all(is_good)
    }

    fn change(&self, worker: usize, key: String, change: impl FnOnce(&mut Value)) {
        let mut series = locked(self.workers.of(worker));
        // Looked at under the lock: whoever moves the values comes to it after this.
        if let Some(moved) = self.moved.get() {
            drop(series);
            return moved.change(worker, key, change);
        }
        if let Some(known) = series.get_mut(&key) {
            change(known);
        } else if self.admit(&key) {
            change(series.entry(key).or_insert(Value::new(self.kind)));
        } else {
            self.room.dropped.fetch_add(1, Relaxed);
        }
    }

    /// Whether there is room for a series, or a worker has it already. Where there is
    /// none, nobody waits for another: that lock is only read then.
    fn admit(&self, key: &str) -> bool {
        if self.room.is_full() {
            let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
            return known.contains(key);
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let has_room = known.contains(key) || self.room.take();
        if has_room {
            known.insert(key.to_owned());
        }
        has_room
    }

    /// Gives its values to another one, also those of updates under way.
    pub(super) fn move_to(&self, other: &Arc<Self>) {
        if self.moved.set(other.clone()).is_err() {
            return;
        }
        for (worker, series) in self.workers.iter().enumerate() {
            let series = std::mem::take(&mut *locked(series));
            for (key, value) in series {
                other.change(worker, key, |known| known.merge(&value));
            }
        }
    }

    /// Every series, summed over the workers; of a gauge the newest value. With label
    /// values in the order of the definition.
    pub(super) fn series(&self) -> Vec<(Vec<String>, Value)> {
        let mut merged: HashMap<String, Value> = HashMap::new();
        for worker in self.workers.iter() {
            for (key, value) in &*locked(worker) {
                match merged.get_mut(key) {
                    Some(sum) => sum.merge(value),
                    None => drop(merged.insert(key.clone(), value.clone())),
                }
            }
        }
        let mut series: Vec<_> = merged
            .into_iter()
            .map(|(key, value)| (self.split(&key), value))
            .collect();
        series.sort_by(|(left, _), (right, _)| left.cmp(right));
        series
    }

    fn split(&self, key: &str) -> Vec<String> {
        match self.labels {
            0 => Vec::new(),
            _ => key.split(SEPARATOR).map(str::to_owned).collect(),
        }
    }
}

impl Drop for Metric {
    fn drop(&mut self) {
        let known = self.known.get_mut();
        let series = known.unwrap_or_else(PoisonError::into_inner).len();
        self.room.series.fetch_sub(series, Relaxed);
    }
}
