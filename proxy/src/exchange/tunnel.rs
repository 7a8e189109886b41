//! An exchange whose connection goes on in another protocol: bytes in both directions
//! until one side ends it, or its time is up.
//!
//! It holds no generation, but for filters that want to know of its end: so it goes on
//! through every reload, and what was replaced is gone all the same.

use std::rc::Rc;
use std::sync::Arc;

use bytes::BytesMut;
use http::HeaderMap;

use super::begin::Asked;
use super::bounds::Bounds;
use super::relay::{Side, relay};
use super::{Local, Over, Scene, tell};
use crate::drain::Watcher;
use crate::filter::timeouts::Timed;
use crate::listener::Socket;
use crate::pump::Passed;
use crate::snapshot::{Listener, WorkerSnapshot};
use crate::stats::Gauge;
use crate::upstream::Opaque;

/// What goes on, and what is told of it when it is over.
pub struct Tunnel {
    origin: Opaque,
    asked: Asked,
    over: Over,
    listener: Arc<Listener>,
    /// For filters that want to know of its end.
    held: Option<Rc<WorkerSnapshot>>,
    bounds: Bounds,
}

impl Tunnel {
    pub(super) fn begin(
        scene: &Scene<'_>,
        socket: &Arc<Socket>,
        asked: Asked,
        mut over: Over,
        origin: Opaque,
    ) -> Self {
        let course = &mut over.course;
        let chain = &scene.listener.chain;
        let is_awaited = chain.keep_for_done(&course.view, &mut course.taken);
        let view = &mut *course.view;
        if !is_awaited {
            // Nobody looks at it any more.
            view.request.headers = HeaderMap::new();
            view.response = None;
            view.states = Vec::new();
            view.calls = None;
        }
        let idle = view.decisions.timeouts[Timed::Idle];
        Self {
            origin,
            asked,
            over,
            listener: scene.listener.shared.clone(),
            held: is_awaited.then(|| scene.snapshot.clone()),
            bounds: Bounds::of_upgrade(scene.local, scene.snapshot, socket, idle),
        }
    }

    /// Passes bytes on until it is over; `read` was read of the client before. Dropped
    /// before, both sides are closed, and nothing is recorded.
    pub async fn run(
        self,
        local: &Local,
        watcher: &Watcher,
        (client, read): (impl Side, BytesMut),
    ) {
        let Self {
            origin,
            asked,
            mut over,
            listener,
            held,
            mut bounds,
        } = self;
        let stats = listener.stats.of(local.worker);
        let _open = Open::new(&stats.tunnels_active);
        let mut passed = Passed::default();
        let count = |now: Passed| {
            stats.bytes_in.add(now.up - passed.up);
            stats.bytes_out.add(now.down - passed.down);
            passed = now;
        };
        let outcome = relay((client, read), origin, watcher, &mut bounds, count).await;
        if let Err(error) = outcome {
            over.facts.error.get_or_insert(error);
        }
        let Over {
            course,
            sent,
            facts,
        } = &mut over;
        course.view.request_bytes = passed.up;
        course.view.response_bytes = passed.down;
        sent.duration = course.view.started.elapsed();
        let held = held.as_deref().zip(listener.socket.as_ref());
        if let Some(listener) = held.and_then(|(held, socket)| held.listener(socket)) {
            listener.chain.on_done(&mut course.view, &mut course.taken);
        }
        tell::tell(&local.log, stats, &asked, &course.view, sent, facts);
    }
}

/// Counts it among those that are open.
struct Open<'a>(&'a Gauge);

impl<'a> Open<'a> {
    fn new(gauge: &'a Gauge) -> Self {
        gauge.add(1);
        Self(gauge)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.sub(1);
    }
}
