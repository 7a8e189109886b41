//! The next instance of a filter, made away from the worker that will need it.

use std::sync::atomic::{AtomicBool, Ordering::AcqRel, Ordering::Release};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tokio::sync::Notify;

use super::fault::{Failure, FilterFault};
use super::loaded::LoadedFilter;
use super::priority::yield_to_workers;

/// Makes instances of one filter for one worker, one at a time.
#[derive(Debug, Default)]
pub(super) struct Ahead(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    is_under_way: AtomicBool,
    /// Why there is none, for the call that waits for one.
    failure: Mutex<Option<Failure>>,
}

impl Ahead {
    /// One more, unless one is under way. Who waits is told when it is there, or cannot be.
    pub fn make(&self, filter: &Arc<LoadedFilter>, freed: &Arc<Notify>) {
        if self.0.is_under_way.swap(true, AcqRel) {
            return;
        }
        let (filter, freed) = (filter.clone(), freed.clone());
        let shared = self.0.clone();
        let make = move || {
            yield_to_workers();
            let made = filter.refill();
            shared.is_over(made.err());
            freed.notify_one();
        };
        // One of its own, since a thread that gave way once does so for good.
        let began = thread::Builder::new().name("instances".into()).spawn(make);
        if let Err(error) = began {
            let why = format!("no thread to make one: {error}");
            self.0
                .is_over(Some(Failure::new(FilterFault::NoInstance, why)));
        }
    }

    /// Why the last one could not be made, told once.
    pub fn failure(&self) -> Option<Failure> {
        self.0.failure().take()
    }
}

impl Shared {
    fn is_over(&self, failure: Option<Failure>) {
        *self.failure() = failure;
        self.is_under_way.store(false, Release);
    }

    fn failure(&self) -> std::sync::MutexGuard<'_, Option<Failure>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
