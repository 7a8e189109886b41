//! The calls that filters make, through the clusters' own pools.

use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use bytes::BytesMut;
use http::Method;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::error::{ErrorKind, ProxyError};
use crate::filter::{CallFailed, Inbound, Outbound};
use crate::http::hop;
use crate::upstream::{self, Frame, Progress, RequestBody, Terms, UpstreamRequest, WorkerCluster};

/// Makes the calls that filters ask for, for as long as anybody may ask. `find`
/// gives the cluster of a name, if there still is one. Each call is a task of its
/// own, which ends with its answer, its time, or when nobody waits for the answer
/// any more.
pub async fn serve(
    find: impl Fn(&str) -> Option<Rc<WorkerCluster>>,
    mut asked: mpsc::UnboundedReceiver<Outbound>,
) {
    while let Some(call) = asked.recv().await {
        // Given up before it began: no connection is to pay for that.
        if call.answer.is_closed() {
            continue;
        }
        match find(&call.cluster) {
            Some(cluster) => drop(tokio::task::spawn_local(make(cluster, call))),
            // Who waits may have gone away.
            None => drop(call.answer.send(Err(CallFailed::Denied))),
        }
    }
}

async fn make(cluster: Rc<WorkerCluster>, call: Outbound) {
    let Outbound {
        method,
        path,
        headers,
        body,
        timeout,
        max_bytes,
        mut answer,
        slot: _slot,
        cluster: _,
    } = call;
    let repeatable = method.is_idempotent();
    let is_head = method == Method::HEAD;
    let (sender, body_stream) = match body.is_empty() {
        true => (None, RequestBody::Empty),
        false => {
            let (sender, stream) = upstream::body_channel(Some(body.len() as u64));
            (Some(sender), stream)
        }
    };
    if let Some(mut sender) = sender {
        // The channel is new and has room.
        if sender.try_send(body).is_ok() {
            sender.finish();
        }
    }
    let request = UpstreamRequest {
        method,
        path,
        headers,
        body: body_stream,
        repeatable,
        upgrade: None,
    };
    let max_bytes = if is_head { 0 } else { max_bytes };
    let outcome = {
        let asking = pin!(ask(&cluster, request, timeout, max_bytes));
        tokio::select! {
            biased;
            // Nobody waits any more: the call is cancelled.
            () = answer.closed() => return,
            outcome = tokio::time::timeout(timeout, asking) => outcome,
        }
    };
    // Who waited may have gone away at this moment.
    drop(answer.send(outcome.unwrap_or(Err(CallFailed::Timeout))));
}

async fn ask(
    cluster: &Rc<WorkerCluster>,
    request: UpstreamRequest,
    timeout: Duration,
    max_bytes: usize,
) -> Result<Inbound, CallFailed> {
    let terms = Terms {
        deadline: Instant::now().checked_add(timeout),
        ..Terms::of(&cluster.cluster().config)
    };
    let progress = Progress::default();
    let sent = upstream::forward(cluster, request, &terms, &progress).await;
    let mut answer = sent.map_err(|error| failed(cluster, &error))?;
    let mut body = BytesMut::new();
    while let Some(frame) = answer.body.next_frame().await {
        match frame.map_err(|error| failed(cluster, &error))? {
            Frame::Data(bytes) if body.len() + bytes.len() > max_bytes => {
                return Err(CallFailed::TooLarge);
            }
            Frame::Data(bytes) => body.extend_from_slice(&bytes),
            Frame::Trailers(_) => {}
        }
    }
    hop::remove_hop_by_hop(&mut answer.headers);
    Ok(Inbound {
        status: answer.status,
        headers: answer.headers,
        body: body.into(),
    })
}

fn failed(cluster: &WorkerCluster, error: &ProxyError) -> CallFailed {
    tracing::debug!(%error, cluster = %cluster.name(), "a call of a filter failed");
    match error.kind {
        ErrorKind::ConnectTimeout
        | ErrorKind::TlsTimeout
        | ErrorKind::AnswerTimeout
        | ErrorKind::TryTimeout
        | ErrorKind::UpstreamStalled => CallFailed::Timeout,
        _ => CallFailed::Unavailable,
    }
}
