//! Binding: one socket for each worker on the same address.

use std::net::{SocketAddr, TcpListener};
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;

use socket2::{Domain, Protocol, Socket as RawSocket, Type};

/// Connections that may wait to be accepted, per worker.
const BACKLOG: i32 = 4096;

/// The sockets of one listener, one for each worker.
#[derive(Debug)]
pub struct Socket {
    /// As configured: port 0 stays 0, so that reloads find it again.
    pub wanted: SocketAddr,
    /// As bound.
    pub address: SocketAddr,
    /// Open connections over all workers.
    pub connections: AtomicUsize,
    /// TLS handshakes under way, over all workers.
    pub handshakes: AtomicUsize,
    waiting: Vec<Mutex<Option<TcpListener>>>,
}

impl Socket {
    /// The socket of a worker; each can be had once.
    pub fn take(&self, worker: usize) -> Option<TcpListener> {
        self.waiting
            .get(worker)?
            .lock()
            .expect("nothing panics while it holds this lock")
            .take()
    }
}

#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {why}")]
pub struct BindError {
    pub address: SocketAddr,
    pub why: String,
    #[source]
    pub source: std::io::Error,
}

/// Binds `address` once for each worker. Refused when anyone else listens
/// there, another Lockgate included: workers share a port among themselves
/// only.
pub fn bind(address: SocketAddr, workers: usize) -> Result<Socket, BindError> {
    let failed = |source: std::io::Error| BindError {
        address,
        why: explain(&source),
        source,
    };
    if address.port() != 0 {
        probe(address).map_err(failed)?;
    }
    let first = open(address).map_err(failed)?;
    let bound = first.local_addr().map_err(failed)?;
    let mut waiting = vec![Mutex::new(Some(first))];
    for _ in 1..workers {
        waiting.push(Mutex::new(Some(open(bound).map_err(failed)?)));
    }
    Ok(Socket {
        wanted: address,
        address: bound,
        connections: AtomicUsize::new(0),
        handshakes: AtomicUsize::new(0),
        waiting,
    })
}

/// Without `SO_REUSEPORT` the kernel tells when someone listens there already.
fn probe(address: SocketAddr) -> std::io::Result<()> {
    let socket = raw(address)?;
    socket.bind(&address.into())
}

fn open(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = raw(address)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn raw(address: SocketAddr) -> std::io::Result<RawSocket> {
    let socket = RawSocket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    Ok(socket)
}

fn explain(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            "the address is in use (is another Lockgate running?)".to_owned()
        }
        std::io::ErrorKind::PermissionDenied => {
            "not permitted (ports below 1024 want CAP_NET_BIND_SERVICE)".to_owned()
        }
        std::io::ErrorKind::AddrNotAvailable => "this machine has no such address".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_process_on_the_same_port_is_told_so() {
        let first = bind("127.0.0.1:0".parse().unwrap(), 2).unwrap();
        let error = bind(first.address, 2).unwrap_err();
        assert!(
            error.to_string().contains("is another Lockgate running?"),
            "{error}"
        );
    }

    #[test]
    fn every_worker_takes_its_socket_once() {
        let socket = bind("127.0.0.1:0".parse().unwrap(), 2).unwrap();
        assert_ne!(socket.address.port(), 0);
        for worker in 0..2 {
            let taken = socket.take(worker).unwrap();
            assert_eq!(taken.local_addr().unwrap(), socket.address);
            assert!(socket.take(worker).is_none());
        }
    }
}
