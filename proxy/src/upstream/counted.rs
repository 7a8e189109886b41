//! What counts a connection to an endpoint, for as long as it is there.

use std::cell::Cell;
use std::rc::Rc;

use super::admission::Taken;
use super::pool::{Pool, WorkerEndpoint};

/// Held by its socket.
pub(super) struct Counted {
    _of_cluster: Taken,
    /// Of the endpoint, on this worker.
    open: Rc<Cell<u32>>,
}

impl Counted {
    pub fn new(of_cluster: Taken, endpoint: &WorkerEndpoint) -> Self {
        let open = Rc::clone(&endpoint.open);
        open.set(open.get() + 1);
        Self {
            _of_cluster: of_cluster,
            open,
        }
    }

    /// One that nobody waits for, where there is room, of which a worker has no more than its
    /// share: those that it does not need would be wanted by others.
    pub fn ahead(pool: &Pool, endpoint: &WorkerEndpoint) -> Option<Self> {
        let of_cluster = Taken::ahead(&pool.admission)?;
        Some(Self::new(of_cluster, endpoint))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.open.set(self.open.get() - 1);
    }
}
