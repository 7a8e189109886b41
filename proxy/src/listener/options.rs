//! What the kernel is to do with a socket.

use std::io;

use socket2::{Socket as RawSocket, TcpKeepalive};

use crate::config::ListenerSocket;
use crate::socket_option::set_fast_open;

/// An option that the kernel refused.
#[derive(Debug, thiserror::Error)]
#[error(
    "`socket.{option}` is refused by the kernel: {}",
    explain(option, reason)
)]
pub struct OptionError {
    option: &'static str,
    reason: io::Error,
}

fn explain(option: &str, reason: &io::Error) -> String {
    let needs = match option {
        "mark" | "transparent" => " (it wants CAP_NET_ADMIN)",
        _ => "",
    };
    match reason.kind() {
        io::ErrorKind::PermissionDenied => format!("{reason}{needs}"),
        _ => reason.to_string(),
    }
}

/// Names the option in what the kernel says of it.
fn named(option: &'static str) -> impl FnOnce(io::Error) -> OptionError {
    move |reason| OptionError { option, reason }
}

/// What must stand before the socket is bound.
pub fn before_bind(
    socket: &RawSocket,
    rules: &ListenerSocket,
    v6: bool,
) -> Result<(), OptionError> {
    if v6 {
        let only = socket.set_only_v6(rules.ipv6_only);
        only.map_err(named("ipv6_only"))?;
    }
    if rules.freebind {
        let freebind = match v6 {
            true => socket.set_freebind_v6(true),
            false => socket.set_freebind_v4(true),
        };
        freebind.map_err(named("freebind"))?;
    }
    if rules.transparent {
        let transparent = match v6 {
            true => socket.set_ip_transparent_v6(true),
            false => socket.set_ip_transparent_v4(true),
        };
        transparent.map_err(named("transparent"))?;
    }
    if let Some(mark) = rules.mark {
        socket.set_mark(mark).map_err(named("mark"))?;
    }
    if let Some(queue) = rules.fast_open {
        set_fast_open(socket, queue).map_err(named("fast_open"))?;
    }
    Ok(())
}

/// What accepted connections have from the listening socket, so that none of them costs a
/// call for it.
pub fn for_connections(socket: &RawSocket, rules: &ListenerSocket) -> Result<(), OptionError> {
    socket
        .set_tcp_nodelay(rules.no_delay)
        .map_err(named("no_delay"))?;
    match &rules.keep_alive {
        Some(probes) => socket
            .set_tcp_keepalive(&TcpKeepalive::from(probes))
            .map_err(named("keep_alive")),
        None => Ok(()),
    }
}
