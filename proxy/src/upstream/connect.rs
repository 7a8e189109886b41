//! New connections to endpoints.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use smallvec::SmallVec;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::time::{Instant, timeout, timeout_at};

use super::admission::Taken;
use super::classify::{failure_of, is_refusal};
use super::connection::Connection;
use super::counted::{Counted, at_endpoint, waiting_for};
use super::forward::Asked;
use super::http2::{self, Channel, StreamLease, Waited};
use super::options;
use super::pool::{Lease, Pick, Pool, WorkerEndpoint};
use super::request::{Progress, TryEnd};
use super::retry;
use super::socket::Socket;
use super::terms::ConnectTimes;
use super::worker_cluster::WorkerCluster;
use crate::cluster::{Address, Endpoint};
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
    let _for_it = waiting_for(&cluster.pool, &pick.endpoint)?;
    let opening = open(cluster, &pick, asked);
    let opened = reach(cluster, &pick, asked.progress, opening).await?;
    Ok(opened.lend(cluster, pick))
}

/// A connection that is used as it is, of which no pool knows; to another endpoint where
/// `pick` takes none. Each beyond the first is a retry to the cluster's budget.
pub(super) async fn connect_alone(
    cluster: &WorkerCluster,
    mut pick: Pick,
    times: ConnectTimes,
    progress: &Progress,
) -> Result<(Socket, Pick), ProxyError> {
    let _waiting = Taken::pending(&cluster.pool.admission)?;
    let mut tried: SmallVec<[Rc<WorkerEndpoint>; MAX_TRIES]> = SmallVec::new();
    let mut _permit = None;
    loop {
        let opening = async {
            let endpoint = &pick.endpoint;
            let opening = async {
                let used = tls::Use::Opaque;
                let _for_it = waiting_for(&cluster.pool, endpoint)?;
                let counted = room(cluster, endpoint, used, times.whole).await?;
                let opening = OpeningSocket {
                    pool: &cluster.pool,
                    endpoint: &endpoint.shared,
                    used,
                    tls_timeout: times.tls,
                };
                opening.open(progress.client, counted).await
            };
            match timeout(times.whole, opening).await {
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
        match retry::spend(cluster, progress, retry::tried_to_reach(failure.kind)) {
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
            cluster.pool.connected(shared);
            return Ok(opened);
        }
        // That is this proxy's doing.
        Err(failure) if is_limit(failure.kind) => return Err(failure),
        Err(failure) => failure,
    };
    count_failure(&cluster.pool, shared, &failure);
    if is_endpoints_fault(&failure) && !progress.hurry.spares(failure.kind) {
        shared.refused(Instant::now(), cluster.cluster().config.refused_pause);
        cluster.blame(&pick.endpoint, start, &failure, progress);
    }
    Err(failure)
}

fn is_limit(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::ConnectionLimit | ErrorKind::EndpointLimit)
}

/// Counts and tells of a connection that was not made.
fn count_failure(pool: &Pool, endpoint: &Endpoint, failure: &ProxyError) {
    pool.stats().connect_failures.add(1);
    let cluster = &pool.cluster.config.name;
    let cause = failure.source.as_ref().map(tracing::field::display);
    tracing::debug!(%cluster, endpoint = %endpoint.label, kind = failure.kind.name(), cause, "cannot connect");
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

    /// For who comes next.
    fn keep(self, pool: &Pool, endpoint: &WorkerEndpoint) {
        match self {
            Opened::Http1(connection) => endpoint.keep(pool, connection),
            // It is among those that requests share already.
            Opened::Http2(_) => pool.stats().connections_opened.add(1),
            Opened::Shared(_) => {}
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
    let times = asked.terms.connect;
    let own = (now + times.whole, ErrorKind::ConnectTimeout);
    let whole = deadline.map(|deadline| (deadline, ErrorKind::TryTimeout));
    let (deadline, late) = whole.map_or(own, |whole| std::cmp::min_by_key(own, whole, |at| at.0));
    let opening = Opening {
        pool: &cluster.pool,
        endpoint: &pick.endpoint,
        now,
        tls_timeout: times.tls,
        room: room(cluster, &pick.endpoint, tls::Use::Http, times.whole),
    };
    let opening = async {
        match config.protocol {
            ClusterProtocol::Http1 => opening.http1(tls::Use::Http, client).await,
            ClusterProtocol::Http2 => opening.http2().await,
            // Many speak HTTP/2 and take another protocol by HTTP/1 only, which is what an
            // endpoint speaks that is asked for nothing.
            ClusterProtocol::Auto if asked.upgrade.is_some() => {
                opening.http1(tls::Use::Opaque, None).await
            }
            ClusterProtocol::Auto => opening.either().await,
        }
    };
    match timeout_at(deadline, opening).await {
        Ok(opened) => opened,
        Err(_) => Err(late.into()),
    }
}

/// A connection for requests to come, which is kept; whether it was made. `counted` before,
/// so that nobody waits for it.
pub(super) async fn open_ahead(pool: &Pool, endpoint: &WorkerEndpoint, counted: Counted) -> bool {
    let opening = Opening {
        pool,
        endpoint,
        now: Instant::now(),
        tls_timeout: pool.cluster.config.timeouts.tls,
        room: std::future::ready(Ok(counted)),
    };
    let config = &pool.cluster.config;
    let opening = async {
        match config.protocol {
            ClusterProtocol::Http1 => opening.http1(tls::Use::Http, None).await,
            ClusterProtocol::Http2 => opening.http2().await,
            ClusterProtocol::Auto => opening.either().await,
        }
    };
    let failure = match timeout(config.timeouts.connect, opening).await {
        Ok(Ok(opened)) => {
            pool.connected(&endpoint.shared);
            opened.keep(pool, endpoint);
            return true;
        }
        Ok(Err(failure)) => failure,
        Err(_) => ErrorKind::ConnectTimeout.into(),
    };
    // What would have failed a request is a sign as well where none came.
    count_failure(pool, &endpoint.shared, &failure);
    if is_endpoints_fault(&failure) {
        endpoint
            .shared
            .refused(Instant::now(), config.refused_pause);
        pool.got_nothing(&endpoint.shared, failure.kind);
        if !is_refusal(&failure) {
            pool.note(&endpoint.shared, failure_of(failure.kind));
        }
    }
    false
}

/// How one connection is made.
struct Opening<'a, R> {
    pool: &'a Pool,
    endpoint: &'a WorkerEndpoint,
    now: Instant,
    tls_timeout: Option<Duration>,
    room: R,
}

impl<R: Future<Output = Result<Counted, ProxyError>>> Opening<'_, R> {
    async fn http1(self, used: tls::Use, client: Option<Ends>) -> Result<Opened, ProxyError> {
        let (pool, now) = (self.pool, self.now);
        let socket = self.socket(used, client).await?;
        let mut connection = speak_http1(pool, socket, now).await?;
        connection.client = pool.told(client);
        Ok(Opened::Http1(connection))
    }

    /// Requests that come together share the first connection that is made.
    async fn http2(self) -> Result<Opened, ProxyError> {
        let (pool, endpoint, now) = (self.pool, self.endpoint, self.now);
        let turn = match endpoint.channels.turn().await {
            Waited::Turn(turn) => turn,
            Waited::There(channel) => return Ok(Opened::Shared(channel)),
            Waited::Failed(why) => return Err(failed_before(why)),
        };
        let is_for_all = self.is_for_all();
        let socket = self.socket(tls::Use::Http, None).await;
        let socket = socket.inspect_err(|error| {
            if is_for_all(error.kind) {
                turn.failed(error.kind);
            }
        })?;
        speak_http2(pool, endpoint, socket, now).await
    }

    /// What the endpoint chooses. As long as it may be HTTP/2, requests wait for one
    /// connection: they would else make one each that all could share.
    async fn either(self) -> Result<Opened, ProxyError> {
        let (pool, endpoint, now) = (self.pool, self.endpoint, self.now);
        let is_http1 = || endpoint.speaks_http1(pool);
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
        let is_for_all = self.is_for_all();
        let socket = self.socket(tls::Use::Http, None).await;
        let socket = socket.inspect_err(|error| {
            if let Some(turn) = turn.as_ref().filter(|_| is_for_all(error.kind)) {
                turn.failed(error.kind);
            }
        })?;
        let speaks_http2 = socket.speaks_http2();
        endpoint.chose_http1.set(!speaks_http2);
        match speaks_http2 {
            true => speak_http2(pool, endpoint, socket, now).await,
            false => speak_http1(pool, socket, now).await.map(Opened::Http1),
        }
    }

    /// Whether a failure is one of all that wait for the connection, and not of a time that this
    /// request alone has.
    fn is_for_all(&self) -> impl Fn(ErrorKind) -> bool + use<R> {
        let is_own = self.tls_timeout == self.pool.cluster.config.timeouts.tls;
        move |kind| is_own || kind != ErrorKind::TlsTimeout
    }

    async fn socket(self, used: tls::Use, client: Option<Ends>) -> Result<Socket, ProxyError> {
        let counted = self.room.await?;
        let opening = OpeningSocket {
            pool: self.pool,
            endpoint: &self.endpoint.shared,
            used,
            tls_timeout: self.tls_timeout,
        };
        opening.open(client, counted).await
    }
}

async fn speak_http1(
    pool: &Pool,
    socket: Socket,
    now: Instant,
) -> Result<Box<Connection>, ProxyError> {
    let expires = pool.expiry(now);
    let max_head_bytes = pool.cluster.config.max_head_bytes;
    let opened = Connection::open(&pool.builder, max_head_bytes, socket, expires).await;
    opened.map_err(failed)
}

async fn speak_http2(
    pool: &Pool,
    endpoint: &WorkerEndpoint,
    socket: Socket,
    now: Instant,
) -> Result<Opened, ProxyError> {
    let opened = http2::open(&pool.cluster.config, socket, pool.expiry(now)).await;
    let channel = opened.map_err(failed)?;
    endpoint.keep_channel(channel.clone());
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

/// Room for one connection more, for which some of `time` may be waited.
async fn room(
    cluster: &WorkerCluster,
    endpoint: &WorkerEndpoint,
    used: tls::Use,
    time: Duration,
) -> Result<Counted, ProxyError> {
    // Streams find room when others end, and not when a connection does, unless one of
    // theirs is to be replaced.
    let is_alone = used == tls::Use::Opaque || endpoint.speaks_http1(&cluster.pool);
    let waits = is_alone || endpoint.channels.has_spent(Instant::now());
    let make_room = || cluster.close_an_idle();
    // Half of it is for connecting, and the rest for two kinds of room.
    let most = time / 4;
    let admission = &cluster.pool.admission;
    let of_endpoint = at_endpoint(&cluster.pool, endpoint, waits, most).await?;
    let of_cluster = Taken::connection(admission, waits, most, make_room).await?;
    Ok(Counted::new(of_cluster, of_endpoint, endpoint))
}

/// How one socket is made.
struct OpeningSocket<'a> {
    pool: &'a Pool,
    endpoint: &'a Endpoint,
    used: tls::Use,
    tls_timeout: Option<Duration>,
}

impl OpeningSocket<'_> {
    /// A socket, and TLS on it where the cluster has that; before all, the header that tells
    /// whose connection it is, where the origin wants one.
    async fn open(self, client: Option<Ends>, counted: Counted) -> Result<Socket, ProxyError> {
        let Self { pool, endpoint, .. } = self;
        let config = &pool.cluster.config;
        let plain = open_plain(&endpoint.address, &config.socket, counted).await;
        let mut plain = plain.map_err(failed)?;
        if let Some(version) = config.proxy_protocol {
            let header = proxy_protocol::header(version, client);
            plain.write_all(&header).await.map_err(failed)?;
        }
        let Some(client) = &pool.cluster.tls else {
            return Ok(plain);
        };
        let connecting = tls::connect(client, self.used, &endpoint.tls_name, plain);
        let connected = match self.tls_timeout {
            None => connecting.await,
            Some(limit) => match timeout(limit, connecting).await {
                Ok(connected) => connected,
                Err(_) => return Err(ErrorKind::TlsTimeout.into()),
            },
        };
        match connected {
            Ok(tls) => Ok(Socket::Tls(Box::new(tls))),
            Err(error) => Err(ProxyError::with(ErrorKind::UpstreamTlsFailed, error)),
        }
    }
}

async fn open_plain(
    address: &Address,
    rules: &ClusterSocket,
    counted: Counted,
) -> io::Result<Socket> {
    match address {
        Address::Socket(address) => {
            let socket = options::socket(*address, rules)?;
            Ok(Socket::Tcp {
                socket: socket.connect(*address).await?,
                _counted: counted,
            })
        }
        Address::Unix(path) => Ok(Socket::Unix {
            socket: UnixStream::connect(path).await?,
            _counted: counted,
        }),
        Address::Inside(inside) => Ok(Socket::Inside {
            socket: inside.connect()?,
            _counted: counted,
        }),
    }
}
