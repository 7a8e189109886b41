//! The sockets of a listener: those that the process was started with, or else new ones,
//! one for each worker where the kernel can share connections out among them.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};

use socket2::{Domain, Protocol, Socket as RawSocket, Type};

use super::clients::Clients;
use super::inherited::{Inherited, Taken, bound_to};
use super::options::{self, OptionError};
use super::unix::{SocketFile, UnixError, bind_unix};
use crate::config::{self, ListenAddress, ListenerSocket};

/// The sockets of one listener.
#[derive(Debug)]
pub struct Socket {
    /// As configured: port 0 stays 0, so that reloads find it again.
    pub wanted: ListenAddress,
    /// As bound.
    pub address: ListenAddress,
    /// By which it was opened.
    pub rules: ListenerSocket,
    /// Open connections over all workers.
    pub connections: AtomicUsize,
    /// The same by client.
    pub(super) clients: Clients,
    pub(super) shaking_hands: Clients,
    /// TLS handshakes under way, over all workers.
    pub handshakes: AtomicUsize,
    /// What each worker is to accept on, until it does.
    waiting: Vec<Mutex<Vec<RawSocket>>>,
    /// The same sockets once more, for who is to go on with them.
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    sockets: Vec<OwnedFd>,
    file: Option<SocketFile>,
}

impl Socket {
    /// Shares sockets out: a worker may get several, or several workers the same.
    fn new(
        config: &config::Listener,
        sockets: Vec<RawSocket>,
        file: Option<SocketFile>,
        workers: usize,
    ) -> io::Result<Self> {
        let first = sockets.first().ok_or(io::ErrorKind::NotFound)?;
        let address = match &config.address {
            named @ ListenAddress::Unix(_) => named.clone(),
            _ => bound_to(first)?.ok_or(io::ErrorKind::Unsupported)?,
        };
        let kept: io::Result<_> = sockets.iter().map(copy).collect();
        let mut waiting: Vec<Vec<_>> = (0..workers).map(|_| Vec::new()).collect();
        for worker in sockets.len()..workers {
            waiting[worker].push(sockets[worker % sockets.len()].try_clone()?);
        }
        for (index, socket) in sockets.into_iter().enumerate() {
            waiting[index % workers].push(socket);
        }
        Ok(Self {
            wanted: config.address.clone(),
            address,
            rules: config.socket.clone(),
            connections: AtomicUsize::new(0),
            clients: Clients::default(),
            shaking_hands: Clients::default(),
            handshakes: AtomicUsize::new(0),
            waiting: waiting.into_iter().map(Mutex::new).collect(),
            kept: Mutex::new(Kept {
                sockets: kept?,
                file,
            }),
        })
    }

    /// Whether it is what a listener of this address would be given.
    pub fn listens_at(&self, address: &ListenAddress) -> bool {
        self.wanted == *address || self.address == *address
    }

    /// The sockets of a worker; each can be had once.
    pub fn take(&self, worker: usize) -> Vec<RawSocket> {
        let waiting = self.waiting.get(worker);
        waiting.map_or_else(Vec::new, |waiting| std::mem::take(&mut *locked(waiting)))
    }

    /// Every socket once more, to be handed over. None are left once the listener is
    /// to close.
    pub fn descriptors(&self) -> io::Result<Vec<OwnedFd>> {
        let kept = locked(&self.kept);
        kept.sockets.iter().map(OwnedFd::try_clone).collect()
    }

    /// Whether its name in the file system goes with it.
    pub fn has_path(&self) -> bool {
        locked(&self.kept).file.is_some()
    }

    /// A name that was passed is this process's from now on.
    pub fn own_name(&self) {
        if let Some(file) = &locked(&self.kept).file {
            file.own();
        }
    }

    /// Leaves the name in the file system to a process that goes on with the sockets.
    pub fn leave_name(&self) {
        if let Some(file) = locked(&self.kept).file.take() {
            file.leave();
        }
    }

    /// Leaves the sockets to the workers alone, one of which is gone: nothing can be
    /// handed over any more.
    pub fn forget(&self) {
        locked(&self.kept).sockets.clear();
    }

    /// Leaves the sockets to the workers alone, and takes their name out of the file
    /// system. To be called before workers are told to close them: what stayed open
    /// would take connections that nobody accepts.
    pub fn let_go(&self) {
        std::mem::take(&mut *locked(&self.kept));
    }
}

fn copy(socket: &RawSocket) -> io::Result<OwnedFd> {
    socket.try_clone().map(OwnedFd::from)
}

fn locked<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("cannot listen on {address}: {why}")]
    Failed {
        address: ListenAddress,
        why: String,
        #[source]
        source: io::Error,
    },
    #[error("no listening socket of the name `{0}` was passed to this process at its start")]
    NotPassed(String),
    #[error(transparent)]
    Unix(#[from] UnixError),
    #[error(transparent)]
    Option(#[from] OptionError),
}

/// The sockets of a listener: what of them was passed to the process, or else new ones.
/// Refused when anyone else listens there, another Lockgate included: workers share a
/// port among themselves only.
pub fn bind(
    config: &config::Listener,
    workers: usize,
    inherited: &Inherited,
) -> Result<Socket, BindError> {
    let failed = |source: io::Error| BindError::Failed {
        address: config.address.clone(),
        why: explain(&source),
        source,
    };
    let rules = &config.socket;
    let (mut sockets, mut file) = (Vec::new(), None);
    for Taken { socket, has_path } in inherited.take(&config.name, &config.address) {
        socket.set_nonblocking(true).map_err(failed)?;
        sockets.push(socket);
        if let (true, ListenAddress::Unix(path)) = (has_path, &config.address) {
            file = Some(SocketFile::passed(path).map_err(failed)?);
        }
    }
    if sockets.is_empty() {
        match &config.address {
            ListenAddress::Tcp(address) => {
                sockets = open_all(*address, rules, workers).map_err(|error| match error {
                    OpenError::Io(error) => failed(error),
                    OpenError::Option(error) => error.into(),
                })?;
            }
            ListenAddress::Unix(path) => {
                let (socket, made) = bind_unix(path, rules.backlog, &rules.file)?;
                sockets.push(socket);
                file = made;
            }
            ListenAddress::Systemd(name) => return Err(BindError::NotPassed(name.to_string())),
        }
    }
    for socket in &sockets {
        if socket.domain().map_err(failed)? != Domain::UNIX {
            options::for_connections(socket, rules)?;
        }
    }
    Socket::new(config, sockets, file, workers).map_err(failed)
}

#[derive(Debug, thiserror::Error)]
enum OpenError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Option(#[from] OptionError),
}

fn open_all(
    address: SocketAddr,
    rules: &ListenerSocket,
    workers: usize,
) -> Result<Vec<RawSocket>, OpenError> {
    if address.port() != 0 {
        // Without `SO_REUSEPORT` the kernel tells when someone listens there already.
        raw(address, rules)?.bind(&address.into())?;
    }
    let first = open(address, rules)?;
    if !rules.reuse_port {
        return Ok(vec![first]);
    }
    let bound = first.local_addr()?.as_socket().unwrap_or(address);
    let rest = (1..workers).map(|_| open(bound, rules));
    std::iter::once(Ok(first)).chain(rest).collect()
}

fn open(address: SocketAddr, rules: &ListenerSocket) -> Result<RawSocket, OpenError> {
    let socket = raw(address, rules)?;
    socket.set_reuse_port(rules.reuse_port)?;
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(rules.backlog).unwrap_or(i32::MAX))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn raw(address: SocketAddr, rules: &ListenerSocket) -> Result<RawSocket, OpenError> {
    let socket = RawSocket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    options::before_bind(&socket, rules, address.is_ipv6())?;
    Ok(socket)
}

fn explain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "the address is in use (is another Lockgate running?)".to_owned()
        }
        io::ErrorKind::PermissionDenied => {
            "not permitted (ports below 1024 want CAP_NET_BIND_SERVICE)".to_owned()
        }
        io::ErrorKind::AddrNotAvailable => "this machine has no such address".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
#[path = "bind/tests.rs"]
mod tests;
