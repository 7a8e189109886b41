//! Accepts connections and serves one request on each.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::access::Via;
use super::bind::{Accepted, AdminListener, BindError};
use super::io::{Clock, Io};
use super::{AdminState, routes};
use crate::config::AdminAddress;

/// Connections served at once. Further ones wait to be accepted.
const MAX_CONNECTIONS: usize = 64;

const MAX_HEAD_BYTES: usize = 16 * 1024;

const MAX_HEADERS: usize = 64;

const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// A reload may compile for a while; a client that does not read ends here.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(120);

/// After an error of `accept`, which may go on for as long as files are scarce.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The server of the admin address.
pub struct Server {
    listener: AdminListener,
    state: AdminState,
}

impl Server {
    /// Needs a tokio runtime with I/O and time.
    pub fn bind(address: &AdminAddress, state: AdminState) -> Result<Self, BindError> {
        let listener = AdminListener::bind(address)?;
        Ok(Self { listener, state })
    }

    /// Where it listens, if on TCP.
    pub fn address(&self) -> Option<SocketAddr> {
        self.listener.address()
    }

    /// Serves until it is dropped, which ends every connection.
    pub async fn run(self) {
        let mut connections = JoinSet::new();
        loop {
            let is_full = connections.len() >= MAX_CONNECTIONS;
            tokio::select! {
                accepted = self.listener.accept(), if !is_full => match accepted {
                    Ok(accepted) => {
                        connections.spawn(connection(accepted, self.state.clone()));
                    }
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept on the admin address");
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(_) = connections.join_next() => {}
            }
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
