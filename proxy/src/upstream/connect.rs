//! New connections to endpoints.

use std::io;
use std::rc::Rc;

use smallvec::SmallVec;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, timeout_at};

use super::connection::Connection;
use super::pool::{Lease, Pick, WorkerEndpoint};
use super::request::Progress;
use super::wire::Socket;
use super::worker_cluster::WorkerCluster;
use crate::cluster::Address;
use crate::error::{ErrorKind, ProxyError};

/// Endpoints that are tried for one request, as long as it may be sent.
const MAX_TRIES: usize = 3;

/// The endpoints that did not take this request. No other request is about them, so
/// that one which refuses lately is still tried before this one is given up.
#[derive(Default)]
pub(super) struct Tried(SmallVec<[Rc<WorkerEndpoint>; MAX_TRIES]>);

impl Tried {
    /// That one did not; another that may.
    pub fn next(&mut self, cluster: &WorkerCluster, failed: Rc<WorkerEndpoint>) -> Option<Pick> {
        self.0.push(failed);
        if self.0.len() == MAX_TRIES {
            return None;
        }
        cluster.pick_other(Instant::now(), &self.0)
    }
}

/// A fresh connection to `pick`, or to another endpoint where that one takes
/// none. Each has the connect timeout, and all have until `deadline`.
pub(super) async fn connect(
    cluster: &WorkerCluster,
    mut pick: Pick,
    tried: &mut Tried,
    deadline: Option<Instant>,
    progress: &Progress,
) -> Result<Lease, ProxyError> {
    loop {
        progress.tried(&pick.endpoint.shared);
        let failure = match open(cluster, &pick, deadline).await {
            Ok(connection) => {
                pick.endpoint.shared.accepted();
                let pool = cluster.pool.clone();
                return Ok(Lease::new(connection, pick, pool, false));
            }
            Err(failure) => failure,
        };
        let now = Instant::now();
        cluster.stats().connect_failures.add(1);
        let shared = &pick.endpoint.shared;
        tracing::debug!(cluster = %cluster.name(), endpoint = %shared.label, kind = failure.kind.name(), "cannot connect");
        if is_endpoints_fault(&failure) {
            shared.refused(now, cluster.cluster().config.refused_pause);
        }
        if deadline.is_some_and(|deadline| now >= deadline) {
            return Err(failure);
        }
        match tried.next(cluster, Rc::clone(&pick.endpoint)) {
            Some(next) => pick = next,
            None => return Err(failure),
        }
    }
}

async fn open(
    cluster: &WorkerCluster,
    pick: &Pick,
    deadline: Option<Instant>,
) -> Result<Box<Connection>, ProxyError> {
    let now = Instant::now();
    let config = &cluster.cluster().config;
    let own = (now + config.timeouts.connect, ErrorKind::ConnectTimeout);
    let whole = deadline.map(|deadline| (deadline, ErrorKind::AnswerTimeout));
    let (deadline, late) = whole.map_or(own, |whole| std::cmp::min_by_key(own, whole, |at| at.0));
    let socket = match timeout_at(deadline, open_socket(&pick.endpoint.shared.address)).await {
        Ok(Ok(socket)) => socket,
        Ok(Err(error)) => return Err(ProxyError::with(ErrorKind::ConnectFailed, error)),
        Err(_) => return Err(late.into()),
    };
    let expires = cluster.pool.expiry(now);
    Connection::open(&cluster.builder, config.max_head_bytes, socket, expires)
        .await
        .map_err(|error| ProxyError::with(ErrorKind::ConnectFailed, error))
}

/// Not when the request had less time than connecting may take, nor when this
/// machine has no descriptor or port left.
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
    failure.kind != ErrorKind::AnswerTimeout && !code.is_some_and(|code| OWN.contains(&code))
}

async fn open_socket(address: &Address) -> io::Result<Socket> {
    match address {
        Address::Socket(address) => {
            let socket = TcpStream::connect(address).await?;
            socket.set_nodelay(true)?;
            Ok(Socket::Tcp(socket))
        }
        Address::Unix(path) => Ok(Socket::Unix(UnixStream::connect(path).await?)),
        Address::Inside(inside) => inside.connect().map(Socket::Inside),
    }
}
