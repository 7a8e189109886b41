//! A filter on one worker: its idle instances, and whether it is paused.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::Notify;

use super::ahead::Ahead;
use super::budget::Pause;
use super::fault::{Failure, FilterFault};
use super::instance::Instance;
use super::interest::Interest;
use super::loaded::{LoadedFilter, create_again};
use super::meter::Meter;
use crate::config::Isolation;
use crate::stats::FilterStats;
use crate::stats::bill::milliseconds_since_1970;

/// One filter on one worker.
pub struct WorkerFilter {
    loaded: Arc<LoadedFilter>,
    worker: usize,
    /// By the number of the configuration, shared with this worker's instances.
    interests: Arc<[Interest]>,
    /// The one used last is on top: its memory is warm.
    #[allow(clippy::vec_box)] // One moves out and back for every call.
    idle: RefCell<Vec<Box<Instance>>>,
    /// Instances that there are, lent ones included.
    made: Cell<usize>,
    /// Calls that wait for one.
    waiting: Cell<usize>,
    /// Told of every instance that comes back or is lost while calls wait.
    freed: Arc<Notify>,
    ahead: Ahead,
    pause: RefCell<Pause>,
    /// For packed fields, used again by every call.
    packed: Cell<Vec<u8>>,
    pub(super) meter: Meter,
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
            made: Cell::default(),
            waiting: Cell::default(),
            freed: Arc::default(),
            ahead: Ahead::default(),
            pause: RefCell::new(pause),
            packed: Cell::default(),
            meter: Meter::default(),
            complaints: Complaints::default(),
            loaded,
        })
    }

    pub fn loaded(&self) -> &Arc<LoadedFilter> {
        &self.loaded
    }

    pub(super) fn worker(&self) -> usize {
        self.worker
    }

    pub(super) fn interests(&self) -> &[Interest] {
        &self.interests
    }

    /// Takes an instance that was made in advance, so that the first exchange
    /// does not wait for one.
    pub fn warm(&self) {
        if self.idle.borrow().is_empty()
            && self.has_room()
            && let Some(mut instance) = self.loaded.take()
        {
            instance.adopt(self.worker, self.interests.clone());
            self.count_made();
            self.idle.borrow_mut().push(instance);
        }
    }

    pub(super) fn stats(&self) -> &FilterStats {
        self.loaded.owner.stats.of(self.worker)
    }

    /// An instance that has this configuration. While all that there may be are
    /// taken, it waits in line.
    ///
    /// Dropping the future leaves the line.
    pub(super) async fn lease(self: &Rc<Self>, config: u16, room: Room) -> Result<Lease, Failure> {
        // Who waits already comes first.
        if (self.waiting.get() == 0 || room == Room::OneMore)
            && let Some(lease) = self.try_lease(config, room)?
        {
            return Ok(lease);
        }
        Box::pin(self.wait_in_line(config, room)).await
    }

    /// The same for calls that cannot wait.
    pub(super) fn lease_now(self: &Rc<Self>, config: u16, room: Room) -> Result<Lease, Failure> {
        let lease = self.try_lease(config, room)?;
        lease.ok_or_else(|| none_left("all instances are taken, or none is ready"))
    }

    fn try_lease(self: &Rc<Self>, config: u16, room: Room) -> Result<Option<Lease>, Failure> {
        self.check_pause()?;
        let idle = self.idle.borrow_mut().pop();
        let instance = match idle {
            Some(instance) => instance,
            None if self.has_room() || room == Room::OneMore => match self.replace() {
                // The engine has none left, so this filter goes on with those it has.
                Err(failure) if room == Room::Limited && self.may_wait_for(&failure) => {
                    return Ok(None);
                }
                made => match made? {
                    Some(instance) => instance,
                    None => return Ok(None),
                },
            },
            None => return Ok(None),
        };
        let mut lease = Lease {
            filter: self.clone(),
            instance: Some(instance),
            is_lost: true,
        };
        lease.give(config)?;
        Ok(Some(lease))
    }

    async fn wait_in_line(self: &Rc<Self>, config: u16, room: Room) -> Result<Lease, Failure> {
        let limits = &self.loaded.owner.limits;
        if self.waiting.get() >= limits.max_waiting {
            return Err(none_left(
                "all instances are taken, and as many calls wait as may",
            ));
        }
        let mut waiting = Waiting::new(self);
        let served = async {
            loop {
                self.freed.notified().await;
                if let Some(lease) = self.try_lease(config, room)? {
                    waiting.took = true;
                    return Ok(lease);
                }
            }
        };
        match tokio::time::timeout(limits.max_wait, served).await {
            Ok(outcome) => outcome,
            Err(_) => Err(none_left("no instance came back in time")),
        }
    }

    fn check_pause(&self) -> Result<(), Failure> {
        let mut pause = self.pause.borrow_mut();
        if pause.is_possible() && pause.is_paused(Instant::now()) {
            let why = "overran its budgets too often";
            return Err(Failure::new(FilterFault::Paused, why));
        }
        Ok(())
    }

    /// A new instance. Where making one is slow, one is ready and the next is made away
    /// from this worker; where it is heavy, that is waited for.
    fn replace(&self) -> Result<Option<Box<Instance>>, Failure> {
        let ready = self.loaded.is_slow().then(|| self.loaded.take()).flatten();
        let mut instance = match ready {
            Some(instance) => {
                self.ahead.make(&self.loaded, &self.freed);
                instance
            }
            None if self.loaded.is_heavy() => {
                return match self.ahead.failure() {
                    Some(failure) => Err(failure),
                    None => {
                        self.ahead.make(&self.loaded, &self.freed);
                        Ok(None)
                    }
                };
            }
            None => Box::new(self.loaded.make(self.worker)?),
        };
        instance.adopt(self.worker, self.interests.clone());
        self.count_made();
        Ok(Some(instance))
    }

    /// Whether a lack of instances ends when one of its own comes back.
    fn may_wait_for(&self, failure: &Failure) -> bool {
        failure.fault == FilterFault::NoInstance && self.made.get() > 0
    }

    fn has_room(&self) -> bool {
        self.made.get() < self.loaded.owner.limits.max_instances
    }

    fn count_made(&self) {
        self.made.set(self.made.get() + 1);
        self.stats().instances_made.add(1);
    }

    /// One more call in line may look for an instance.
    fn tell_freed(&self) {
        if self.waiting.get() > 0 {
            self.freed.notify_one();
        }
    }

    /// An empty place for packed fields.
    pub(super) fn take_packed(&self) -> Vec<u8> {
        self.packed.take()
    }

    pub(super) fn give_back_packed(&self, packed: Vec<u8>) {
        self.packed.set(packed);
    }

    /// Notes what a failure means for the calls to come.
    pub(super) fn failed(&self, failure: &Failure) {
        self.stats().faults(failure.fault as usize).add(1);
        self.loaded.count_fault(self.worker);
        if !failure.fault.is_overrun() {
            return;
        }
        if let Some(pause) = self.pause.borrow_mut().overran(Instant::now()) {
            let until = milliseconds_since_1970(SystemTime::now() + pause);
            self.stats().paused_until.set(until);
            if let Some(lines) = &self.loaded.owner.granted.lines {
                return lines.keep(format!("paused for {pause:?} after overruns"));
            }
            tracing::warn!(
                filter = &**self.loaded.name(),
                ?pause,
                "overran its budgets too often and is not called for a while"
            );
        }
    }

    /// Notes what a call that was measured used of the processor.
    pub(super) fn measured(&self, used: Duration) {
        self.loaded.count_measured(self.worker, used);
    }

    /// It is to be compared from now on, so that its next calls are all measured.
    pub fn is_compared(&self) {
        self.meter.start_again();
    }

    /// Notes a call that ended its exchange.
    pub(super) fn ended(&self) {
        self.loaded.count_ended(self.worker);
    }
}

fn none_left(why: &str) -> Failure {
    Failure::new(FilterFault::NoInstance, why)
}

/// How many instances there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// As many as the configuration says.
    Limited,
    /// One more than there are, for an exchange that has one already.
    OneMore,
}

/// A call in line for an instance.
struct Waiting<'a> {
    filter: &'a WorkerFilter,
    since: Instant,
    /// It has got one.
    took: bool,
}

impl<'a> Waiting<'a> {
    fn new(filter: &'a WorkerFilter) -> Self {
        filter.waiting.set(filter.waiting.get() + 1);
        filter.stats().instance_waits.began();
        Self {
            filter,
            since: Instant::now(),
            took: false,
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let filter = self.filter;
        filter.stats().instance_waits.ended(self.since.elapsed());
        filter.waiting.set(filter.waiting.get() - 1);
        // It may have been told of an instance and then not taken it.
        if !self.took && (filter.has_room() || !filter.idle.borrow().is_empty()) {
            filter.tell_freed();
        }
    }
}

/// An instance that is lent. Dropped without [`Lease::finish`], it is thrown
/// away: nobody knows what state it is in.
pub(super) struct Lease {
    filter: Rc<WorkerFilter>,
    instance: Option<Box<Instance>>,
    /// A fault cost it, or an exchange that did not come to its end.
    is_lost: bool,
}

impl Lease {
    pub fn filter(&self) -> &Rc<WorkerFilter> {
        &self.filter
    }

    pub fn parts(&mut self) -> (&WorkerFilter, &mut Instance) {
        let instance = self.instance.as_mut();
        let instance = instance.expect("only `finish` takes it, and consumes the lease");
        (&self.filter, instance)
    }

    /// Gives it this configuration, if it does not have it yet.
    fn give(&mut self, config: u16) -> Result<(), Failure> {
        let config = usize::from(config);
        let (filter, instance) = self.parts();
        match instance.has(config) {
            true => Ok(()),
            false => create_again(instance, config, &filter.loaded.configs[config].json),
        }
    }

    /// It can be called again.
    pub fn finish(mut self) {
        if self.filter.loaded.isolation == Isolation::Request {
            self.is_lost = false;
            return;
        }
        self.filter.idle.borrow_mut().extend(self.instance.take());
        self.filter.tell_freed();
    }

    /// It can be called again unless this outcome says otherwise: by others, or
    /// where it is for one exchange only, by the one that has it here.
    pub fn settle<T>(mut self, outcome: &Result<T, Failure>) -> Option<Self> {
        let cost_it = |failure: &Failure| !failure.fault.spares_instance();
        self.is_lost = outcome.as_ref().is_err_and(cost_it);
        match self.filter.loaded.isolation {
            _ if self.is_lost => None,
            Isolation::Request => Some(self),
            Isolation::Shared => {
                self.finish();
                None
            }
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.instance.take().is_some() {
            self.filter.made.set(self.filter.made.get() - 1);
            if self.is_lost {
                self.filter.stats().instances_lost.add(1);
            }
            self.filter.tell_freed();
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
