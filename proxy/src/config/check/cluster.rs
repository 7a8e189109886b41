//! Clusters.

use std::collections::HashSet;

use serde_json::Value;

use super::Checker;
use super::address::{read_endpoint, read_host_pattern, read_network};
use super::names::read_name;
use super::retry::budget;
use crate::config::checked::{
    Cluster, ClusterProtocol, ClusterTimeouts, Endpoint, EndpointAddress, Listener, Name,
    PingTimes, Placement, PoolLimits, Targets, UpstreamHttp2,
};
use crate::config::place::below;
use crate::config::raw::{RawCluster, RawEndpoint, RawListener, RawTargets, RawUpstreamHttp2};

impl Checker<'_> {
    pub(super) fn cluster(&mut self, at: &str, raw: &RawCluster) -> Option<Cluster> {
        let name = self.required(at, "name", raw.name.as_ref(), read_name);
        let endpoints = raw.endpoints.as_deref().unwrap_or_default();
        let endpoints = self.endpoints(&below(at, "endpoints"), endpoints);
        let pool = self.pool(&below(at, "pool"), raw, &endpoints);
        let bounds = self.bounds(at, raw, &endpoints);
        let timeouts = ClusterTimeouts {
            connect: self.time(&below(at, "timeouts"), "connect", raw.timeouts.connect),
            tls: (raw.timeouts.tls).map(|time| self.time(&below(at, "timeouts"), "tls", time)),
            try_timeout: (raw.timeouts.r#try)
                .map(|time| self.time(&below(at, "timeouts"), "try", time)),
            answer: self.time(&below(at, "timeouts"), "answer", raw.timeouts.answer),
            idle: self.time(&below(at, "timeouts"), "idle", raw.timeouts.idle),
            total: (raw.timeouts.total)
                .map(|time| self.time(&below(at, "timeouts"), "total", time)),
        };
        let tls = raw.tls.as_ref();
        let tls = tls.map(|tls| self.cluster_tls(&below(at, "tls"), tls, raw.protocol, &endpoints));
        let targets = raw.targets.as_ref();
        let targets = targets.map(|targets| self.targets(&below(at, "targets"), targets));
        self.go_together(at, raw, &endpoints);
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
            targets,
            balance: self.balance(at, raw),
            spread: self.spread(at, raw),
            outliers: self.outliers(&below(at, "outliers"), &raw.outliers),
            health_checks: self.health_checks(at, raw),
            protocol: raw.protocol,
            // One with a mistake is never built.
            tls: tls.flatten(),
            proxy_protocol: raw.proxy_protocol,
            http2: self.upstream_http2(&below(at, "http2"), &raw.http2),
            pool,
            timeouts,
            bounds,
            retry: self.cluster_retry(at, raw),
            retry_budget: budget(&raw.retry_budget),
            socket: self.cluster_socket(&below(at, "socket"), &raw.socket),
            resolve_every: self.time(at, "resolve_every", raw.resolve_every),
            refused_pause: self.time(at, "refused_pause", raw.refused_pause),
            silent_pause: self.time(at, "silent_pause", raw.silent_pause),
            max_head_bytes: self.memory_size(at, "max_head_bytes", raw.max_head_bytes),
        })
    }

    fn pool(&mut self, at: &str, raw: &RawCluster, endpoints: &[Endpoint]) -> PoolLimits {
        let (max_idle, warm) = (raw.pool.max_idle, raw.pool.warm);
        let at_warm = below(at, "warm");
        if warm as usize > max_idle {
            let found = format!("`warm: {warm}` above `max_idle: {max_idle}`");
            self.mistake(&at_warm, found, "`max_idle`, or less");
        }
        if warm > 0 && raw.proxy_protocol.is_some() {
            let found = "`warm` where each connection is one client's (`proxy_protocol`)";
            self.mistake(&at_warm, found, "no such key");
        }
        if warm > 0 && endpoints.iter().any(|one| one.address.is_told()) {
            let found = "`warm` where clients say where they go";
            self.mistake(&at_warm, found, "no such key, or endpoints that are known");
        }
        PoolLimits {
            max_idle,
            idle_timeout: self.time(at, "idle_timeout", raw.pool.idle_timeout),
            max_lifetime: self.time(at, "max_lifetime", raw.pool.max_lifetime),
            max_requests: raw.pool.max_requests,
            warm,
        }
    }

    fn targets(&mut self, at: &str, raw: &RawTargets) -> Targets {
        Targets {
            hosts: self.texts(at, "hosts", &raw.hosts, read_host_pattern),
            networks: self.texts(at, "networks", &raw.networks, read_network),
            ports: raw.ports.iter().flatten().map(|port| port.get()).collect(),
        }
    }

    /// What is for clusters that go where requests say, and what is not.
    fn go_together(&mut self, at: &str, raw: &RawCluster, endpoints: &[Endpoint]) {
        let is_target = |one: &Endpoint| one.address == EndpointAddress::RequestTarget;
        match (endpoints.iter().any(is_target), &raw.targets) {
            (true, None) => {
                let found = "`request_target` without `targets`";
                self.mistake(
                    at,
                    found,
                    "`targets`: the hosts and networks that clients may go to",
                );
            }
            (false, Some(_)) if !endpoints.is_empty() => {
                let found = "`targets` where endpoints are known";
                self.mistake(
                    &below(at, "targets"),
                    found,
                    "no such key, or `endpoints: [request_target]`",
                );
            }
            (true, Some(targets)) if targets.hosts.is_empty() && targets.networks.is_empty() => {
                let found = "`targets` with neither `hosts` nor `networks`, which refuses everyone";
                self.warning(
                    &below(at, "targets"),
                    found,
                    "the hosts and networks that clients may go to",
                );
            }
            _ => {}
        }
        if endpoints.iter().any(is_target) && raw.tls.is_some() {
            let found = "`tls` where requests say where they go";
            let wanted = "no such key: who wants TLS with a target asks for it with CONNECT";
            self.mistake(&below(at, "tls"), found, wanted);
        }
    }

    /// Requests that say where they go are for clusters that go there, and no others are.
    pub(super) fn forward_proxies(
        &mut self,
        document: &Value,
        listeners: &[(RawListener, Option<Listener>)],
        clusters: &[(RawCluster, Option<Cluster>)],
    ) {
        let find = |name: &Name| {
            let mut clusters = clusters.iter().filter_map(|(_, cluster)| cluster.as_ref());
            clusters.find(|cluster| cluster.name == *name)
        };
        for listener in listeners
            .iter()
            .filter_map(|(_, listener)| listener.as_ref())
        {
            // Not by their places here: one that has another structure is missing.
            let written = document["listeners"].as_array();
            let mut written = written.into_iter().flatten();
            let is_it = |written: &Value| written["name"] == *listener.name;
            let index = written.position(is_it).unwrap_or_default();
            let at = below("/listeners", index);
            let goes = listener.forward_proxy.as_ref().and_then(find);
            if goes.is_some_and(|cluster| !cluster.goes_to_targets()) {
                let found = "a cluster whose endpoints are known";
                self.mistake(
                    &below(&at, "forward_proxy"),
                    found,
                    "one with `endpoints: [request_target]`",
                );
            }
            let stays = listener.cluster.as_ref().and_then(find);
            if stays.is_some_and(Cluster::goes_to_targets) {
                let found = "a cluster that goes where requests say";
                self.mistake(
                    &below(&at, "cluster"),
                    found,
                    "it in `forward_proxy`, or one whose endpoints are known",
                );
            }
        }
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

    pub(super) fn endpoints(&mut self, at: &str, raw: &[Option<RawEndpoint>]) -> Vec<Endpoint> {
        let mut seen = HashSet::new();
        let mut endpoints = Vec::new();
        for (index, raw) in raw.iter().enumerate() {
            let Some(raw) = raw else { continue };
            let Some(text) = &raw.address else { continue };
            let at = format!("{at}/{index}");
            let pointer = match raw.is_map {
                true => format!("{at}/address"),
                false => at.clone(),
            };
            let Some(address) = self.text(&pointer, text, read_endpoint) else {
                continue;
            };
            if !seen.insert(address.clone()) {
                let found = format!("the endpoint {} again", self.found(&pointer, text));
                self.warning(&pointer, found, "each endpoint once, with a `weight`");
            }
            let address = match address {
                EndpointAddress::File(file) => self.endpoint_file(&pointer, &file),
                address => address,
            };
            let zone = raw.zone.as_ref();
            let zone = zone.and_then(|zone| self.zone(&format!("{at}/zone"), zone));
            let labels = raw.labels.iter();
            let labels = labels.map(|(key, value)| (key.clone(), value.clone()));
            endpoints.push(Endpoint {
                address,
                weight: raw.weight,
                place: Placement {
                    tier: raw.tier,
                    zone,
                    labels: labels.collect(),
                },
            });
        }
        for (told, name) in [
            (EndpointAddress::OriginalDestination, "original_dst"),
            (EndpointAddress::RequestTarget, "request_target"),
        ] {
            if endpoints.len() > 1 && endpoints.iter().any(|one| one.address == told) {
                let found = format!("`{name}` beside other endpoints");
                self.mistake(at, found, "it alone: the client says where it goes");
            }
        }
        endpoints
    }
}
