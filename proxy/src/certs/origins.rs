//! Endpoints, asked live.

use std::error::Error as StdError;
use std::iter::{once, successors};
use std::sync::Arc;
use std::time::Duration;

use http::header::{HOST, USER_AGENT};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method};
use tokio::time::timeout;

use super::new::New;
use crate::cluster::{Cluster, Endpoint, Found, Resolver};
use crate::config::{self, ClusterTls, Config, Dns, Name, Verify};
use crate::error::{ErrorKind, ProxyError};
use crate::stats::PerWorker;
use crate::tls;
use crate::upstream::{Progress, RequestBody, Terms, UpstreamRequest, WorkerCluster, forward};

/// Endpoints that are asked at the same time.
const AT_ONCE: usize = 32;

/// For an endpoint.
const LIMIT: Duration = Duration::from_secs(10);
const LATE: &str = "it came to no end within 10 seconds";

/// To the head of an answer, so that one who has nothing to say behind TLS leaves time
/// for that to be told.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// What came of one endpoint.
#[derive(Debug)]
pub struct Asked {
    pub cluster: Name,
    pub endpoint: Name,
    pub fate: Fate,
}

/// What would become of its connections.
#[derive(Debug)]
pub enum Fate {
    Good,
    /// It speaks TLS, and behind that no HTTP, as with what is new: with how it answers.
    GoodByTls(String),
    /// With why.
    WouldFail(String),
    /// It fails as things are, and would fail then.
    FailsAlready(String),
    /// It cannot be asked.
    Unknown(String),
}

/// Asks every endpoint that what is new is about: of clusters with TLS that verify, for
/// roots; of those that have a certificate, for one. `only` names clusters, or all where it
/// is empty. To be called on a `LocalSet`.
pub async fn ask(config: &Config, new: &New, only: &[String]) -> Vec<Asked> {
    let mut questions = Vec::new();
    let mut all = Vec::new();
    for cluster in &config.clusters {
        let is_meant = only.is_empty() || only.iter().any(|name| **name == *cluster.name);
        let Some(then) = is_meant.then(|| then(cluster, new)).flatten() else {
            continue;
        };
        let (endpoints, unresolved) = endpoints(cluster, &config.dns).await;
        all.extend(unresolved);
        let then = Arc::new(then);
        questions.extend(
            endpoints
                .into_iter()
                .map(|endpoint| (cluster.clone(), then.clone(), endpoint)),
        );
    }
    let mut questions = questions.into_iter();
    loop {
        let batch = questions.by_ref().take(AT_ONCE);
        let batch: Vec<_> = batch
            .map(|(now, then, endpoint)| tokio::task::spawn_local(ask_one(now, then, endpoint)))
            .collect();
        if batch.is_empty() {
            return all;
        }
        for asking in batch {
            all.push(
                asking
                    .await
                    .expect("asking does not panic, and nobody aborts it"),
            );
        }
    }
}

/// The cluster with what is new, if that is about it.
fn then(cluster: &config::Cluster, new: &New) -> Option<config::Cluster> {
    let tls = cluster.tls.as_ref()?;
    let tls = match new {
        New::Roots(new) => match &tls.verify {
            Verify::Nothing => return None,
            Verify::Peer { names, .. } => ClusterTls {
                verify: Verify::Peer {
                    roots: new.clone(),
                    names: names.clone(),
                },
                ..tls.clone()
            },
        },
        New::Certificate(new) => {
            tls.certificate.as_ref()?;
            ClusterTls {
                certificate: Some((**new).clone()),
                ..tls.clone()
            }
        }
    };
    Some(config::Cluster {
        tls: Some(tls),
        ..cluster.clone()
    })
}

async fn endpoints(config: &config::Cluster, dns: &Dns) -> (Vec<Arc<Endpoint>>, Vec<Asked>) {
    let cluster = Cluster::new(config.clone(), None, stats());
    let mut unresolved = Vec::new();
    if let Some(mut resolver) = Resolver::new(&cluster, dns) {
        for failure in resolver.refresh().await {
            unresolved.push(Asked {
                cluster: failure.cluster.clone(),
                endpoint: failure.host.as_str().into(),
                fate: Fate::Unknown(format!("it cannot be resolved: {}", failure.source)),
            });
        }
    }
    (cluster.endpoints.load().endpoints.to_vec(), unresolved)
}

async fn ask_one(
    now: config::Cluster,
    then: Arc<config::Cluster>,
    endpoint: Arc<Endpoint>,
) -> Asked {
    let (name, label) = (now.name.clone(), endpoint.label.clone());
    let before = status(now, &endpoint);
    let after = status((*then).clone(), &endpoint);
    let (before, after) = tokio::join!(timeout(LIMIT, before), timeout(LIMIT, after));
    let late = |_| Err(ProxyError::because(ErrorKind::TotalTimeout, LATE));
    let (before, after) = (before.unwrap_or_else(late), after.unwrap_or_else(late));
    Asked {
        cluster: name,
        endpoint: label,
        fate: judge(before, after),
    }
}

/// What is new is TLS, so an endpoint that goes no further is judged by that.
fn judge(before: Result<u16, ProxyError>, after: Result<u16, ProxyError>) -> Fate {
    match (before, after) {
        // Some refuse a certificate in HTTP's words.
        (Ok(before), Ok(after)) if before != after && (400..500).contains(&after) => {
            Fate::WouldFail(format!("it answers {after}, and {before} as things are"))
        }
        (_, Ok(_)) => Fate::Good,
        (Ok(_), Err(error)) => Fate::WouldFail(told(&error)),
        (Err(_), Err(error)) if has_tls(error.kind) => Fate::GoodByTls(told(&error)),
        (Err(before), Err(error)) if error.kind == ErrorKind::UpstreamTlsFailed => {
            match has_tls(before.kind) {
                true => Fate::WouldFail(told(&error)),
                false => Fate::FailsAlready(told(&error)),
            }
        }
        (Err(_), Err(error)) => Fate::Unknown(told(&error)),
    }
}

/// Whether this goes wrong only behind a handshake, and is no alert.
fn has_tls(kind: ErrorKind) -> bool {
    use ErrorKind::{AnswerTimeout, AnswerTooLarge, BadAnswer, UpstreamReset};
    matches!(
        kind,
        AnswerTimeout | AnswerTooLarge | BadAnswer | UpstreamReset
    )
}

/// What it answers to a HEAD, by this TLS.
async fn status(config: config::Cluster, endpoint: &Endpoint) -> Result<u16, ProxyError> {
    let internal = |error| ProxyError::with(ErrorKind::Internal, error);
    let tls = config.tls.as_ref().map(tls::Client::build);
    let tls = tls.transpose().map_err(internal)?;
    let asked = request(&config, endpoint);
    let cluster = Cluster::new(config, tls, stats());
    cluster.replace_endpoints([Found::from(endpoint)]);
    let worker = WorkerCluster::carry(&cluster, None, 0);
    let configured = Terms::of(&cluster.config);
    // What is asked is one endpoint.
    let terms = Terms {
        retry: None,
        answer: configured.answer.min(ANSWER_LIMIT),
        ..configured
    };
    let answer = forward(&worker, asked, &terms, &Progress::default()).await?;
    Ok(answer.status.as_u16())
}

fn request(config: &config::Cluster, endpoint: &Endpoint) -> UpstreamRequest {
    let sni = config.tls.as_ref().and_then(|tls| tls.sni.as_ref());
    let name = sni.unwrap_or(&endpoint.tls_name);
    let host = HeaderValue::try_from(&*name.to_str());
    let mut headers = HeaderMap::new();
    headers.insert(HOST, host.unwrap_or(HeaderValue::from_static("localhost")));
    headers.insert(
        USER_AGENT,
        HeaderValue::from_static("lockgate-certs-rehearse"),
    );
    UpstreamRequest {
        method: Method::HEAD,
        path: PathAndQuery::from_static("/"),
        headers,
        body: RequestBody::Empty,
        repeatable: true,
        upgrade: None,
    }
}

fn stats() -> Arc<PerWorker<crate::stats::ClusterStats>> {
    Arc::new(PerWorker::new(1, Default::default))
}

fn told(error: &ProxyError) -> String {
    let causes = successors(error.source(), |&cause| cause.source());
    let words = once(error.kind.name().to_owned()).chain(causes.map(ToString::to_string));
    words.collect::<Vec<_>>().join(": ")
}
