//! Listeners.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::Checker;
use super::address::{read_header, read_listen, read_network, read_server, read_via};
use super::names::read_name;
use crate::config::checked::{
    Limits, Listener, MessageHeaders, Name, Network, PathRules, Timeouts,
};
use crate::config::place::below;
use crate::config::raw::{RawLimits, RawListener, RawMessageHeaders, RawPathRules, RawTimeouts};

impl Checker<'_> {
    pub(super) fn listener(&mut self, at: &str, raw: &RawListener) -> Option<Listener> {
        let name = self.required(at, "name", raw.name.as_ref(), read_name);
        let address = self.listen_address(at, raw.address.as_ref());
        let cluster = &raw.cluster;
        let cluster = cluster
            .as_ref()
            .map(|cluster| self.cluster_reference(&below(at, "cluster"), cluster));
        let removed = &raw.remove_request_headers;
        let remove_request_headers = self.texts(at, "remove_request_headers", removed, read_header);
        let filters = self.chain(&below(at, "filters"), &raw.filters);
        let limits = self.limits(&below(at, "limits"), &raw.limits);
        let timeouts = self.timeouts(&below(at, "timeouts"), &raw.timeouts);
        let headers = self.message_headers(&below(at, "headers"), &raw.headers);
        let RawPathRules {
            merge_slashes,
            encoded_slashes,
        } = raw.path;
        Some(Listener {
            name: name?,
            address: address?,
            cluster,
            remove_request_headers,
            filters,
            limits,
            timeouts,
            headers: headers?,
            path: PathRules {
                merge_slashes,
                encoded_slashes,
            },
        })
    }

    fn listen_address(&mut self, at: &str, text: Option<&String>) -> Option<SocketAddr> {
        let address = self.required(at, "address", text, read_listen)?;
        self.taken(&below(at, "address"), address);
        Some(address)
    }

    /// Refuse an address that is listened on twice. Port 0 is a free one each time.
    pub(super) fn taken(&mut self, pointer: &str, address: SocketAddr) {
        if address.port() == 0 {
            return;
        }
        match self.addresses.get(&address) {
            None => {
                self.addresses.insert(address, pointer.to_owned());
            }
            Some(first) => {
                let first = self.places.find(first);
                let found = format!("the address `{address}` again, first at {first}");
                self.mistake(pointer, found, "another address");
            }
        }
    }

    fn chain(&mut self, at: &str, names: &[Option<String>]) -> Vec<Name> {
        let mut seen = BTreeSet::new();
        let mut chain = Vec::new();
        for (index, name) in names.iter().enumerate() {
            let pointer = below(at, index);
            let Some(name) = name else { continue };
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
        if max_head_bytes != 0 && max_target_bytes > max_head_bytes {
            let found = format!("{max_target_bytes} bytes for the target");
            let wanted = format!("no more than `max_head_bytes`, which is {max_head_bytes}");
            self.mistake(&below(at, "max_target_bytes"), found, wanted);
        }
        Limits {
            max_head_bytes,
            max_headers: raw.max_headers,
            max_target_bytes,
            max_body_bytes: self.size(at, "max_body_bytes", raw.max_body_bytes),
            max_requests: raw.max_requests,
            max_connections: raw.max_connections,
        }
    }

    fn timeouts(&mut self, at: &str, raw: &RawTimeouts) -> Timeouts {
        Timeouts {
            idle: self.time(at, "idle", raw.idle),
            head: self.time(at, "head", raw.head),
            body: self.time(at, "body", raw.body),
            total: self.time(at, "total", raw.total),
            longest: self.time(at, "longest", raw.longest),
        }
    }

    fn message_headers(&mut self, at: &str, raw: &RawMessageHeaders) -> Option<MessageHeaders> {
        let server = self.text(&below(at, "server"), &raw.server, read_server);
        let via = self.text(&below(at, "via"), &raw.via, read_via);
        let trusted_hops = self.texts(at, "trusted_hops", &raw.trusted_hops, read_network);
        self.trusts_everyone(&below(at, "trusted_hops"), &trusted_hops);
        let request_id = self.text(&below(at, "request_id"), &raw.request_id, read_header);
        Some(MessageHeaders {
            server: server?,
            via: via?,
            forwarded: raw.forwarded,
            trusted_hops,
            request_id: request_id?,
        })
    }

    /// A network of every address makes each client one that is believed.
    fn trusts_everyone(&mut self, pointer: &str, networks: &[Network]) {
        for Network { address, .. } in networks.iter().filter(|network| network.prefix == 0) {
            let found = format!("`{address}/0`, which is everyone");
            self.warning(pointer, found, "the networks of your own proxies");
        }
    }
}
