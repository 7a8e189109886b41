//! Accepts connections and serves one request on each.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

use super::access::Via;
use super::bind::{Accepted, AdminListener, BindError};
use super::io::{Clock, Io};
use super::reserve::Reserve;
use super::{AdminState, routes};
use crate::config::AdminAddress;
use crate::listener::Inherited;
use crate::overload::is_exhaustion;

/// Connections served at once. Further ones wait to be accepted.
const MAX_CONNECTIONS: usize = 64;

const MAX_HEAD_BYTES: usize = 16 * 1024;

const MAX_HEADERS: usize = 64;

const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// A reload may compile for a while; a client that does not read ends here.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(120);

/// For answers when the socket was handed over.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// After an error of `accept`, which may go on for as long as files are scarce.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The server of the admin address.
pub struct Server {
    listener: AdminListener,
    state: AdminState,
    reserve: Reserve,
    handed_over: Arc<Notify>,
}

/// A server at work. Dropping it leaves it at work.
pub struct Serving {
    task: JoinHandle<()>,
    socket: (OwnedFd, String),
    handed_over: Arc<Notify>,
}

impl Server {
    /// Needs a tokio runtime with I/O and time.
    pub fn bind(
        address: &AdminAddress,
        state: AdminState,
        inherited: &Inherited,
    ) -> Result<Self, BindError> {
        let listener = AdminListener::bind(address, inherited)?;
        Ok(Self {
            listener,
            state,
            reserve: Reserve::new(),
            handed_over: Arc::default(),
        })
    }

    /// Serves on this thread from now on.
    pub fn start(self) -> io::Result<Serving> {
        self.listener.own();
        Ok(Serving {
            socket: self.listener.pass_on()?,
            handed_over: self.handed_over.clone(),
            task: tokio::task::spawn_local(self.run()),
        })
    }

    /// Where it listens, if on TCP.
    pub fn address(&self) -> Option<SocketAddr> {
        self.listener.address()
    }

    /// Serves until it is dropped, which ends every connection, or until the socket is
    /// another process's: then those that are there are served to their end.
    pub async fn run(mut self) {
        let mut connections = JoinSet::new();
        loop {
            let is_full = connections.len() >= MAX_CONNECTIONS;
            tokio::select! {
                biased;
                () = self.handed_over.notified() => break,
                accepted = self.listener.accept(), if !is_full => match accepted {
                    Ok(accepted) => {
                        connections.spawn(connection(accepted, self.state.clone()));
                    }
                    Err(error) if is_exhaustion(&error) && self.reserve.give_up_one() => {}
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept on the admin address");
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(_) = connections.join_next() => self.reserve.fill(),
            }
        }
        self.listener.hand_over();
        while connections.join_next().await.is_some() {}
    }
}

impl Serving {
    /// The socket, and the name under which another process finds it.
    pub fn pass_on(&self) -> io::Result<(OwnedFd, String)> {
        let (socket, name) = &self.socket;
        Ok((socket.try_clone()?, name.clone()))
    }

    /// Another process answers from now on. Waits a little for answers that are on their
    /// way.
    pub async fn hand_over(self) {
        self.handed_over.notify_one();
        if timeout(LAST_ANSWERS, self.task).await.is_err() {
            tracing::debug!("an admin connection goes on");
        }
    }
}

async fn connection(accepted: Accepted, state: AdminState) {
    let served = async {
        match accepted {
            Accepted::Tcp(stream, via) => serve(stream, via, &state).await,
            Accepted::Unix(stream) => serve(stream, Via::Unix, &state).await,
        }
    };
    if timeout(TOTAL_TIMEOUT, served).await.is_err() {
        tracing::debug!("an admin connection took too long");
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, via: Via, state: &AdminState) {
    let service =
        service_fn(async |request| Ok::<_, Infallible>(routes::answer(request, via, state).await));
    let served = http1::Builder::new()
        .timer(Clock)
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD_BYTES)
        .max_headers(MAX_HEADERS)
        .keep_alive(false)
        .serve_connection(Io(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "an admin connection failed");
    }
}
