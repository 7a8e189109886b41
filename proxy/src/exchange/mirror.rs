//! Copies of a request, sent elsewhere and forgotten.
//!
//! A copy has its own connection, its own time and its own small buffer. It is
//! fed without waiting: what it cannot take at once ends it, never the original.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;

use super::Local;
use crate::filter::Mirror;
use crate::http::RequestHead;
use crate::upstream::{
    self, BodySender, Progress, RequestBody, Terms, UpstreamRequest, WorkerCluster,
};

/// Copies that one worker has under way at once; further ones are not made.
const MAX_COPIES: usize = 256;
/// From a copy's start to its end.
const TOTAL: Duration = Duration::from_secs(30);
/// How far a copy may lag behind, in pieces of a body.
const LAG: usize = 16;
/// The feeding end of a copy. Dropped unfinished, the copy is cut off.
pub struct Copy {
    body: Option<BodySender>,
}

impl Copy {
    /// Starts a copy; `None` when there are too many already.
    pub fn start(
        local: &Rc<Local>,
        cluster: &Rc<WorkerCluster>,
        head: &RequestHead,
        headers: HeaderMap,
        mirror: &Mirror,
        body: BodyKind,
    ) -> Option<Self> {
        let stats = cluster.stats();
        if local.copies.get() >= MAX_COPIES {
            stats.copies_refused.add(1);
            return None;
        }
        stats.copies.add(1);
        let (sender, body) = match body {
            BodyKind::Empty => (None, RequestBody::Empty),
            BodyKind::Stream(length) => {
                let (sender, body) = upstream::body_channel_of(length, LAG);
                (Some(sender), body)
            }
        };
        let request = UpstreamRequest {
            method: head.method.clone(),
            path: head.path.clone(),
            headers: with_fields(headers, mirror),
            body,
            repeatable: false,
            upgrade: None,
        };
        let counted = Counted::new(local.clone());
        let cluster = cluster.clone();
        // Owned by the worker's task set, and over after `TOTAL` at the latest.
        tokio::task::spawn_local(async move {
            let _counted = counted;
            send(&cluster, request).await;
        });
        Some(Self { body: sender })
    }

    pub fn offer(&mut self, bytes: &Bytes) {
        if let Some(sender) = &mut self.body
            && sender.try_send(bytes.clone()).is_err()
        {
            // Dropping the sender unfinished aborts the copy.
            self.body = None;
        }
    }

    pub fn trailers(self, trailers: &HeaderMap) {
        if let Some(sender) = self.body {
            sender.trailers(trailers.clone());
        }
    }

    pub fn finish(self) {
        if let Some(sender) = self.body {
            sender.finish();
        }
    }
}

/// Whether there is a body to be copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyKind {
    Empty,
    /// With its length, where it is known.
    Stream(Option<u64>),
}

fn with_fields(mut headers: HeaderMap, mirror: &Mirror) -> HeaderMap {
    for (name, value) in &mirror.headers {
        headers.insert(name, value.clone());
    }
    headers
}

async fn send(cluster: &Rc<WorkerCluster>, request: UpstreamRequest) {
    // Nobody waits for a copy.
    let terms = Terms {
        retry: None,
        ..Terms::of(&cluster.cluster().config)
    };
    let sent = tokio::time::timeout(TOTAL, async {
        let mut answer = upstream::forward(cluster, request, &terms, &Progress::default()).await?;
        // Read to its end, so that the connection can be used again.
        while let Some(frame) = answer.body.next_frame().await {
            frame?;
        }
        Ok::<_, crate::error::ProxyError>(())
    });
    match sent.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            cluster.stats().copies_failed.add(1);
            tracing::debug!(%error, cluster = %cluster.name(), "a copy failed");
        }
        Err(_) => cluster.stats().copies_failed.add(1),
    }
}

/// Counts a copy among its worker's for as long as it lives.
struct Counted(Rc<Local>);

impl Counted {
    fn new(local: Rc<Local>) -> Self {
        local.copies.set(local.copies.get() + 1);
        Self(local)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.copies.set(self.0.copies.get() - 1);
    }
}
