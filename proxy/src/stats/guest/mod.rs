//! The metrics that filters define for themselves.
//!
//! They belong to a version of a filter, which nobody sees until it is told: what a
//! refused one defined and counted goes with it. Those of its name that measure alike
//! have their values in common from then on ([`Told`]).
//! Definitions are made under a lock; to find one, and to update, none is taken that
//! only a scrape does not contend for. The first of a series on a worker takes one of
//! all, for as long as there is room.

mod definition;
mod metric;
mod told;
mod value;

#[cfg(test)]
mod tests;

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;

pub use definition::{Definition, MetricKind};
use metric::{Metric, Room};
pub use told::{Family, Told};
pub use value::{Distribution, Value};

/// A metric of one version, by its place there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricId(pub u32);

/// The metrics of one version of a filter, over all workers.
#[derive(Debug)]
pub struct GuestMetrics {
    workers: usize,
    max_series: usize,
    /// For what it counts before it is told.
    room: Arc<Room>,
    defined: ArcSwap<Vec<Defined>>,
    /// Held while that is changed. With whom it has its values in common.
    told: Mutex<Option<Arc<Told>>>,
}

/// A metric with what was said about it.
#[derive(Debug, Clone)]
struct Defined {
    definition: Arc<Definition>,
    metric: Arc<Metric>,
}

impl GuestMetrics {
    pub fn new(workers: usize, max_series: usize) -> Self {
        Self {
            workers: workers.max(1),
            max_series,
            room: Room::new(max_series),
            defined: ArcSwap::default(),
            told: Mutex::default(),
        }
    }

    /// The metric of this definition; equal ones are the same metric.
    pub fn define(&self, definition: Definition) -> Result<MetricId, String> {
        definition.check()?;
        if let Some(known) = self.find(&definition) {
            return known;
        }
        let told = locked(&self.told);
        // Another instance may have been faster.
        if let Some(known) = self.find(&definition) {
            return known;
        }
        let defined = self.defined.load();
        if defined.len() >= self.max_series {
            return Err(format!("more than {} metrics", self.max_series));
        }
        let definition = Arc::new(definition);
        let metric = match &*told {
            Some(told) => told.join(&definition),
            None => Metric::new(&definition, self.workers, self.room.clone()),
        };
        let one = Defined { definition, metric };
        let more: Vec<_> = defined.iter().cloned().chain([one]).collect();
        let id = MetricId((more.len() - 1) as u32);
        self.defined.store(Arc::new(more));
        Ok(id)
    }

    fn find(&self, definition: &Definition) -> Option<Result<MetricId, String>> {
        let defined = self.defined.load();
        let mut known = defined.iter().map(|known| &known.definition);
        let place = known.position(|known| known.name == definition.name)?;
        Some(match *defined[place].definition == *definition {
            true => Ok(MetricId(place as u32)),
            false => Err(format!(
                "`{}` is already defined otherwise",
                definition.name
            )),
        })
    }

    /// Adds to a counter, sets a gauge, observes in a histogram.
    pub fn update(&self, worker: usize, metric: MetricId, value: f64, labels: &[String]) {
        // A metric is defined before it has a number.
        if let Some(known) = self.defined.load().get(metric.0 as usize) {
            known.metric.update(worker, value, labels);
        }
    }

    /// Has its values in common with the other versions of its name from now on, and
    /// goes on with what those counted. Their series are as many as this one's may be.
    pub fn tell(&self, told: &Arc<Told>) {
        told.limit(self.max_series);
        let mut place = locked(&self.told);
        let defined = self.defined.load();
        let joined = defined.iter().map(|own| {
            let metric = told.join(&own.definition);
            if !Arc::ptr_eq(&own.metric, &metric) {
                own.metric.move_to(&metric);
            }
            let definition = own.definition.clone();
            Defined { definition, metric }
        });
        self.defined.store(Arc::new(joined.collect()));
        let dropped = self.room.dropped.swap(0, Relaxed);
        told.room.dropped.fetch_add(dropped, Relaxed);
        *place = Some(told.clone());
    }
}

/// A panic while the lock was held leaves values that are still whole.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
