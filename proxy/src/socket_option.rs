//! Options of sockets that no crate has.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use libc::c_int;

/// Sets an option whose value is an int.
#[allow(unsafe_code, reason = "socket2 does not have all of them")]
fn set(socket: impl AsFd, level: c_int, option: c_int, value: c_int) -> io::Result<()> {
    let size = std::mem::size_of_val(&value) as libc::socklen_t;
    // SAFETY: the descriptor is borrowed, so that it is open, and the kernel reads `size`
    // bytes of `value`.
    let outcome = unsafe {
        let value = (&raw const value).cast();
        libc::setsockopt(socket.as_fd().as_raw_fd(), level, option, value, size)
    };
    match outcome {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Lets so many connections wait that sent data with their first packet (RFC 7413).
pub fn set_fast_open(socket: impl AsFd, queue: u32) -> io::Result<()> {
    let queue = c_int::try_from(queue).unwrap_or(c_int::MAX);
    set(socket, libc::IPPROTO_TCP, libc::TCP_FASTOPEN, queue)
}

/// Has a bound address get its port once the other end is known: there are as many for
/// each of those.
pub fn set_port_late(socket: impl AsFd) -> io::Result<()> {
    set(socket, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1)
}
