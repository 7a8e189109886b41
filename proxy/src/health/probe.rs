//! One check of one endpoint, on a connection of its own.
//!
//! It is sent as a request is, by a cluster of that endpoint alone, of which no worker
//! knows: what it is answered says nothing to balancing.

use std::iter::{once, successors};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HOST, TE, USER_AGENT};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use memchr::memmem;

use crate::cluster::{Cluster, Endpoint, Found};
use crate::config::{self, Check, HealthCheck, HttpCheck};
use crate::error::ProxyError;
use crate::stats::{ClusterStats, PerWorker};
use crate::upstream::{
    Answer, ConnectTimes, Frame, Progress, RequestBody, Terms, UpstreamRequest, WorkerCluster,
    body_channel, forward, reach_opaque,
};

/// What an answer's body is looked at, at most.
const MAX_BODY: usize = 64 * 1024;

const MAX_HEAD: usize = 64 * 1024;

/// With which an endpoint says that others should be preferred, ours and Envoy's.
const DEGRADED: [HeaderName; 2] = [
    HeaderName::from_static("lockgate-degraded"),
    HeaderName::from_static("x-envoy-degraded"),
];

/// What an endpoint that passed has said of itself; or why it did not pass.
pub type Outcome = Result<Said, String>;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Said {
    pub is_degraded: bool,
}

impl Said {
    fn by(answer: &Answer) -> Self {
        let is_there = |name| answer.headers.contains_key(name);
        Self {
            is_degraded: DEGRADED.iter().any(is_there),
        }
    }
}

/// How the endpoints of a cluster are asked.
pub struct Probe {
    cluster: Arc<Cluster>,
    /// For a cluster of one endpoint.
    template: config::Cluster,
    stats: Arc<PerWorker<ClusterStats>>,
}

impl Probe {
    pub fn new(cluster: &Arc<Cluster>) -> Self {
        let template = config::Cluster {
            endpoints: Vec::new(),
            health_checks: Vec::new(),
            balance: config::Balance::RoundRobin,
            // Neither limits nor another try: a check is to see how the endpoint is.
            bounds: config::ClusterBounds::default(),
            retry: None,
            spread: config::Spread::default(),
            max_head_bytes: cluster.config.max_head_bytes.min(MAX_HEAD),
            ..cluster.config.clone()
        };
        Self {
            cluster: cluster.clone(),
            template,
            stats: Arc::new(PerWorker::new(1, Default::default)),
        }
    }

    pub fn checks(&self) -> &Vec<HealthCheck> {
        &self.cluster.config.health_checks
    }

    pub fn is_of(&self, cluster: &Arc<Cluster>) -> bool {
        Arc::ptr_eq(&self.cluster, cluster)
    }

    /// Whether the endpoints of that cluster are asked the same, and in the same way.
    pub fn asks_like(&self, cluster: &Cluster) -> bool {
        let own = &self.cluster;
        let has_same_tls = match (&own.tls, &cluster.tls) {
            (Some(own), Some(other)) => Arc::ptr_eq(own, other),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        has_same_tls
            && own.config.health_checks == cluster.config.health_checks
            && own.config.connects_like(&cluster.config)
    }

    /// Dropping it closes the connection.
    pub async fn ask(&self, endpoint: &Endpoint, check: usize) -> Outcome {
        let check = &self.checks()[check];
        let asking = async {
            match &check.what {
                Check::Tcp => self.connect(endpoint, check.timeout).await,
                Check::Http(http) => self.http(endpoint, http, check.timeout).await,
                Check::Grpc { service } => self.grpc(endpoint, service, check.timeout).await,
            }
        };
        match tokio::time::timeout(check.timeout, asking).await {
            Ok(outcome) => outcome,
            Err(_) => Err("timeout".to_owned()),
        }
    }

    async fn connect(&self, endpoint: &Endpoint, timeout: Duration) -> Outcome {
        let worker = self.alone(endpoint, timeout);
        let times = ConnectTimes::of(&worker.cluster().config);
        let reached = reach_opaque(&worker, times, &Progress::default()).await;
        reached
            .map(|_| Said::default())
            .map_err(|error| told(&error))
    }

    async fn http(&self, endpoint: &Endpoint, check: &HttpCheck, timeout: Duration) -> Outcome {
        let mut headers = check.headers.clone();
        let host = check.host.clone();
        headers.insert(HOST, host.unwrap_or_else(|| self.host(endpoint)));
        let asked = request(check.method.clone(), check.path.clone(), headers);
        let mut answer = self.send(endpoint, asked, timeout).await?;
        if !check
            .status
            .iter()
            .any(|good| good.contains(&answer.status.as_u16()))
        {
            return Err(format!("status {}", answer.status.as_u16()));
        }
        if let Some(wanted) = &check.body {
            let body = read(&mut answer, MAX_BODY).await?;
            if memmem::find(&body.bytes, wanted.as_bytes()).is_none() {
                return Err("the body is another".to_owned());
            }
        }
        Ok(Said::by(&answer))
    }

    /// `grpc.health.v1.Health/Check`.
    async fn grpc(&self, endpoint: &Endpoint, service: &str, timeout: Duration) -> Outcome {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, self.host(endpoint));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(TE, HeaderValue::from_static("trailers"));
        let path = PathAndQuery::from_static("/grpc.health.v1.Health/Check");
        let (mut sender, body) = body_channel(None);
        let asked = UpstreamRequest {
            body,
            ..request(Method::POST, path, headers)
        };
        // There is room for one chunk from the beginning.
        sender.send(message(service)).await.ok();
        sender.finish();
        let mut answer = self.send(endpoint, asked, timeout).await?;
        if answer.status != StatusCode::OK {
            return Err(format!("status {}", answer.status.as_u16()));
        }
        let body = read(&mut answer, MAX_BODY).await?;
        let fields = [&body.trailers, &answer.headers];
        let status = fields.iter().find_map(|fields| fields.get("grpc-status"));
        match status.map(HeaderValue::as_bytes) {
            Some(b"0") => {}
            Some(status) => {
                let status: String = String::from_utf8_lossy(status).chars().take(8).collect();
                return Err(format!("grpc-status {status}"));
            }
            None => return Err("no grpc-status".to_owned()),
        }
        match serving(&body.bytes) {
            Some(1) => Ok(Said::by(&answer)),
            Some(2) => Err("not serving".to_owned()),
            Some(3) => Err("an unknown service".to_owned()),
            Some(_) => Err("an unknown health".to_owned()),
            None => Err("an answer that is none".to_owned()),
        }
    }

    async fn send(
        &self,
        endpoint: &Endpoint,
        asked: UpstreamRequest,
        timeout: Duration,
    ) -> Result<Answer, String> {
        let worker = self.alone(endpoint, timeout);
        let terms = Terms::of(&worker.cluster().config);
        let answer = forward(&worker, asked, &terms, &Progress::default()).await;
        answer.map_err(|error| told(&error))
    }

    /// A cluster of this endpoint.
    fn alone(&self, endpoint: &Endpoint, timeout: Duration) -> Rc<WorkerCluster> {
        let mut config = self.template.clone();
        config.timeouts = config::ClusterTimeouts {
            connect: timeout,
            tls: None,
            try_timeout: None,
            answer: timeout,
            idle: timeout,
            total: None,
        };
        let tls = self.cluster.tls.clone();
        let cluster = Cluster::new(config, tls, self.stats.clone());
        cluster.replace_endpoints([Found::from(endpoint)]);
        WorkerCluster::carry(&cluster, None, 0)
    }

    fn host(&self, endpoint: &Endpoint) -> HeaderValue {
        let tls = self.template.tls.as_ref();
        let host = match tls {
            Some(tls) => tls.sni.as_ref().unwrap_or(&endpoint.tls_name).to_str(),
            None => (&*endpoint.label).into(),
        };
        HeaderValue::try_from(&*host).unwrap_or(HeaderValue::from_static("localhost"))
    }
}

fn request(method: Method, path: PathAndQuery, mut headers: HeaderMap) -> UpstreamRequest {
    headers
        .entry(USER_AGENT)
        .or_insert(HeaderValue::from_static("lockgate-health"));
    UpstreamRequest {
        method,
        path,
        headers,
        body: RequestBody::Empty,
        repeatable: false,
        upgrade: None,
    }
}

#[derive(Default)]
struct Read {
    bytes: BytesMut,
    trailers: HeaderMap,
}

/// The body, or its beginning.
async fn read(answer: &mut Answer, most: usize) -> Result<Read, String> {
    let mut read = Read::default();
    while let Some(frame) = answer.body.next_frame().await {
        match frame.map_err(|error| told(&error))? {
            Frame::Data(piece) => {
                let room = most - read.bytes.len();
                read.bytes.put_slice(&piece[..piece.len().min(room)]);
                if read.bytes.len() == most {
                    return Ok(read);
                }
            }
            Frame::Trailers(trailers) => read.trailers = trailers,
        }
    }
    Ok(read)
}

/// A `HealthCheckRequest` as gRPC sends it: not compressed, its length, field 1.
fn message(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        message.put_u8(0x0a);
        put_varint(&mut message, service.len() as u64);
        message.put_slice(service.as_bytes());
    }
    let mut framed = BytesMut::with_capacity(5 + message.len());
    framed.put_u8(0);
    framed.put_u32(message.len() as u32);
    framed.put_slice(&message);
    framed.freeze()
}

fn put_varint(bytes: &mut BytesMut, mut number: u64) {
    while number >= 0x80 {
        bytes.put_u8(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.put_u8(number as u8);
}

/// The status of a `HealthCheckResponse`: field 1, and 0 where it is left out. Other fields
/// would be of a later version, and none is known.
fn serving(bytes: &[u8]) -> Option<u64> {
    let ([0, a, b, c, d], rest) = bytes.split_first_chunk()? else {
        return None;
    };
    let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
    let message = rest.get(..length)?;
    match message {
        [] => Some(0),
        [0x08, status] if *status < 0x80 => Some((*status).into()),
        _ => None,
    }
}

/// The error's kind and its causes.
fn told(error: &ProxyError) -> String {
    let causes = successors(std::error::Error::source(error), |&cause| cause.source());
    let words = once(error.kind.name().to_owned()).chain(causes.map(ToString::to_string));
    words.collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_of_grpc_is_framed() {
        assert_eq!(&message("")[..], b"\0\0\0\0\0");
        assert_eq!(&message("a.B")[..], b"\0\0\0\0\x05\x0a\x03a.B");
        assert_eq!(message(&"x".repeat(300)).len(), 5 + 3 + 300);
    }

    #[test]
    fn answers_of_grpc_are_read_strictly() {
        assert_eq!(serving(b"\0\0\0\0\x02\x08\x01"), Some(1));
        assert_eq!(serving(b"\0\0\0\0\x02\x08\x02"), Some(2));
        assert_eq!(serving(b"\0\0\0\0\0"), Some(0));
        assert_eq!(serving(b"\x01\0\0\0\x02\x08\x01"), None);
        assert_eq!(serving(b"\0\xff\xff\xff\xff\x08\x01"), None);
        assert_eq!(serving(b"\0\0\0\0\x02\x08\x81"), None);
        assert_eq!(serving(b"\0\0"), None);
        assert_eq!(serving(b""), None);
    }
}
