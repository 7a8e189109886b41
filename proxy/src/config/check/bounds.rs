//! How much is asked of a cluster.

use super::Checker;
use crate::config::bounds::{
    Breaker, ClusterBounds, ClusterLimits, Concurrency, EndpointLimits, Queue,
};
use crate::config::checked::{ClusterProtocol, Endpoint};
use crate::config::place::below;
use crate::config::raw::{RawBreaker, RawCluster, RawConcurrency, RawEndpointLimits};

impl Checker<'_> {
    pub(super) fn bounds(
        &mut self,
        at: &str,
        raw: &RawCluster,
        endpoints: &[Endpoint],
    ) -> ClusterBounds {
        let limits = ClusterLimits {
            requests: raw.limits.requests,
            connections: raw.limits.connections,
            pending: raw.limits.pending,
            retries: raw.limits.retries,
        };
        let concurrency = raw.concurrency.as_ref();
        let concurrency = concurrency.map(|raw| self.concurrency(&below(at, "concurrency"), raw));
        let is_limited =
            limits.requests.is_some() || limits.connections.is_some() || concurrency.is_some();
        if raw.queue.is_some() && !is_limited {
            self.warning(
                &below(at, "queue"),
                "a queue where nothing is limited, so that nobody ever waits",
                "`limits` with `requests`, or `concurrency`",
            );
        }
        ClusterBounds {
            limits,
            per_endpoint: self.per_endpoint(at, raw, endpoints),
            queue: raw.queue.as_ref().map(|queue| Queue {
                max: queue.max,
                timeout: self.time(&below(at, "queue"), "timeout", queue.timeout),
            }),
            concurrency,
            breaker: raw.breaker.as_ref().map(|raw| self.breaker(at, raw)),
        }
    }

    fn per_endpoint(
        &mut self,
        at: &str,
        raw: &RawCluster,
        endpoints: &[Endpoint],
    ) -> EndpointLimits {
        let RawEndpointLimits {
            requests,
            connections,
            pending,
            retries,
        } = raw.limits.per_endpoint;
        let is_told = |one: &Endpoint| one.address.is_told();
        let all = [requests, connections, pending, retries];
        let has_any = all.iter().any(Option::is_some);
        if has_any && endpoints.iter().any(is_told) {
            let found = "limits of each endpoint where clients say where they go";
            let at = below(&below(at, "limits"), "per_endpoint");
            self.mistake(&at, found, "no such key, or endpoints that are known");
        }
        // Each request has a connection for itself.
        let alone = connections.filter(|_| raw.protocol == ClusterProtocol::Http1);
        EndpointLimits {
            requests: requests.into_iter().chain(alone).min(),
            connections,
            pending,
            retries,
        }
    }

    fn concurrency(&mut self, at: &str, raw: &RawConcurrency) -> Concurrency {
        let RawConcurrency { first, least, most } = *raw;
        if first < least || first > most {
            let found = format!("`first: {first}` with `least: {least}` and `most: {most}`");
            self.mistake(at, found, "`least`, `first` and `most` in this order");
        }
        Concurrency { first, least, most }
    }

    fn breaker(&mut self, at: &str, raw: &RawBreaker) -> Breaker {
        let at = below(at, "breaker");
        let open = self.time(&at, "open", raw.open);
        let max_open = self.time(&at, "max_open", raw.max_open);
        if max_open < open {
            let found = format!("`max_open: {}` below `open: {}`", raw.max_open, raw.open);
            self.mistake(&below(&at, "max_open"), found, "`open`, or more");
        }
        Breaker {
            failed: raw.failed,
            min_requests: raw.min_requests,
            window: self.time(&at, "window", raw.window),
            open,
            max_open,
            probes: raw.probes,
            closing: self.time(&at, "closing", raw.closing),
        }
    }
}
