//! Options of sockets, and which address each goes with.

use std::net::IpAddr;

use serde::Deserialize;
use serde_json::json;

use super::Checker;
use super::address::Wrong;
use crate::config::checked::ListenAddress;
use crate::config::place::below;
use crate::config::raw::{RawClusterSocket, RawKeepAlive, RawListenerSocket};
use crate::config::socket::{Account, ClusterSocket, KeepAlive, ListenerSocket, SocketFileRules};

const OF_TCP: &[&str] = &[
    "reuse_port",
    "ipv6_only",
    "no_delay",
    "keep_alive",
    "fast_open",
    "mark",
    "freebind",
    "transparent",
];
const OF_UNIX: &[&str] = &["mode", "owner", "group"];

impl Checker<'_> {
    pub(super) fn listener_socket(
        &mut self,
        at: &str,
        raw: &RawListenerSocket,
        address: Option<&ListenAddress>,
    ) -> ListenerSocket {
        match address {
            Some(ListenAddress::Tcp(address)) => {
                self.no_such_options(at, raw, OF_UNIX, "where TCP is listened on");
                if raw.ipv6_only && address.is_ipv4() {
                    let found = "`ipv6_only` with an address of IPv4";
                    self.mistake(&below(at, "ipv6_only"), found, "an address of IPv6");
                }
            }
            Some(ListenAddress::Unix(_)) => {
                self.no_such_options(at, raw, OF_TCP, "where a Unix socket is listened on");
            }
            Some(ListenAddress::Systemd(_)) | None => {}
        }
        let mode = self.text(&below(at, "mode"), &raw.mode, read_mode);
        ListenerSocket {
            backlog: raw.backlog,
            reuse_port: raw.reuse_port,
            ipv6_only: raw.ipv6_only,
            no_delay: raw.no_delay,
            keep_alive: self.keep_alive(&below(at, "keep_alive"), raw.keep_alive.as_ref()),
            fast_open: raw.fast_open,
            mark: raw.mark,
            freebind: raw.freebind,
            transparent: raw.transparent,
            file: SocketFileRules {
                mode: mode.unwrap_or(0o600),
                owner: raw.owner.as_deref().map(account),
                group: raw.group.as_deref().map(account),
            },
        }
    }

    pub(super) fn cluster_socket(&mut self, at: &str, raw: &RawClusterSocket) -> ClusterSocket {
        let bind = raw.bind.as_deref();
        ClusterSocket {
            no_delay: raw.no_delay,
            keep_alive: self.keep_alive(&below(at, "keep_alive"), raw.keep_alive.as_ref()),
            mark: raw.mark,
            bind: bind.and_then(|text| self.text(&below(at, "bind"), text, read_ip)),
        }
    }

    fn keep_alive(&mut self, at: &str, raw: Option<&RawKeepAlive>) -> Option<KeepAlive> {
        let raw = raw?;
        Some(KeepAlive {
            idle: self.time(at, "idle", raw.idle),
            interval: self.time(at, "interval", raw.interval),
            count: raw.count,
        })
    }

    /// Refuses what is other than by default.
    fn no_such_options(&mut self, at: &str, raw: &RawListenerSocket, keys: &[&str], whence: &str) {
        let default = RawListenerSocket::deserialize(json!({})).map(|raw| json!(raw));
        let (default, written) = (default.unwrap_or_default(), json!(raw));
        for key in keys {
            if written.get(key) != default.get(key) {
                self.mistake(&below(at, *key), format!("`{key}` {whence}"), "no such key");
            }
        }
    }
}

fn read_mode(text: &str) -> Result<u32, Wrong> {
    let digits = text.strip_prefix('0').unwrap_or(text);
    let mode = u32::from_str_radix(digits, 8).ok();
    mode.filter(|_| digits.len() == 3)
        .ok_or_else(|| Wrong::new("permissions in three octal digits, such as `0660`"))
}

fn read_ip(text: &str) -> Result<IpAddr, Wrong> {
    let wrong = || Wrong::new("an IP address of this machine, such as `10.0.0.1`");
    text.parse().map_err(|_| wrong())
}

fn account(text: &str) -> Account {
    match text.parse() {
        Ok(number) => Account::Number(number),
        Err(_) => Account::Name(text.to_owned()),
    }
}
