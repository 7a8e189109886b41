//! Requests to scripted origins over real sockets. Each test says what its
//! origin does, connection by connection; nothing waits for a fixed time.

mod balancing;
mod bodies;
mod breaking;
mod messages;
mod origin;
mod pooling;

use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};

use self::origin::Origin;
use super::*;
use crate::cluster::Cluster;
use crate::config::{
    self, Balance, ClusterProtocol, ClusterTimeouts, Endpoint, EndpointAddress, PingTimes,
    PoolLimits, UpstreamHttp2,
};
use crate::error::{ErrorKind, ProxyError};
use crate::stats::PerWorker;

/// What no test should take. Only a test that fails does.
const LONG: Duration = Duration::from_secs(60);

/// Long enough for anything but what must never come.
const SHORT: Duration = Duration::from_millis(40);

/// Runs a test the way a worker runs exchanges.
fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        tokio::time::timeout(LONG, test)
            .await
            .expect("the test hangs");
    });
}

fn config(addresses: impl IntoIterator<Item = EndpointAddress>) -> config::Cluster {
    config::Cluster {
        name: "origin".into(),
        endpoints: addresses
            .into_iter()
            .map(|address| Endpoint {
                address,
                weight: 1,
                place: Default::default(),
            })
            .collect(),
        targets: None,
        balance: Balance::RoundRobin,
        protocol: ClusterProtocol::Http1,
        tls: None,
        proxy_protocol: None,
        http2: UpstreamHttp2 {
            max_streams: 8,
            stream_window: 1 << 16,
            connection_window: 1 << 20,
            pings: PingTimes {
                every: Duration::from_secs(10),
                timeout: Duration::from_secs(10),
            },
        },
        pool: PoolLimits {
            max_idle: 8,
            idle_timeout: LONG,
            max_lifetime: LONG,
            max_requests: None,
            warm: 0,
        },
        timeouts: ClusterTimeouts {
            connect: LONG,
            tls: None,
            try_timeout: None,
            answer: LONG,
            idle: LONG,
            total: None,
        },
        bounds: Default::default(),
        retry: None,
        retry_budget: Default::default(),
        resolve_every: LONG,
        spread: Default::default(),
        outliers: Default::default(),
        health_checks: Vec::new(),
        socket: Default::default(),
        refused_pause: LONG,
        silent_pause: Duration::from_millis(100),
        max_head_bytes: 16 * 1024,
    }
}

fn open(config: config::Cluster) -> Rc<WorkerCluster> {
    let stats = Arc::new(PerWorker::new(1, Default::default));
    WorkerCluster::carry(&Cluster::new(config, None, stats), None, 0)
}

/// A cluster of one origin.
fn cluster(origin: &Origin) -> Rc<WorkerCluster> {
    open(config([origin.address()]))
}

fn request(method: Method, body: RequestBody) -> UpstreamRequest {
    let mut headers = HeaderMap::new();
    headers.insert("host", HeaderValue::from_static("origin"));
    UpstreamRequest {
        repeatable: method.is_idempotent(),
        method,
        path: "/path?query".parse().unwrap(),
        headers,
        body,
        upgrade: None,
    }
}

fn get() -> UpstreamRequest {
    request(Method::GET, RequestBody::Empty)
}

/// With the cluster's own timeouts.
async fn ask(cluster: &Rc<WorkerCluster>, request: UpstreamRequest) -> Result<Answer, ProxyError> {
    ask_telling(cluster, request, &Progress::default()).await
}

async fn ask_telling(
    cluster: &Rc<WorkerCluster>,
    request: UpstreamRequest,
    progress: &Progress,
) -> Result<Answer, ProxyError> {
    let terms = Terms::of(&cluster.cluster().config);
    forward(cluster, request, &terms, progress).await
}

async fn ask_kind(cluster: &Rc<WorkerCluster>, request: UpstreamRequest) -> ErrorKind {
    ask(cluster, request)
        .await
        .expect_err("no answer wanted")
        .kind
}

/// The whole body, and its trailers.
async fn read(mut body: Box<AnswerBody>) -> Result<(Bytes, Option<HeaderMap>), ProxyError> {
    let mut whole = Vec::new();
    let mut trailers = None;
    while let Some(frame) = body.next_frame().await {
        match frame? {
            Frame::Data(data) => whole.extend_from_slice(&data),
            Frame::Trailers(fields) => trailers = Some(fields),
        }
    }
    Ok((whole.into(), trailers))
}

/// Asks and reads a whole answer.
async fn fetch(cluster: &Rc<WorkerCluster>, request: UpstreamRequest) -> (u16, String, bool) {
    let answer = ask(cluster, request).await.unwrap();
    let (status, reused) = (answer.status.as_u16(), answer.reused);
    let (body, _) = read(answer.body).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap(), reused)
}
