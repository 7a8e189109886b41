//! What the kernel is to do with the sockets of connections to endpoints.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, SockRef, Socket as RawSocket, TcpKeepalive, Type};
use tokio::net::TcpSocket;

use crate::config::ClusterSocket;
use crate::socket_option::set_port_late;

/// A socket that is to be connected to this address.
pub(super) fn socket(to: SocketAddr, rules: &ClusterSocket) -> io::Result<TcpSocket> {
    let socket = match to.is_ipv4() {
        true => TcpSocket::new_v4()?,
        false => TcpSocket::new_v6()?,
    };
    socket.set_nodelay(rules.no_delay)?;
    if let Some(probes) = &rules.keep_alive {
        SockRef::from(&socket).set_tcp_keepalive(&TcpKeepalive::from(probes))?;
    }
    if let Some(mark) = rules.mark {
        SockRef::from(&socket).set_mark(mark)?;
    }
    match rules.bind {
        None => {}
        Some(from) if from.is_ipv4() == to.is_ipv4() => {
            // With a port only once the other end is known: there are as many for each.
            set_port_late(&socket)?;
            socket.bind(SocketAddr::new(from, 0))?;
        }
        Some(from) => {
            let why = format!("`socket.bind` is {from}, which is of another family");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
    }
    Ok(socket)
}

/// Whether this machine lets the process do what a cluster's options want: the option
/// that it refuses, and why.
pub fn try_out(rules: &ClusterSocket) -> Result<(), (&'static str, io::Error)> {
    let domain = match rules.bind {
        Some(from) if from.is_ipv6() => Domain::IPV6,
        _ => Domain::IPV4,
    };
    let socket = RawSocket::new(domain, Type::STREAM, Some(Protocol::TCP));
    let socket = socket.map_err(|error| ("bind", error))?;
    if let Some(mark) = rules.mark {
        socket.set_mark(mark).map_err(|error| ("mark", error))?;
    }
    if let Some(from) = rules.bind {
        let bound = socket.bind(&SocketAddr::new(from, 0).into());
        bound.map_err(|error| ("bind", error))?;
    }
    Ok(())
}
