//! Listeners.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::HeaderName;

use super::Checker;
use super::address::{read_header, read_listen, read_network, read_server, read_upgrade, read_via};
use super::names::read_name;
use crate::config::checked::{
    Http2, Limits, ListenAddress, Listener, MessageHeaders, Name, Network, PathRules, PingTimes,
    ProxyProtocol, Timeouts, Upgrades,
};
use crate::config::place::below;
use crate::config::raw::{
    RawHttp2, RawLimits, RawListener, RawMessageHeaders, RawPathRules, RawProxyProtocol,
    RawTimeouts, RawUpgrades,
};

impl Checker<'_> {
    /// In the place of a mistake stands whatever is good, so that its filters are
    /// known: such a listener never listens.
    pub(super) fn listener(&mut self, at: &str, raw: &RawListener) -> Option<Listener> {
        let name = self.required(at, "name", raw.name.as_ref(), read_name);
        let address = self.listen_address(at, raw);
        let socket = self.listener_socket(&below(at, "socket"), &raw.socket, address.as_ref());
        let proxy_protocol = raw.proxy_protocol.as_ref();
        let proxy_protocol =
            proxy_protocol.map(|raw| self.proxy_protocol(&below(at, "proxy_protocol"), raw));
        let cluster = &raw.cluster;
        let cluster = cluster
            .as_ref()
            .map(|cluster| self.cluster_reference(&below(at, "cluster"), cluster));
        let forward_proxy = raw.forward_proxy.as_ref();
        let forward_proxy = forward_proxy
            .map(|cluster| self.cluster_reference(&below(at, "forward_proxy"), cluster));
        let removed = &raw.remove_request_headers;
        let remove_request_headers = self.texts(at, "remove_request_headers", removed, read_header);
        let filters = self.chain(&below(at, "filters"), &raw.filters);
        let connection_filters = &raw.connection_filters;
        let connection_filters = self.chain(&below(at, "connection_filters"), connection_filters);
        let detection = self.time(at, "detection", raw.detection);
        let server_first_ports = raw.server_first_ports.iter().flatten().copied().collect();
        let protocols: Vec<_> = raw.protocols.iter().flatten().copied().collect();
        self.kinds(at, raw, &protocols);
        let http2 = self.http2(&below(at, "http2"), &raw.http2);
        let tcp = self.tcp(&below(at, "tcp"), &raw.tcp);
        let tls = raw.tls.as_ref();
        let tls = tls.and_then(|tls| self.listener_tls(&below(at, "tls"), tls, &protocols));
        let upgrades = self.upgrades(&below(at, "upgrades"), &raw.upgrades);
        let limits = self.limits(&below(at, "limits"), &raw.limits);
        let timeouts = self.timeouts(&below(at, "timeouts"), &raw.timeouts);
        let headers = self.message_headers(&below(at, "headers"), &raw.headers);
        let RawPathRules {
            merge_slashes,
            encoded_slashes,
        } = raw.path;
        Some(Listener {
            name: name.unwrap_or_else(|| Arc::from("")),
            address: address.unwrap_or(ListenAddress::Tcp(SocketAddr::from(([0, 0, 0, 0], 0)))),
            socket,
            tls,
            proxy_protocol,
            cluster,
            forward_proxy,
            remove_request_headers,
            filters,
            connection_filters,
            detection,
            server_first_ports,
            protocols,
            http2,
            tcp,
            upgrades,
            limits,
            timeouts,
            headers,
            path: PathRules {
                merge_slashes,
                encoded_slashes,
            },
        })
    }

    fn proxy_protocol(&mut self, at: &str, raw: &RawProxyProtocol) -> ProxyProtocol {
        let from = raw.from.as_deref().unwrap_or_default();
        let from = self.texts(at, "from", from, read_network);
        self.trusts_everyone(&below(at, "from"), &from);
        ProxyProtocol {
            from,
            is_required: raw.required,
            timeout: self.time(at, "timeout", raw.timeout),
        }
    }

    fn listen_address(&mut self, at: &str, raw: &RawListener) -> Option<ListenAddress> {
        let address = self.required(at, "address", raw.address.as_ref(), read_listen)?;
        let is_ipv6_only = raw.socket.ipv6_only;
        self.taken(&below(at, "address"), address.clone(), is_ipv6_only);
        Some(address)
    }

    /// Refuse an address that is listened on twice.
    pub(super) fn taken(&mut self, pointer: &str, address: ListenAddress, is_ipv6_only: bool) {
        let occupied = Occupied {
            address,
            is_ipv6_only,
            pointer: pointer.to_owned(),
        };
        let mut others = self.addresses.iter();
        let Some(other) = others.find(|other| other.overlaps(&occupied)) else {
            return self.addresses.push(occupied);
        };
        let (first, address) = (self.places.find(&other.pointer), &occupied.address);
        let found = match other.address == *address {
            true => format!("the address `{address}` again, first at {first}"),
            false => format!(
                "the address `{address}`, which is also of `{}` at {first}",
                other.address
            ),
        };
        self.mistake(pointer, found, "another address");
    }

    fn chain(&mut self, at: &str, names: &[Option<String>]) -> Vec<Name> {
        let mut seen = BTreeSet::new();
        let mut chain = Vec::new();
        for (index, name) in names.iter().enumerate() {
            let pointer = below(at, index);
            // That there is something is kept: it may be what declares routes.
            let Some(name) = name else {
                chain.push(Arc::from(""));
                continue;
            };
            if self.has_enough() {
                break;
            }
            chain.push(self.filter_reference(&pointer, name));
            if !seen.insert(name) {
                let found = format!("{} again", self.found(&pointer, name));
                self.mistake(&pointer, found, "each filter once in a listener");
            }
        }
        chain
    }

    fn limits(&mut self, at: &str, raw: &RawLimits) -> Limits {
        let max_head_bytes = self.memory_size(at, "max_head_bytes", raw.max_head_bytes);
        let max_target_bytes = self.memory_size(at, "max_target_bytes", raw.max_target_bytes);
        // The default goes along with a smaller head; a written one must fit in it.
        let pointer = below(at, "max_target_bytes");
        let is_good = raw.max_head_bytes.in_range().is_ok();
        if is_good && max_target_bytes > max_head_bytes && self.places.has(&pointer) {
            let found = format!("{max_target_bytes} bytes for the target");
            let wanted = format!("no more than `max_head_bytes`, which is {max_head_bytes}");
            self.mistake(&pointer, found, wanted);
        }
        Limits {
            max_head_bytes,
            max_headers: raw.max_headers,
            max_target_bytes: max_target_bytes.min(max_head_bytes),
            max_body_bytes: self.size(at, "max_body_bytes", raw.max_body_bytes),
            min_body_rate: self.size(at, "min_body_rate", raw.min_body_rate),
            max_requests: raw.max_requests,
            max_connections: raw.max_connections,
            max_client_connections: raw.max_client_connections,
            client_ipv6_prefix: raw.client_ipv6_prefix,
            max_handshakes: raw.max_handshakes,
            max_client_handshakes: raw.max_client_handshakes,
        }
    }

    fn http2(&mut self, at: &str, raw: &RawHttp2) -> Http2 {
        Http2 {
            max_streams: raw.max_streams,
            stream_window: self.size(at, "stream_window", raw.stream_window) as u32,
            connection_window: self.size(at, "connection_window", raw.connection_window) as u32,
            max_resets: raw.max_resets,
            max_control_frames: raw.max_control_frames,
            pings: PingTimes {
                every: self.time(at, "ping_every", raw.ping_every),
                timeout: self.time(at, "ping_timeout", raw.ping_timeout),
            },
        }
    }

    fn upgrades(&mut self, at: &str, raw: &RawUpgrades) -> Upgrades {
        let lifetime = raw.max_lifetime;
        Upgrades {
            protocols: self.texts(at, "protocols", &raw.protocols, read_upgrade),
            idle: self.time(at, "idle", raw.idle),
            max_lifetime: lifetime.map(|lifetime| self.time(at, "max_lifetime", lifetime)),
        }
    }

    fn timeouts(&mut self, at: &str, raw: &RawTimeouts) -> Timeouts {
        Timeouts {
            handshake: self.time(at, "handshake", raw.handshake),
            idle: self.time(at, "idle", raw.idle),
            head: self.time(at, "head", raw.head),
            body: self.time(at, "body", raw.body),
            total: self.time(at, "total", raw.total),
            longest: self.time(at, "longest", raw.longest),
        }
    }

    fn message_headers(&mut self, at: &str, raw: &RawMessageHeaders) -> MessageHeaders {
        let server = self.text(&below(at, "server"), &raw.server, read_server);
        let via = self.text(&below(at, "via"), &raw.via, read_via);
        let trusted_hops = self.texts(at, "trusted_hops", &raw.trusted_hops, read_network);
        self.trusts_everyone(&below(at, "trusted_hops"), &trusted_hops);
        let request_id = self.text(&below(at, "request_id"), &raw.request_id, read_header);
        MessageHeaders {
            server: server.flatten(),
            via: via.flatten(),
            forwarded: raw.forwarded,
            client_certificate: raw.client_certificate,
            trusted_hops,
            request_id: request_id.unwrap_or(HeaderName::from_static("x-request-id")),
        }
    }

    /// A network of every address makes each client one that is believed.
    fn trusts_everyone(&mut self, pointer: &str, networks: &[Network]) {
        for Network { address, .. } in networks.iter().filter(|network| network.prefix == 0) {
            let found = format!("`{address}/0`, which is everyone");
            self.warning(pointer, found, "the networks of your own proxies");
        }
    }
}

/// An address that somebody listens on.
pub(super) struct Occupied {
    address: ListenAddress,
    is_ipv6_only: bool,
    pointer: String,
}

impl Occupied {
    /// Whether one of them leaves nothing to the other. What systemd passes may be bound
    /// to any address.
    fn overlaps(&self, other: &Self) -> bool {
        match (&self.address, &other.address) {
            (ListenAddress::Tcp(one), ListenAddress::Tcp(another)) => {
                let families = [(one, self), (another, other)];
                let is_alone = |(address, occupied): &(&SocketAddr, &Self)| {
                    address.is_ipv6() && occupied.is_ipv6_only
                };
                let are_apart = one.is_ipv4() != another.is_ipv4() && families.iter().any(is_alone);
                !are_apart && overlap(*one, *another)
            }
            (one, another) => one == another,
        }
    }
}

/// Whether the kernel would not let both be listened on. An address of IPv6 that
/// is every one takes those of IPv4 too. Port 0 is a free one each time.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let covers = |wide: IpAddr, narrow: IpAddr| match wide {
        IpAddr::V4(wide) => wide.is_unspecified() && narrow.is_ipv4(),
        IpAddr::V6(wide) => wide.is_unspecified(),
    };
    let (one_ip, other_ip) = (one.ip().to_canonical(), other.ip().to_canonical());
    let same = one_ip == other_ip || covers(one_ip, other_ip) || covers(other_ip, one_ip);
    same && one.port() == other.port() && one.port() != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_overlap() {
        for (one, other, wanted) in [
            ("127.0.0.1:80", "127.0.0.1:80", true),
            ("127.0.0.1:80", "127.0.0.1:81", false),
            ("127.0.0.1:80", "127.0.0.2:80", false),
            ("127.0.0.1:80", "0.0.0.0:80", true),
            ("0.0.0.0:80", "0.0.0.0:81", false),
            ("[::1]:80", "[::]:80", true),
            ("127.0.0.1:80", "[::]:80", true),
            ("0.0.0.0:80", "[::]:80", true),
            ("0.0.0.0:0", "0.0.0.0:0", false),
            ("0.0.0.0:80", "[::1]:80", false),
            ("[::ffff:127.0.0.1]:80", "127.0.0.1:80", true),
        ] {
            let parse = |text: &str| text.parse().expect("an address");
            assert_eq!(overlap(parse(one), parse(other)), wanted, "{one} {other}");
            assert_eq!(overlap(parse(other), parse(one)), wanted, "{other} {one}");
        }
    }

    #[test]
    fn ipv6_alone_leaves_ipv4_to_others() {
        let occupied = |address: &str, is_ipv6_only| Occupied {
            address: ListenAddress::Tcp(address.parse().expect("an address")),
            is_ipv6_only,
            pointer: String::new(),
        };
        let wide = occupied("0.0.0.0:80", false);
        assert!(occupied("[::]:80", false).overlaps(&wide));
        assert!(!occupied("[::]:80", true).overlaps(&wide));
        assert!(!wide.overlaps(&occupied("[::]:80", true)));
        assert!(occupied("[::]:80", true).overlaps(&occupied("[::1]:80", false)));
    }
}
