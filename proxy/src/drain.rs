//! How the connections of a worker hear that they should end.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::Duration;

use tokio::time::Instant;

/// What a worker's connections watch. Only its own thread touches it.
#[derive(Default)]
pub struct Drain {
    draining: Cell<bool>,
    cut_off: Cell<bool>,
    last_request: Cell<Option<Instant>>,
    connections: Cell<usize>,
    waiting: RefCell<Waiting>,
}

#[derive(Default)]
struct Waiting {
    wakers: Vec<Option<Waker>>,
    free: Vec<usize>,
}

impl Drain {
    /// From now on connections end after the exchange they are in. Those without one wait
    /// so long for their last request.
    pub fn begin(&self, patience: Duration) {
        self.last_request.set(Some(Instant::now() + patience));
        self.draining.set(true);
        self.wake();
    }

    pub fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Until when a connection without a request waits for its last one.
    pub fn last_request(&self) -> Option<Instant> {
        self.last_request.get()
    }

    /// The time is up: exchanges end where they are.
    pub fn cut_off(&self) {
        self.cut_off.set(true);
        self.wake();
    }

    pub fn is_cut_off(&self) -> bool {
        self.cut_off.get()
    }

    /// Lets every connection look again at whether it should go on.
    pub fn wake(&self) {
        for waker in self.waiting.borrow().wakers.iter().flatten() {
            waker.wake_by_ref();
        }
    }

    /// Connections that are open.
    pub fn connections(&self) -> usize {
        self.connections.get()
    }
}

/// A task's place among those that a drain wakes. Dropping it leaves.
pub struct Watcher {
    drain: Rc<Drain>,
    slot: usize,
    is_connection: bool,
}

impl Watcher {
    /// Of the task of a connection, for which a drain waits.
    pub fn of_connection(drain: Rc<Drain>) -> Self {
        drain.connections.update(|count| count + 1);
        Self::new(drain, true)
    }

    /// Of a task that a connection has for one of its exchanges.
    pub fn of_stream(drain: Rc<Drain>) -> Self {
        Self::new(drain, false)
    }

    fn new(drain: Rc<Drain>, is_connection: bool) -> Self {
        let mut waiting = drain.waiting.borrow_mut();
        let slot = waiting.free.pop().unwrap_or(waiting.wakers.len());
        if slot == waiting.wakers.len() {
            waiting.wakers.push(None);
        }
        drop(waiting);
        Self {
            drain,
            slot,
            is_connection,
        }
    }

    /// Whether the worker is draining; if not, the task is woken once it is.
    pub fn poll_draining(&self, context: &mut Context<'_>) -> bool {
        self.attend(context);
        self.drain.is_draining()
    }

    /// Has this task woken when there is something to hear.
    pub fn attend(&self, context: &Context<'_>) {
        let mut waiting = self.drain.waiting.borrow_mut();
        let place = &mut waiting.wakers[self.slot];
        if !place
            .as_ref()
            .is_some_and(|waker| waker.will_wake(context.waker()))
        {
            *place = Some(context.waker().clone());
        }
    }

    pub fn is_draining(&self) -> bool {
        self.drain.is_draining()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let mut waiting = self.drain.waiting.borrow_mut();
        waiting.wakers[self.slot] = None;
        waiting.free.push(self.slot);
        if self.is_connection {
            self.drain.connections.update(|count| count - 1);
        }
    }
}
