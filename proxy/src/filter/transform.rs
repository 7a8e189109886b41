//! A body on its way through a filter, piece by piece.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use wasmtime::component::ResourceAny;

use super::call::{Call, Phase};
use super::chain::{self, FilterFailed};
use super::fault::Failure;
use super::instance::Instance;
use super::pool::Lease;
use super::verdict::check_output;
use super::view::{Lendable, View};

/// A transform that a filter made in one of its instances. The instance is its
/// own until the body's end, so that whatever goes wrong costs no other
/// exchange. Dropped before, the instance is discarded.
pub struct Transform {
    /// Gone once it has ended or failed.
    lease: Option<Lease>,
    handle: ResourceAny,
    call: Call,
}

impl Transform {
    pub(super) fn new(lease: Lease, handle: ResourceAny, call: Call) -> Self {
        Self {
            lease: Some(lease),
            handle,
            call: Call {
                phase: Phase::Transform,
                ..call
            },
        }
    }

    /// Gives a piece to the filter and what it has ready, possibly nothing.
    ///
    /// A failure ends the message, whatever `on_error` says: what it has given
    /// so far is on its way, and what it holds back is lost.
    pub fn push(&mut self, chunk: &[u8], view: &mut Lendable) -> Result<Bytes, FilterFailed> {
        let handle = self.handle;
        if let Some(lease) = &self.lease {
            lease.filter().stats().body_bytes_in.add(chunk.len() as u64);
        }
        self.run(view, |instance| instance.push(handle, chunk))
    }

    /// The body is over: gives what is left.
    pub fn finish(&mut self, view: &mut Lendable) -> Result<Bytes, FilterFailed> {
        let handle = self.handle;
        let left = self.run(view, |instance| instance.finish(handle));
        if let Some(lease) = self.lease.take() {
            lease.finish();
        }
        left
    }

    /// For a message that has no body to pass through it.
    pub fn let_go(mut self, view: &View) {
        let Some(mut lease) = self.lease.take() else {
            return;
        };
        match lease.parts().1.let_go(self.handle) {
            Ok(()) => lease.finish(),
            Err(failure) => chain::complain(lease.filter(), &failure, view),
        }
    }

    fn run(
        &mut self,
        view: &mut Lendable,
        work: impl FnOnce(&mut Instance) -> Result<Vec<u8>, Failure>,
    ) -> Result<Bytes, FilterFailed> {
        let Some(lease) = &mut self.lease else {
            return Ok(Bytes::new());
        };
        let max_bytes = lease.filter().loaded().owner.limits.max_output_bytes;
        let given = self.call.lend(lease, view, work);
        let given = given.and_then(|given| check_output(given, max_bytes));
        // There is nothing that could be held.
        view.decisions.delay = Duration::ZERO;
        match given {
            Ok(given) => {
                let stats = lease.filter().stats();
                stats.body_bytes_out.add(given.len() as u64);
                Ok(Bytes::from(given))
            }
            Err(failure) => {
                let filter = lease.filter().clone();
                // A transform that failed may not be called again.
                self.lease = None;
                let name = filter.loaded().name();
                view.tell_verdict(self.call.place, name, failure.fault.name());
                chain::complain(&filter, &failure, view);
                Err(chain::broken(&filter, failure))
            }
        }
    }
}

impl fmt::Debug for Transform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transform")
            .field("call", &self.call)
            .finish_non_exhaustive()
    }
}
