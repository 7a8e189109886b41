//! New connections to endpoints.

use std::io;
use std::rc::Rc;

use smallvec::SmallVec;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::time::{Instant, timeout_at};

use super::admission::Taken;
use super::connection::Connection;
use super::forward::Asked;
use super::http2::{self, Channel, StreamLease, Waited};
use super::options;
use super::pool::{Lease, Pick, WorkerEndpoint};
use super::request::{Progress, TryEnd};
use super::retry;
use super::socket::Socket;
use super::worker_cluster::WorkerCluster;
use crate::cluster::Address;
use crate::config::{ClusterProtocol, ClusterSocket};
use crate::error::{ErrorKind, ProxyError};
use crate::proxy_protocol::{self, Ends};
use crate::tls;

/// Endpoints that are tried for one connection.
const MAX_TRIES: usize = 3;

/// A way to send one request.
pub(super) enum Way {
    /// A connection of HTTP/1, for as long as the answer takes.
    Lease(Lease),
    /// A stream of one of HTTP/2.
    Stream(StreamLease),
}

/// A fresh connection to `pick`, within the connect timeout and that of the try.
pub(super) async fn connect(
    cluster: &WorkerCluster,
    pick: Pick,
    asked: &Asked<'_>,
) -> Result<Way, ProxyError> {
    let _waiting = Taken::pending(&cluster.pool.admission)?;
    let opening = open(cluster, &pick, asked);
    let opened = reach(cluster, &pick, asked.progress, opening).await?;
    Ok(opened.lend(cluster, pick))
}

/// A connection that is used as it is, of which no pool knows; to another endpoint where
/// `pick` takes none. Each beyond the first is a retry to the cluster's budget.
pub(super) async fn connect_alone(
    cluster: &WorkerCluster,
    mut pick: Pick,
    progress: &Progress,
) -> Result<(Socket, Pick), ProxyError> {
    let limit = cluster.cluster().config.timeouts.connect;
    let _waiting = Taken::pending(&cluster.pool.admission)?;
    let mut tried: SmallVec<[Rc<WorkerEndpoint>; MAX_TRIES]> = SmallVec::new();
    let mut _permit = None;
    loop {
        let opening = async {
            let opening = open_socket(cluster, &pick, tls::Use::Opaque, progress.client);
            match tokio::time::timeout(limit, opening).await {
                Ok(opened) => opened,
                Err(_) => Err(ErrorKind::ConnectTimeout.into()),
            }
        };
        let start = Instant::now();
        let failure = match reach(cluster, &pick, progress, opening).await {
            Ok(socket) => {
                cluster.stats().connections_opened.add(1);
                return Ok((socket, pick));
            }
            // With no other endpoint it is another.
            Err(failure) if failure.kind == ErrorKind::ConnectionLimit => return Err(failure),
            Err(failure) => failure,
        };
        tried.push(Rc::clone(&pick.endpoint));
        // Another has a permit of its own.
        _permit = None;
        let next = match tried.len() < MAX_TRIES {
            true => cluster.pick_other(Instant::now(), progress, &tried),
            false => None,
        };
        let Some(next) = next else {
            return Err(failure);
        };
        match retry::spend(cluster, progress) {
            Some(permit) => _permit = Some(permit),
            None => return Err(failure),
        }
        progress.ended(&pick.endpoint.shared, TryEnd::Error(failure.kind), start);
        progress.began(Instant::now());
        pick = next;
    }
}

/// What opening a connection there gives.
async fn reach<T>(
    cluster: &WorkerCluster,
    pick: &Pick,
    progress: &Progress,
    opening: impl Future<Output = Result<T, ProxyError>>,
) -> Result<T, ProxyError> {
    let start = Instant::now();
    let shared = &pick.endpoint.shared;
    progress.tried(shared);
    let failure = match opening.await {
        Ok(opened) => {
            shared.accepted();
            return Ok(opened);
        }
        // That is this proxy's doing, and would be the same with another endpoint.
        Err(failure) if failure.kind == ErrorKind::ConnectionLimit => return Err(failure),
        Err(failure) => failure,
    };
    cluster.stats().connect_failures.add(1);
    let cause = failure.source.as_ref().map(tracing::field::display);
    tracing::debug!(cluster = %cluster.name(), endpoint = %shared.label, kind = failure.kind.name(), cause, "cannot connect");
    if is_endpoints_fault(&failure) {
        shared.refused(Instant::now(), cluster.cluster().config.refused_pause);
        cluster.blame(&pick.endpoint, start, &failure);
    }
    Err(failure)
}

enum Opened {
    Http1(Box<Connection>),
    Http2(Rc<Channel>),
    /// Made by another request meanwhile.
    Shared(Rc<Channel>),
}

impl Opened {
    fn lend(self, cluster: &WorkerCluster, pick: Pick) -> Way {
        match self {
            Opened::Http1(connection) => {
                Way::Lease(Lease::new(connection, pick, cluster.pool.clone(), false))
            }
            Opened::Http2(channel) => {
                cluster.stats().connections_opened.add(1);
                Way::Stream(StreamLease::new(channel, pick, false))
            }
            Opened::Shared(channel) => {
                cluster.stats().connections_reused.add(1);
                Way::Stream(StreamLease::new(channel, pick, true))
            }
        }
    }
}

async fn open(
    cluster: &WorkerCluster,
    pick: &Pick,
    asked: &Asked<'_>,
) -> Result<Opened, ProxyError> {
    let now = Instant::now();
    let config = &cluster.cluster().config;
    let (deadline, client) = (asked.try_deadline, asked.progress.client);
    let own = (now + config.timeouts.connect, ErrorKind::ConnectTimeout);
    let whole = deadline.map(|deadline| (deadline, ErrorKind::TryTimeout));
    let (deadline, late) = whole.map_or(own, |whole| std::cmp::min_by_key(own, whole, |at| at.0));
    let opening = async {
        match config.protocol {
            ClusterProtocol::Http1 => open_http1(cluster, pick, now, tls::Use::Http, client).await,
            ClusterProtocol::Http2 => open_http2(cluster, pick, now).await,
            // Many speak HTTP/2 and take another protocol by HTTP/1 only, which is what an
            // endpoint speaks that is asked for nothing.
            ClusterProtocol::Auto if asked.upgrade.is_some() => {
                open_http1(cluster, pick, now, tls::Use::Opaque, None).await
            }
            ClusterProtocol::Auto => open_either(cluster, pick, now).await,
        }
    };
    match timeout_at(deadline, opening).await {
        Ok(opened) => opened,
        Err(_) => Err(late.into()),
    }
}

async fn open_http1(
    cluster: &WorkerCluster,
    pick: &Pick,
    now: Instant,
    used: tls::Use,
    client: Option<Ends>,
) -> Result<Opened, ProxyError> {
    let socket = open_socket(cluster, pick, used, client).await?;
    let mut connection = speak_http1(cluster, socket, now).await?;
    connection.client = cluster.told(client);
    Ok(Opened::Http1(connection))
}

async fn speak_http1(
    cluster: &WorkerCluster,
    socket: Socket,
    now: Instant,
) -> Result<Box<Connection>, ProxyError> {
    let expires = cluster.pool.expiry(now);
    let max_head_bytes = cluster.cluster().config.max_head_bytes;
    let opened = Connection::open(&cluster.builder, max_head_bytes, socket, expires).await;
    opened.map_err(failed)
}

/// Requests that come together share the first connection that is made.
async fn open_http2(
    cluster: &WorkerCluster,
    pick: &Pick,
    now: Instant,
) -> Result<Opened, ProxyError> {
    let turn = match pick.endpoint.channels.turn().await {
        Waited::Turn(turn) => turn,
        Waited::There(channel) => return Ok(Opened::Shared(channel)),
        Waited::Failed(why) => return Err(failed_before(why)),
    };
    let socket = open_socket(cluster, pick, tls::Use::Http, None).await;
    let socket = socket.inspect_err(|error| turn.failed(error.kind))?;
    speak_http2(cluster, pick, socket, now).await
}

/// What the endpoint chooses. As long as it may be HTTP/2, requests wait for one
/// connection: they would else make one each that all could share.
async fn open_either(
    cluster: &WorkerCluster,
    pick: &Pick,
    now: Instant,
) -> Result<Opened, ProxyError> {
    let endpoint = &pick.endpoint;
    let is_http1 = || cluster.cluster().tls.is_none() || endpoint.chose_http1.get();
    let turn = match is_http1() {
        true => None,
        false => match endpoint.channels.turn().await {
            Waited::Turn(turn) => Some(turn),
            Waited::There(channel) => return Ok(Opened::Shared(channel)),
            Waited::Failed(why) => return Err(failed_before(why)),
        },
    };
    // Meanwhile it may have said so to the one before.
    let turn = turn.filter(|_| !is_http1());
    let socket = open_socket(cluster, pick, tls::Use::Http, None).await;
    let socket =
        socket.inspect_err(|error| turn.iter().for_each(|turn| turn.failed(error.kind)))?;
    let speaks_http2 = socket.speaks_http2();
    endpoint.chose_http1.set(!speaks_http2);
    match speaks_http2 {
        true => speak_http2(cluster, pick, socket, now).await,
        false => speak_http1(cluster, socket, now).await.map(Opened::Http1),
    }
}

async fn speak_http2(
    cluster: &WorkerCluster,
    pick: &Pick,
    socket: Socket,
    now: Instant,
) -> Result<Opened, ProxyError> {
    let expires = cluster.pool.expiry(now);
    let opened = http2::open(
        &cluster.cluster().config,
        socket,
        pick.endpoint.channels.allowed(),
        expires,
    )
    .await;
    let channel = opened.map_err(failed)?;
    pick.endpoint.keep_channel(channel.clone());
    Ok(Opened::Http2(channel))
}

/// Of one who waited for another's connection.
fn failed_before(why: ErrorKind) -> ProxyError {
    ProxyError::with(why, InVain)
}

/// One failure is one, however many waited for the connection.
#[derive(Debug, thiserror::Error)]
#[error("the connection that it waited for was not made")]
struct InVain;

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> ProxyError {
    ProxyError::with(ErrorKind::ConnectFailed, error)
}

/// Not when the request had less time than connecting may take, nor when this
/// machine has no descriptor or port left, nor when it waited for another's failure.
fn is_endpoints_fault(failure: &ProxyError) -> bool {
    const OWN: [i32; 5] = [
        libc::EMFILE,
        libc::ENFILE,
        libc::EADDRNOTAVAIL,
        libc::ENOBUFS,
        libc::ENOMEM,
    ];
    let source = failure.source.as_deref();
    let code = source
        .and_then(|source| source.downcast_ref::<io::Error>())
        .and_then(io::Error::raw_os_error);
    let is_own = code.is_some_and(|code| OWN.contains(&code))
        || source.is_some_and(|source| source.is::<InVain>());
    failure.kind != ErrorKind::TryTimeout && !is_own
}

/// A socket, and TLS on it where the cluster has that; before all, the header that tells
/// whose connection it is, where the origin wants one.
async fn open_socket(
    cluster: &WorkerCluster,
    pick: &Pick,
    used: tls::Use,
    client: Option<Ends>,
) -> Result<Socket, ProxyError> {
    let endpoint = &pick.endpoint.shared;
    let config = &cluster.cluster().config;
    let rules = &config.socket;
    // Streams find room when others end, and not when a connection does.
    let is_alone = used == tls::Use::Opaque || config.protocol == ClusterProtocol::Http1;
    let make_room = || cluster.close_an_idle();
    // Half of it is for connecting.
    let most = config.timeouts.connect / 2;
    let admission = &cluster.pool.admission;
    let counted = Taken::connection(admission, is_alone, most, make_room).await?;
    let plain = open_plain(&endpoint.address, rules, counted).await;
    let mut plain = plain.map_err(failed)?;
    if let Some(version) = config.proxy_protocol {
        let header = proxy_protocol::header(version, client);
        plain.write_all(&header).await.map_err(failed)?;
    }
    let Some(client) = &cluster.cluster().tls else {
        return Ok(plain);
    };
    let connecting = tls::connect(client, used, &endpoint.tls_name, plain);
    let connected = match cluster.cluster().config.timeouts.tls {
        None => connecting.await,
        Some(limit) => match tokio::time::timeout(limit, connecting).await {
            Ok(connected) => connected,
            Err(_) => return Err(ErrorKind::TlsTimeout.into()),
        },
    };
    match connected {
        Ok(tls) => Ok(Socket::Tls(Box::new(tls))),
        Err(error) => Err(ProxyError::with(ErrorKind::UpstreamTlsFailed, error)),
    }
}

async fn open_plain(
    address: &Address,
    rules: &ClusterSocket,
    counted: Taken,
) -> io::Result<Socket> {
    match address {
        Address::Socket(address) => {
            let socket = options::socket(*address, rules)?;
            Ok(Socket::Tcp(socket.connect(*address).await?, counted))
        }
        Address::Unix(path) => Ok(Socket::Unix(UnixStream::connect(path).await?, counted)),
        Address::Inside(inside) => Ok(Socket::Inside(inside.connect()?, counted)),
    }
}
