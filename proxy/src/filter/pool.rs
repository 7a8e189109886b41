//! A filter on one worker: its idle instances, and whether it is paused.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use super::budget::Pause;
use super::fault::{Failure, FilterFault};
use super::instance::Instance;
use super::interest::Interest;
use super::loaded::{LoadedFilter, create_again};
use crate::stats::FilterStats;

/// Calls are measured once in so many, because reading the clock costs as much
/// as a short call.
const SAMPLE_EVERY: u32 = 64;

/// One filter on one worker.
pub struct WorkerFilter {
    loaded: Arc<LoadedFilter>,
    worker: usize,
    /// By the number of the configuration, shared with this worker's instances.
    interests: Arc<[Interest]>,
    /// The one used last is on top: its memory is warm.
    #[allow(clippy::vec_box)] // One moves out and back for every call.
    idle: RefCell<Vec<Box<Instance>>>,
    pause: RefCell<Pause>,
    /// For packed fields, used again by every call.
    packed: Cell<Vec<u8>>,
    calls_until_sample: Cell<u32>,
    pub(super) complaints: Complaints,
}

impl WorkerFilter {
    pub fn new(loaded: Arc<LoadedFilter>, worker: usize) -> Rc<Self> {
        let limits = &loaded.owner.limits;
        let pause = Pause::new(limits.max_overruns, limits.overrun_window, limits.pause);
        let interests = loaded.configs.iter().map(|config| config.interest.apart());
        Rc::new(Self {
            worker,
            interests: interests.collect(),
            idle: RefCell::default(),
            pause: RefCell::new(pause),
            packed: Cell::default(),
            calls_until_sample: Cell::new(0),
            complaints: Complaints::default(),
            loaded,
        })
    }

    pub fn loaded(&self) -> &Arc<LoadedFilter> {
        &self.loaded
    }

    pub(super) fn interests(&self) -> &[Interest] {
        &self.interests
    }

    /// Takes an instance that was made in advance, so that the first exchange
    /// does not wait for one.
    pub fn warm(&self) {
        if self.idle.borrow().is_empty()
            && let Some(mut instance) = self.loaded.take()
        {
            instance.adopt(self.worker, self.interests.clone());
            self.stats().instances_made.add(1);
            self.idle.borrow_mut().push(instance);
        }
    }

    pub(super) fn stats(&self) -> &FilterStats {
        self.loaded.owner.stats.of(self.worker)
    }

    /// An instance that has this configuration, for one call.
    ///
    /// Calls are synchronous, so there is never more than one lease at a time
    /// and `max_instances` cannot be reached.
    pub(super) fn lease(&self, config: usize) -> Result<Lease<'_>, Failure> {
        self.check_pause()?;
        let idle = self.idle.borrow_mut().pop();
        let instance = match idle {
            Some(instance) => instance,
            None => self.replace()?,
        };
        let mut lease = Lease {
            filter: self,
            instance: Some(instance),
        };
        let instance = lease.instance();
        if !instance.has(config) {
            create_again(instance, config, &self.loaded.configs[config].json)?;
        }
        Ok(lease)
    }

    fn check_pause(&self) -> Result<(), Failure> {
        let mut pause = self.pause.borrow_mut();
        if pause.is_possible() && pause.is_paused(Instant::now()) {
            let why = "overran its CPU budget too often";
            return Err(Failure::new(FilterFault::Paused, why));
        }
        Ok(())
    }

    /// A new instance. Where making one is slow, one is ready and the next is
    /// made away from this worker.
    fn replace(&self) -> Result<Box<Instance>, Failure> {
        let ready = self.loaded.is_slow().then(|| self.loaded.take()).flatten();
        let mut instance = match ready {
            Some(instance) => {
                let loaded = self.loaded.clone();
                if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                    runtime.spawn_blocking(move || loaded.refill());
                }
                instance
            }
            None => Box::new(self.loaded.make(self.worker)?),
        };
        instance.adopt(self.worker, self.interests.clone());
        self.stats().instances_made.add(1);
        Ok(instance)
    }

    /// Notes what a failure means for the calls to come.
    pub(super) fn failed(&self, failure: &Failure) {
        self.stats().faults(failure.fault as usize).add(1);
        if failure.fault != FilterFault::Overrun {
            return;
        }
        if let Some(pause) = self.pause.borrow_mut().overran(Instant::now()) {
            tracing::warn!(
                filter = &**self.loaded.name(),
                ?pause,
                "overran its CPU budget too often and is not called for a while"
            );
        }
    }

    /// When the call about to begin is one of those to be measured: now.
    pub(super) fn sample(&self) -> Option<Instant> {
        match self.calls_until_sample.get().checked_sub(1) {
            Some(left) => {
                self.calls_until_sample.set(left);
                None
            }
            None => {
                self.calls_until_sample.set(SAMPLE_EVERY - 1);
                Some(Instant::now())
            }
        }
    }
}

/// An instance lent for one call. Dropped without [`Lease::finish`], it is
/// thrown away: nobody knows what state it is in.
pub(super) struct Lease<'a> {
    filter: &'a WorkerFilter,
    instance: Option<Box<Instance>>,
}

impl Lease<'_> {
    pub fn instance(&mut self) -> &mut Instance {
        self.instance
            .as_mut()
            .expect("only `finish` takes it, and consumes the lease")
    }

    /// An empty place for packed fields.
    pub fn packed(&self) -> Vec<u8> {
        self.filter.packed.take()
    }

    pub fn give_back_packed(&self, packed: Vec<u8>) {
        self.filter.packed.set(packed);
    }

    /// The call ended well enough for the next one.
    pub fn finish(mut self) {
        self.filter.idle.borrow_mut().extend(self.instance.take());
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        if self.instance.is_some() {
            self.filter.stats().instances_lost.add(1);
        }
    }
}

/// Keeps a filter that fails all the time from filling the log.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    last: Cell<Option<Instant>>,
    withheld: Cell<u64>,
}

impl Complaints {
    /// How many were withheld before this one, or that this one is too.
    pub fn admit(&self, now: Instant) -> Option<u64> {
        const EVERY: std::time::Duration = std::time::Duration::from_secs(1);
        if self
            .last
            .get()
            .is_some_and(|last| now.duration_since(last) < EVERY)
        {
            self.withheld.set(self.withheld.get() + 1);
            return None;
        }
        self.last.set(Some(now));
        Some(self.withheld.take())
    }
}
