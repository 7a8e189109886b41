//! The socket of the admin address.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};

use socket2::Socket as RawSocket;
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream};

use super::access::Via;
use crate::config::{AdminAddress, ListenAddress, SocketFileRules};
use crate::listener::{Inherited, SocketFile, Taken, UnixError, WITH_PATH, bind_unix};

/// Under what name the socket is passed to a process.
/// No listener can be called so.
const PASSED_AS: &str = "/admin";

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 64;

#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("cannot listen on {address}: {}", explain(reason))]
    Tcp {
        address: SocketAddr,
        reason: io::Error,
    },
    #[error(transparent)]
    Unix(#[from] UnixError),
}

/// As a listener's address that is taken is told.
fn explain(reason: &io::Error) -> String {
    match reason.kind() {
        io::ErrorKind::AddrInUse => {
            "the address is in use (is another Lockgate running?)".to_owned()
        }
        io::ErrorKind::AddrNotAvailable => "this machine has no such address".to_owned(),
        _ => reason.to_string(),
    }
}

#[derive(Debug)]
pub enum AdminListener {
    Tcp(TcpListener),
    Unix {
        listener: UnixListener,
        /// Held to be dropped with the listener. Where the socket was passed, its name
        /// may not be ours to remove.
        file: Option<SocketFile>,
    },
}

/// A client's connection, and the way it came.
pub enum Accepted {
    Tcp(TcpStream, Via),
    Unix(UnixStream),
}

impl AdminListener {
    /// What was passed to the process, or else a socket of its own. Needs a tokio
    /// runtime with I/O.
    pub fn bind(address: &AdminAddress, inherited: &Inherited) -> Result<Self, BindError> {
        match address {
            AdminAddress::Tcp(address) => {
                let address = *address;
                let passed = inherited
                    .take(PASSED_AS, &ListenAddress::Tcp(address))
                    .pop();
                passed
                    .map_or_else(|| bind_tcp(address), |taken| from_passed(taken.socket))
                    .map(Self::Tcp)
                    .map_err(|reason| BindError::Tcp { address, reason })
            }
            AdminAddress::Unix(path) => {
                let passed = inherited.take(PASSED_AS, &ListenAddress::Unix(path.clone()));
                let failed = |reason| UnixError::Failed {
                    path: path.clone(),
                    reason,
                };
                let (socket, file) = match passed.into_iter().next() {
                    Some(Taken { socket, has_path }) => {
                        let file = has_path.then(|| SocketFile::passed(path));
                        (socket, file.transpose().map_err(failed)?)
                    }
                    None => bind_unix(path, BACKLOG, &SocketFileRules::private())?,
                };
                let listener = from_passed_unix(socket).map_err(failed)?;
                Ok(Self::Unix { listener, file })
            }
        }
    }

    /// Where it listens, if on TCP.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok(),
            Self::Unix { .. } => None,
        }
    }

    /// The socket once more, and the name under which another process finds it.
    pub fn pass_on(&self) -> io::Result<(OwnedFd, String)> {
        let (descriptor, name) = match self {
            Self::Tcp(listener) => (listener.as_fd(), PASSED_AS),
            Self::Unix { listener, file } => {
                let is_ours = file.is_some();
                (
                    listener.as_fd(),
                    if is_ours { WITH_PATH } else { PASSED_AS },
                )
            }
        };
        Ok((descriptor.try_clone_to_owned()?, name.to_owned()))
    }

    /// A path that was passed is this process's from now on.
    pub fn own(&self) {
        if let Self::Unix {
            file: Some(file), ..
        } = self
        {
            file.own();
        }
    }

    /// Another process has the socket now: its name stays.
    pub fn hand_over(self) {
        if let Self::Unix {
            file: Some(file), ..
        } = self
        {
            file.leave();
        }
    }

    /// Dropping the future loses no connection.
    pub async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                let own: IpAddr = stream.local_addr()?.ip().to_canonical();
                Ok(Accepted::Tcp(stream, Via::Tcp(own)))
            }
            Self::Unix { listener, .. } => {
                let (stream, _) = listener.accept().await?;
                Ok(Accepted::Unix(stream))
            }
        }
    }
}

fn from_passed(passed: RawSocket) -> io::Result<TcpListener> {
    passed.set_nonblocking(true)?;
    TcpListener::from_std(passed.into())
}

fn from_passed_unix(passed: RawSocket) -> io::Result<UnixListener> {
    passed.set_nonblocking(true)?;
    UnixListener::from_std(passed.into())
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}
