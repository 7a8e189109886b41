//! The metrics of one name, across the versions of its filter: what is told.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};

use super::metric::{Metric, Room};
use super::{Defined, Definition, Value, locked};

/// What the versions of a filter have in common: where one measures as another did, it
/// goes on with that one's values.
#[derive(Debug)]
pub struct Told {
    workers: usize,
    pub(super) room: Arc<Room>,
    /// The newest last, and none that measures as another.
    metrics: Mutex<Vec<Defined>>,
}

/// A metric with every series of it, as told to a scrape.
#[derive(Debug, Clone, PartialEq)]
pub struct Family {
    pub definition: Arc<Definition>,
    /// Label values in the order of the definition.
    pub series: Vec<(Vec<String>, Value)>,
}

impl Told {
    pub fn new(workers: usize) -> Arc<Self> {
        Arc::new(Self {
            workers: workers.max(1),
            room: Room::new(0),
            metrics: Mutex::default(),
        })
    }

    /// So many series from now on.
    pub(super) fn limit(&self, max_series: usize) {
        self.room.limit(max_series);
    }

    /// The metric that measures so, which is the newest of its name from now on.
    pub(super) fn join(&self, definition: &Arc<Definition>) -> Arc<Metric> {
        let mut metrics = locked(&self.metrics);
        let is_it = |known: &Defined| known.definition.measures_as(definition);
        let metric = match metrics.iter().position(is_it) {
            Some(place) => metrics.remove(place).metric,
            None => Metric::new(definition, self.workers, self.room.clone()),
        };
        metrics.push(Defined {
            definition: definition.clone(),
            metric: metric.clone(),
        });
        self.forget(&mut metrics);
        metric
    }

    /// Drops what no version has any more and one of another form stands for, or what
    /// there is no room for. The rest stays: a version may define it late.
    fn forget(&self, metrics: &mut Vec<Defined>) {
        let is_full = self.room.is_full() || metrics.len() > self.room.max_series();
        let names: Vec<_> = metrics
            .iter()
            .map(|known| known.definition.clone())
            .collect();
        let mut place = 0;
        metrics.retain(|known| {
            place += 1;
            let is_had = Arc::strong_count(&known.metric) > 1;
            let is_followed = || {
                let name = &known.definition.name;
                names[place..].iter().any(|newer| newer.name == *name)
            };
            is_had || !(is_full || is_followed())
        });
    }

    /// Updates that had no effect.
    pub fn dropped(&self) -> u64 {
        self.room.dropped.load(Relaxed)
    }

    /// Everything, the newest first. Of two forms of one name the older one is told as
    /// well where series of both can be told apart.
    pub fn families(&self) -> Vec<Family> {
        let metrics = {
            let mut metrics = locked(&self.metrics);
            self.forget(&mut metrics);
            metrics.clone()
        };
        let mut families: Vec<Family> = Vec::new();
        for Defined { definition, metric } in metrics.into_iter().rev() {
            let is_apart = |newer: &Family| {
                newer.definition.name != definition.name
                    || newer.definition.stands_beside(&definition)
            };
            if families.iter().all(is_apart) {
                let series = metric.series();
                families.push(Family { definition, series });
            }
        }
        families
    }
}
