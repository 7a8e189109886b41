//! Who is asked for names.

use std::net::SocketAddr;

use super::Checker;
use super::address::Wrong;
use crate::config::checked::Dns;
use crate::config::raw::RawDns;

impl Checker<'_> {
    pub(super) fn dns(&mut self, at: &str, raw: &RawDns) -> Dns {
        Dns {
            servers: self.texts(at, "servers", &raw.servers, read_server),
            timeout: self.time(at, "timeout", raw.timeout),
            attempts: raw.attempts,
        }
    }
}

fn read_server(text: &str) -> Result<SocketAddr, Wrong> {
    let wrong = || Wrong::new("an IP address with a port, such as `10.0.0.2:53`");
    let address: SocketAddr = text.parse().map_err(|_| wrong())?;
    match address.port() {
        0 => Err(wrong()),
        _ => Ok(address),
    }
}
