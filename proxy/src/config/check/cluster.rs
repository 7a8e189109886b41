//! Clusters.

use std::collections::HashSet;

use super::Checker;
use super::address::read_endpoint;
use super::names::read_name;
use crate::config::checked::{
    Cluster, ClusterProtocol, ClusterTimeouts, Endpoint, EndpointAddress, PingTimes, PoolLimits,
    UpstreamHttp2,
};
use crate::config::place::below;
use crate::config::raw::{RawCluster, RawEndpoint, RawUpstreamHttp2};

impl Checker<'_> {
    pub(super) fn cluster(&mut self, at: &str, raw: &RawCluster) -> Option<Cluster> {
        let name = self.required(at, "name", raw.name.as_ref(), read_name);
        let endpoints = raw.endpoints.as_deref().unwrap_or_default();
        let endpoints = self.endpoints(&below(at, "endpoints"), endpoints);
        let pool = PoolLimits {
            max_idle: raw.pool.max_idle,
            idle_timeout: self.time(&below(at, "pool"), "idle_timeout", raw.pool.idle_timeout),
            max_lifetime: self.time(&below(at, "pool"), "max_lifetime", raw.pool.max_lifetime),
        };
        let timeouts = ClusterTimeouts {
            connect: self.time(&below(at, "timeouts"), "connect", raw.timeouts.connect),
            answer: self.time(&below(at, "timeouts"), "answer", raw.timeouts.answer),
            idle: self.time(&below(at, "timeouts"), "idle", raw.timeouts.idle),
        };
        let tls = raw.tls.as_ref();
        let tls = tls.map(|tls| self.cluster_tls(&below(at, "tls"), tls, raw.protocol, &endpoints));
        if raw.proxy_protocol.is_some() && raw.protocol != ClusterProtocol::Http1 {
            let found = "`proxy_protocol` where requests of many clients share a connection";
            self.mistake(
                &below(at, "proxy_protocol"),
                found,
                "no such key, or `protocol: http1`",
            );
        }
        Some(Cluster {
            name: name?,
            endpoints,
            balance: raw.balance,
            protocol: raw.protocol,
            // One with a mistake is never built.
            tls: tls.flatten(),
            proxy_protocol: raw.proxy_protocol,
            http2: self.upstream_http2(&below(at, "http2"), &raw.http2),
            pool,
            timeouts,
            socket: self.cluster_socket(&below(at, "socket"), &raw.socket),
            resolve_every: self.time(at, "resolve_every", raw.resolve_every),
            refused_pause: self.time(at, "refused_pause", raw.refused_pause),
            max_head_bytes: self.memory_size(at, "max_head_bytes", raw.max_head_bytes),
        })
    }

    fn upstream_http2(&mut self, at: &str, raw: &RawUpstreamHttp2) -> UpstreamHttp2 {
        UpstreamHttp2 {
            max_streams: raw.max_streams,
            stream_window: self.size(at, "stream_window", raw.stream_window) as u32,
            connection_window: self.size(at, "connection_window", raw.connection_window) as u32,
            pings: PingTimes {
                every: self.time(at, "ping_every", raw.ping_every),
                timeout: self.time(at, "ping_timeout", raw.ping_timeout),
            },
        }
    }

    fn endpoints(&mut self, at: &str, raw: &[Option<RawEndpoint>]) -> Vec<Endpoint> {
        let mut seen = HashSet::new();
        let mut endpoints = Vec::new();
        for (index, raw) in raw.iter().enumerate() {
            let Some(raw) = raw else { continue };
            let Some(text) = &raw.address else { continue };
            let pointer = match raw.is_map {
                true => below(&below(at, index), "address"),
                false => below(at, index),
            };
            let Some(address) = self.text(&pointer, text, read_endpoint) else {
                continue;
            };
            if !seen.insert(address.clone()) {
                let found = format!("the endpoint {} again", self.found(&pointer, text));
                self.warning(&pointer, found, "each endpoint once, with a `weight`");
            }
            endpoints.push(Endpoint {
                address,
                weight: raw.weight,
            });
        }
        let is_original = |one: &Endpoint| one.address == EndpointAddress::OriginalDestination;
        if endpoints.len() > 1 && endpoints.iter().any(is_original) {
            let found = "`original_dst` beside other endpoints";
            self.mistake(at, found, "it alone: the client says where it goes");
        }
        endpoints
    }
}
