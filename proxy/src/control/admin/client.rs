//! Asks a running Lockgate through its admin address.

use std::borrow::Cow;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST, X_CONTENT_TYPE_OPTIONS};
use http::response::Parts;
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{error::Elapsed, timeout};

use super::io::Io;
use super::{ReloadOutcome, TellOutcome};
use crate::config::AdminAddress;
use crate::control::upgrade::UpgradeOutcome;
use crate::state::Verdict;
use crate::stats::Bill;

/// Compiling the filters takes most of it.
const TIMEOUT: Duration = Duration::from_secs(120);

const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("cannot connect to the admin address {address}")]
    Connect { address: String, source: io::Error },
    #[error("the admin address did not answer within {} seconds", TIMEOUT.as_secs())]
    Timeout(#[from] Elapsed),
    #[error("{address} {}", no_answer(source))]
    Http {
        address: String,
        source: hyper::Error,
    },
    #[error("cannot read the answer of the admin address")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the admin address answered {status}: {text}")]
    Refused { status: StatusCode, text: String },
    #[error("{address} is no admin address of a Lockgate: it answered {status} to {asked}")]
    Stranger {
        address: String,
        status: StatusCode,
        asked: String,
    },
    #[error("`{path}` is no path")]
    Path {
        path: String,
        source: http::uri::InvalidUri,
    },
    #[error("the token holds what no header can")]
    Token(#[from] http::header::InvalidHeaderValue),
    #[error("cannot start a runtime")]
    Runtime(#[source] io::Error),
}

fn no_answer(error: &hyper::Error) -> &'static str {
    match error.is_parse() {
        true => "is no admin address of a Lockgate: it does not answer by HTTP",
        false => "did not answer to the end",
    }
}

/// A filter, as far as its bills go.
#[derive(Debug, Clone, Deserialize)]
pub struct Told {
    pub name: String,
    /// Those that new exchanges take.
    pub generations: Vec<String>,
    pub bills: Vec<Bill>,
}

/// Asks for a reload and waits for what comes of it. Blocks; not for a thread
/// that runs a tokio runtime already.
pub fn post_reload(
    address: &AdminAddress,
    token: Option<&str>,
) -> Result<ReloadOutcome, ClientError> {
    block_on(reload(address, token))
}

/// Asks for another process to take over, and waits until one serves. Blocks like
/// [`post_reload`].
pub fn post_upgrade(
    address: &AdminAddress,
    token: Option<&str>,
) -> Result<UpgradeOutcome, ClientError> {
    block_on(ask(address, token, &UPGRADE))
}

/// Asks what filters do and cost. Blocks like [`post_reload`].
pub fn get_filters(address: &AdminAddress, token: Option<&str>) -> Result<Vec<Told>, ClientError> {
    block_on(ask(address, token, &FILTERS))
}

fn block_on<T>(asking: impl Future<Output = Result<T, ClientError>>) -> Result<T, ClientError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(ClientError::Runtime)?;
    runtime.block_on(asking)
}

/// What can be asked for.
struct Question {
    method: Method,
    path: Cow<'static, str>,
}

const RELOAD: Question = Question {
    method: Method::POST,
    path: Cow::Borrowed("/reload"),
};

const UPGRADE: Question = Question {
    method: Method::POST,
    path: Cow::Borrowed("/upgrade"),
};

const FILTERS: Question = Question {
    method: Method::GET,
    path: Cow::Borrowed("/filters"),
};

const CLUSTERS: Question = Question {
    method: Method::GET,
    path: Cow::Borrowed("/clusters"),
};

/// Asks how clusters are. Blocks like [`post_reload`].
pub fn get_clusters(
    address: &AdminAddress,
    token: Option<&str>,
) -> Result<serde_json::Value, ClientError> {
    block_on(ask(address, token, &CLUSTERS))
}

/// Says how an endpoint is: `drain`, `ready` or `auto`. Blocks like [`post_reload`].
pub fn post_word(
    address: &AdminAddress,
    token: Option<&str>,
    (cluster, endpoint, word): (&str, &str, &str),
) -> Result<TellOutcome, ClientError> {
    let question = Question {
        method: Method::POST,
        path: format!("/clusters/{cluster}/{endpoint}/{word}").into(),
    };
    block_on(ask(address, token, &question))
}

/// Decides what becomes of a filter's canary. Blocks like [`post_reload`].
pub fn post_decision(
    address: &AdminAddress,
    token: Option<&str>,
    filter: &str,
    verdict: Verdict,
) -> Result<ReloadOutcome, ClientError> {
    let verdict = match verdict {
        Verdict::Promoted => "promote",
        Verdict::Aborted => "abort",
    };
    let question = Question {
        method: Method::POST,
        path: format!("/filters/{filter}/{verdict}").into(),
    };
    block_on(ask(address, token, &question))
}

/// As [`post_reload`], within a runtime.
pub async fn reload(
    address: &AdminAddress,
    token: Option<&str>,
) -> Result<ReloadOutcome, ClientError> {
    ask(address, token, &RELOAD).await
}

async fn ask<T: DeserializeOwned>(
    address: &AdminAddress,
    token: Option<&str>,
    question: &Question,
) -> Result<T, ClientError> {
    let request = request(address, token, question)?;
    let (head, body) = timeout(TIMEOUT, exchange(address, request)).await??;
    let status = head.status;
    let stranger = || ClientError::Stranger {
        address: told(address),
        status,
        asked: format!("{} {}", question.method, question.path),
    };
    match status {
        StatusCode::OK | StatusCode::UNPROCESSABLE_ENTITY => {
            serde_json::from_slice(&body).map_err(|_| stranger())
        }
        status if is_ours(&head) => Err(ClientError::Refused {
            status,
            text: String::from_utf8_lossy(&body).trim().to_owned(),
        }),
        _ => Err(stranger()),
    }
}

/// Whether an admin address answers like that. A proxy's port that was
/// taken for one would have its own ways of refusing.
fn is_ours(head: &Parts) -> bool {
    let is_missing = head.status == StatusCode::NOT_FOUND;
    !is_missing && head.headers.contains_key(X_CONTENT_TYPE_OPTIONS)
}

/// As a configuration has it.
fn told(address: &AdminAddress) -> String {
    match address {
        AdminAddress::Tcp(address) => address.to_string(),
        AdminAddress::Unix(path) => format!("unix:{}", path.display()),
    }
}

fn request(
    address: &AdminAddress,
    token: Option<&str>,
    question: &Question,
) -> Result<Request<Empty<Bytes>>, ClientError> {
    let mut request = Request::new(Empty::new());
    *request.method_mut() = question.method.clone();
    let path = question.path.parse();
    *request.uri_mut() = path.map_err(|source| ClientError::Path {
        path: question.path.to_string(),
        source,
    })?;
    let host = match address {
        AdminAddress::Tcp(address) => HeaderValue::try_from(reachable(*address).to_string())?,
        AdminAddress::Unix(_) => HeaderValue::from_static("localhost"),
    };
    request.headers_mut().insert(HOST, host);
    if let Some(token) = token {
        let mut value = HeaderValue::try_from(format!("Bearer {token}"))?;
        value.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, value);
    }
    Ok(request)
}

/// One that listens on every address is asked through the loopback.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    address
}

type Answer = (Parts, Bytes);

async fn exchange(
    address: &AdminAddress,
    request: Request<Empty<Bytes>>,
) -> Result<Answer, ClientError> {
    let unreached = |source| ClientError::Connect {
        address: told(address),
        source,
    };
    let no_http = |source| ClientError::Http {
        address: told(address),
        source,
    };
    let (head, body) = match address {
        AdminAddress::Tcp(address) => {
            let stream = TcpStream::connect(reachable(*address)).await;
            send(stream.map_err(unreached)?, request).await
        }
        AdminAddress::Unix(path) => {
            let stream = UnixStream::connect(path).await;
            send(stream.map_err(unreached)?, request).await
        }
    }
    .map_err(no_http)?;
    Ok((head, body.map_err(ClientError::Body)?))
}

type Body = Result<Bytes, Box<dyn std::error::Error + Send + Sync>>;

async fn send(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    request: Request<Empty<Bytes>>,
) -> hyper::Result<(Parts, Body)> {
    let (mut sender, connection) = http1::handshake(Io(stream)).await?;
    let answer = async move {
        let (head, body) = sender.send_request(request).await?.into_parts();
        Ok((head, read(body).await))
    };
    // The connection must be driven while the answer is waited for.
    let (driven, answer) = tokio::join!(connection, answer);
    // An error of the connection that mattered is the answer's, too.
    drop(driven);
    answer
}

async fn read(body: Incoming) -> Body {
    let body = Limited::new(body, MAX_ANSWER_BYTES);
    Ok(body.collect().await?.to_bytes())
}
