//! The metrics that filters define for themselves.
//!
//! Definitions are made while an instance is, under a lock. Values are kept by
//! worker and added up when they are told, so an update takes a lock that only
//! a scrape ever contends for. The first of a series on a worker takes one of all.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::counter::{BOUNDS, PerWorker};

const MAX_LABELS: usize = 16;
const MAX_NAME_BYTES: usize = 128;
const MAX_HELP_BYTES: usize = 1024;
const MAX_LABEL_VALUE_BYTES: usize = 256;

/// Between the values of one series in its key; filters cannot use it.
const SEPARATOR: char = '\u{1f}';

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    Counter,
    Gauge,
    Histogram,
}

/// A metric of one registry, by its place there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricId(pub u32);

/// What a filter said about a metric.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    pub kind: MetricKind,
    pub name: String,
    pub help: String,
    pub labels: Vec<String>,
}

/// The metrics of one filter over all workers and generations.
#[derive(Debug)]
pub struct GuestMetrics {
    max_series: usize,
    definitions: Mutex<Vec<Definition>>,
    /// Of every worker: metrics by number, and label values, joined.
    known: Mutex<HashSet<(u32, String)>>,
    workers: PerWorker<Mutex<Series>>,
    /// Updates without effect: too many series, or labels that do not match.
    dropped: AtomicU64,
}

/// The series of one worker.
#[derive(Debug, Default)]
struct Series {
    /// By the number of the metric.
    metrics: HashMap<u32, Shape>,
}

/// What a worker knows of one metric.
#[derive(Debug)]
struct Shape {
    kind: MetricKind,
    labels: usize,
    /// By the label values, joined.
    values: HashMap<String, Value>,
}

/// One series.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Counter(f64),
    Gauge { value: f64, order: u64 },
    Histogram(Box<Distribution>),
}

/// Observations in seconds (or whatever the filter measures), in the buckets
/// that the proxy itself uses and one more.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Distribution {
    pub buckets: [u64; BOUNDS.len() + 1],
    pub sum: f64,
}

/// A metric with every series of it, as told to a scrape.
#[derive(Debug, Clone, PartialEq)]
pub struct Family {
    pub definition: Definition,
    /// Label values in the order of the definition.
    pub series: Vec<(Vec<String>, Value)>,
}

impl GuestMetrics {
    pub fn new(workers: usize, max_series: usize) -> Self {
        Self {
            max_series,
            definitions: Mutex::default(),
            known: Mutex::default(),
            workers: PerWorker::new(workers.max(1), Mutex::default),
            dropped: AtomicU64::new(0),
        }
    }

    /// The metric of this definition; equal ones are the same metric.
    pub fn define(&self, definition: Definition) -> Result<MetricId, String> {
        check_definition(&definition)?;
        let mut definitions = locked(&self.definitions);
        let known = definitions
            .iter()
            .position(|other| other.name == definition.name);
        if let Some(place) = known {
            if definitions[place] != definition {
                return Err(format!(
                    "`{}` is already defined otherwise",
                    definition.name
                ));
            }
            return Ok(MetricId(place as u32));
        }
        if definitions.len() >= self.max_series {
            return Err(format!("more than {} metrics", self.max_series));
        }
        definitions.push(definition);
        Ok(MetricId((definitions.len() - 1) as u32))
    }

    /// Adds to a counter, sets a gauge, observes in a histogram.
    pub fn update(&self, worker: usize, metric: MetricId, value: f64, labels: &[String]) {
        if !self.apply(worker, metric, value, labels) {
            self.dropped.fetch_add(1, Relaxed);
        }
    }

    fn apply(&self, worker: usize, metric: MetricId, value: f64, labels: &[String]) -> bool {
        let mut series = locked(self.workers.of(worker));
        let shape = match series.metrics.entry(metric.0) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => match self.shape(metric) {
                Some(shape) => unknown.insert(shape),
                None => return false,
            },
        };
        if !shape.takes(value, labels) {
            return false;
        }
        let key = labels.join("\u{1f}");
        if let Some(known) = shape.values.get_mut(&key) {
            known.take(value);
            return true;
        }
        if !self.admit(metric, &key) {
            return false;
        }
        let fresh = Value::new(shape.kind);
        shape.values.entry(key).or_insert(fresh).take(value);
        true
    }

    /// Whether there is room for a series, or a worker has it already.
    fn admit(&self, metric: MetricId, key: &str) -> bool {
        let series = (metric.0, key.to_owned());
        let mut known = locked(&self.known);
        let has_room = known.len() < self.max_series || known.contains(&series);
        if has_room {
            known.insert(series);
        }
        has_room
    }

    fn shape(&self, metric: MetricId) -> Option<Shape> {
        let definitions = locked(&self.definitions);
        let definition = definitions.get(metric.0 as usize)?;
        Some(Shape {
            kind: definition.kind,
            labels: definition.labels.len(),
            values: HashMap::new(),
        })
    }

    /// Updates that had no effect.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    /// Everything, summed over the workers; of a gauge the newest value.
    pub fn families(&self) -> Vec<Family> {
        let definitions = locked(&self.definitions).clone();
        definitions
            .into_iter()
            .enumerate()
            .map(|(place, definition)| Family {
                series: self.merged(place as u32, definition.labels.is_empty()),
                definition,
            })
            .collect()
    }

    fn merged(&self, metric: u32, without_labels: bool) -> Vec<(Vec<String>, Value)> {
        let mut merged: HashMap<String, Value> = HashMap::new();
        for worker in self.workers.iter() {
            let series = locked(worker);
            let shape = series.metrics.get(&metric);
            for (key, value) in shape.iter().flat_map(|shape| &shape.values) {
                match merged.get_mut(key) {
                    Some(sum) => sum.merge(value),
                    None => drop(merged.insert(key.clone(), value.clone())),
                }
            }
        }
        let mut series: Vec<_> = merged
            .into_iter()
            .map(|(key, value)| (split(&key, without_labels), value))
            .collect();
        series.sort_by(|(left, _), (right, _)| left.cmp(right));
        series
    }
}

fn split(key: &str, without_labels: bool) -> Vec<String> {
    if without_labels {
        return Vec::new();
    }
    key.split(SEPARATOR).map(str::to_owned).collect()
}

/// Tells which of two updates of a gauge on different workers came later.
static ORDER: AtomicU64 = AtomicU64::new(1);

impl Shape {
    fn takes(&self, value: f64, labels: &[String]) -> bool {
        let is_good =
            |label: &String| label.len() <= MAX_LABEL_VALUE_BYTES && !label.contains(SEPARATOR);
        let falls = self.kind == MetricKind::Counter && value < 0.0;
        labels.len() == self.labels && value.is_finite() && !falls && labels.iter().all(is_good)
    }
}

impl Value {
    fn new(kind: MetricKind) -> Self {
        match kind {
            MetricKind::Counter => Value::Counter(0.0),
            MetricKind::Gauge => Value::Gauge {
                value: 0.0,
                order: 0,
            },
            MetricKind::Histogram => Value::Histogram(Box::default()),
        }
    }

    fn take(&mut self, update: f64) {
        match self {
            Value::Counter(sum) => *sum += update,
            Value::Gauge { value, order } => {
                *value = update;
                *order = ORDER.fetch_add(1, Relaxed);
            }
            Value::Histogram(distribution) => distribution.observe(update),
        }
    }

    fn merge(&mut self, other: &Value) {
        match (self, other) {
            (Value::Counter(sum), Value::Counter(more)) => *sum += more,
            (
                Value::Gauge { value, order },
                Value::Gauge {
                    value: newer,
                    order: later,
                },
            ) if later > order => {
                *value = *newer;
                *order = *later;
            }
            (Value::Histogram(sum), Value::Histogram(more)) => sum.merge(more),
            // The same metric has the same kind on every worker.
            _ => {}
        }
    }
}

impl Distribution {
    fn observe(&mut self, value: f64) {
        let bucket = BOUNDS.partition_point(|bound| (*bound as f64) / 1e9 < value);
        self.buckets[bucket] += 1;
        self.sum += value;
    }

    fn merge(&mut self, other: &Distribution) {
        for (bucket, more) in self.buckets.iter_mut().zip(other.buckets) {
            *bucket += more;
        }
        self.sum += other.sum;
    }
}

fn check_definition(definition: &Definition) -> Result<(), String> {
    if !is_name(&definition.name) {
        return Err(format!(
            "`{}` is not a name of a metric",
            definition.name.escape_debug()
        ));
    }
    if definition.help.len() > MAX_HELP_BYTES {
        return Err(format!("the help of `{}` is too long", definition.name));
    }
    if definition.labels.len() > MAX_LABELS {
        return Err(format!(
            "`{}` has more than {MAX_LABELS} labels",
            definition.name
        ));
    }
    for (place, label) in definition.labels.iter().enumerate() {
        let reserved = label.starts_with("__") || ["filter", "le"].contains(&label.as_str());
        if !is_name(label) || reserved || definition.labels[..place].contains(label) {
            return Err(format!("`{}` cannot be a label here", label.escape_debug()));
        }
    }
    Ok(())
}

/// A letter or underscore, then those and digits.
fn is_name(name: &str) -> bool {
    let starts_well = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    let goes_on_well = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    starts_well && goes_on_well && name.len() <= MAX_NAME_BYTES
}

/// A panic while the lock was held leaves values that are still whole.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(kind: MetricKind, name: &str, labels: &[&str]) -> Definition {
        Definition {
            kind,
            name: name.into(),
            help: String::new(),
            labels: labels.iter().map(|label| (*label).to_owned()).collect(),
        }
    }

    #[test]
    fn equal_definitions_are_one_metric() {
        let metrics = GuestMetrics::new(1, 8);
        let first = metrics.define(definition(MetricKind::Counter, "hits", &["kind"]));
        assert_eq!(
            first,
            metrics.define(definition(MetricKind::Counter, "hits", &["kind"]))
        );
        let other = metrics.define(definition(MetricKind::Gauge, "hits", &["kind"]));
        assert_eq!(other, Err("`hits` is already defined otherwise".into()));
    }

    #[test]
    fn illegal_definitions_are_refused() {
        check("", &[], "`` is not a name of a metric");
        check("a-b", &[], "`a-b` is not a name of a metric");
        check("9a", &[], "`9a` is not a name of a metric");
        check("a", &["filter"], "`filter` cannot be a label here");
        check("a", &["__x"], "`__x` cannot be a label here");
        check("a", &["x", "x"], "`x` cannot be a label here");
        check("a", &["x\n"], "`x\\n` cannot be a label here");
    }

    fn check(name: &str, labels: &[&str], message: &str) {
        let metrics = GuestMetrics::new(1, 8);
        let refused = metrics.define(definition(MetricKind::Counter, name, labels));
        assert_eq!(refused, Err(message.into()));
    }

    #[test]
    fn workers_are_added_up() {
        let metrics = GuestMetrics::new(2, 8);
        let hits = definition(MetricKind::Counter, "hits", &["kind"]);
        let level = definition(MetricKind::Gauge, "level", &[]);
        let hits = metrics.define(hits).unwrap();
        let level = metrics.define(level).unwrap();
        metrics.update(0, hits, 2.0, &["a".into()]);
        metrics.update(1, hits, 3.0, &["a".into()]);
        metrics.update(1, level, 7.0, &[]);
        metrics.update(0, level, 5.0, &[]);

        let families = metrics.families();
        assert_eq!(
            families[0].series,
            [(vec!["a".to_owned()], Value::Counter(5.0))]
        );
        assert!(matches!(
            families[1].series[..],
            [(ref labels, Value::Gauge { value: 5.0, .. })] if labels.is_empty()
        ));
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let metrics = GuestMetrics::new(1, 2);
        let hits = definition(MetricKind::Counter, "hits", &["kind"]);
        let hits = metrics.define(hits).unwrap();
        for kind in ["a", "b", "c", "a"] {
            metrics.update(0, hits, 1.0, &[kind.into()]);
        }
        assert_eq!(metrics.dropped(), 1);
        metrics.update(0, hits, -1.0, &["a".into()]);
        metrics.update(0, hits, f64::NAN, &["a".into()]);
        metrics.update(0, hits, 1.0, &[]);
        assert_eq!(metrics.dropped(), 4);
        assert_eq!(metrics.families()[0].series.len(), 2);
    }

    #[test]
    fn series_are_counted_over_all_workers() {
        let metrics = GuestMetrics::new(2, 2);
        let hits = definition(MetricKind::Counter, "hits", &["kind"]);
        let hits = metrics.define(hits).unwrap();
        for (worker, kind) in [(0, "a"), (1, "b"), (0, "c"), (1, "c"), (1, "a"), (0, "b")] {
            metrics.update(worker, hits, 1.0, &[kind.into()]);
        }
        assert_eq!(metrics.dropped(), 2);
        let series = &metrics.families()[0].series;
        let wanted = ["a", "b"].map(|kind| (vec![kind.to_owned()], Value::Counter(2.0)));
        assert_eq!(*series, wanted);
    }
}
