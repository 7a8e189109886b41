//! How a cluster's endpoints are watched, and which of them are asked.

use std::ops::RangeInclusive;

use http::{HeaderMap, HeaderValue, Method};

use super::Checker;
use super::address::{Wrong, read_header};
use super::names::read_name;
use crate::balance::subsets::{Fallback, Label};
use crate::balance::{outlier, slow_start};
use crate::config::checked::{
    Check, ClusterProtocol, HealthCheck, HttpCheck, Name, Outliers, Spread, Subsets,
};
use crate::config::place::below;
use crate::config::raw::{
    RawCheckMethod, RawCluster, RawFallback, RawHealthCheck, RawHttpCheck, RawOutliers,
    RawStatuses, RawSubsets,
};

impl Checker<'_> {
    /// But for the proxy's zone, which is the same for all clusters.
    pub(super) fn spread(&mut self, at: &str, raw: &RawCluster) -> Spread {
        let slow_start = slow_start::Rules {
            window: self.time(&below(at, "slow_start"), "window", raw.slow_start.window),
            aggression: raw.slow_start.aggression,
            least: f64::from(raw.slow_start.least) / 100.0,
        };
        let subsets = raw.subsets.as_ref();
        Spread {
            zone: None,
            panic_percent: raw.panic_threshold,
            subsets: subsets.map(|subsets| self.subsets(&below(at, "subsets"), subsets)),
            slow_start,
        }
    }

    pub(super) fn zone(&mut self, pointer: &str, zone: &str) -> Option<Name> {
        self.text(pointer, zone, read_name)
    }

    fn subsets(&mut self, at: &str, raw: &RawSubsets) -> Subsets {
        let by = raw.by.iter().flatten().flatten();
        let by = by.map(|keys| keys.iter().flatten().cloned().collect());
        let labels = raw.default.iter().flatten();
        let labels: Vec<Label> = labels.map(|(k, v)| (k.clone(), v.clone())).collect();
        match (raw.fallback, labels.is_empty()) {
            (RawFallback::Default, true) => {
                let wanted = "`default`: the labels that are asked for then";
                self.mistake(at, "`fallback: default` without labels", wanted);
            }
            (RawFallback::All | RawFallback::None, false) => {
                let found = "`default`, which nobody falls back to";
                self.mistake(
                    &below(at, "default"),
                    found,
                    "`fallback: default` beside it",
                );
            }
            _ => {}
        }
        let fallback = match raw.fallback {
            RawFallback::All => Fallback::All,
            RawFallback::None => Fallback::None,
            RawFallback::Default => Fallback::Default(labels),
        };
        Subsets {
            by: by.collect(),
            fallback,
        }
    }

    pub(super) fn outliers(&mut self, at: &str, raw: &RawOutliers) -> Outliers {
        let base_time = self.time(at, "base_time", raw.base_time);
        let max_time = self.time(at, "max_time", raw.max_time);
        if max_time < base_time {
            let found = "a time below `base_time`";
            self.mistake(&below(at, "max_time"), found, "that, or a longer one");
        }
        Outliers {
            rules: outlier::Rules {
                errors: raw.consecutive_5xx,
                gateway: raw.consecutive_gateway,
                none: raw.consecutive_no_answer,
                deviations: raw.success_rate_deviations.unwrap_or(f64::INFINITY),
                failure_percent: raw.failure_percent.map_or(f64::INFINITY, f64::from),
                min_requests: raw.min_requests,
                min_endpoints: raw.min_endpoints,
                base_time,
                max_time,
                max_percent: raw.max_ejected.into(),
            },
            interval: self.time(at, "interval", raw.interval),
        }
    }

    pub(super) fn health_checks(&mut self, at: &str, raw: &RawCluster) -> Vec<HealthCheck> {
        let at = below(at, "health_checks");
        let checks = raw.health_checks.iter().enumerate();
        let checks = checks.filter_map(|(index, check)| Some((below(&at, index), check.as_ref()?)));
        checks
            .filter_map(|(at, check)| self.health_check(&at, check, raw))
            .collect()
    }

    fn health_check(
        &mut self,
        at: &str,
        raw: &RawHealthCheck,
        cluster: &RawCluster,
    ) -> Option<HealthCheck> {
        let what = match (&raw.http, &raw.tcp, &raw.grpc) {
            (Some(http), None, None) => {
                Check::Http(Box::new(self.http_check(&below(at, "http"), http)?))
            }
            (None, Some(_), None) => Check::Tcp,
            (None, None, Some(grpc)) => {
                self.check_grpc(&below(at, "grpc"), cluster);
                Check::Grpc {
                    service: grpc.service.clone(),
                }
            }
            _ => {
                let wanted = "exactly one of `http`, `tcp` and `grpc`";
                self.mistake(at, "a check of none or of several kinds", wanted);
                return None;
            }
        };
        Some(HealthCheck {
            what,
            interval: self.time(at, "interval", raw.interval),
            idle_interval: self.time(at, "idle_interval", raw.idle_interval),
            jitter: f64::from(raw.jitter) / 100.0,
            timeout: self.time(at, "timeout", raw.timeout),
            healthy_after: raw.healthy_after,
            unhealthy_after: raw.unhealthy_after,
        })
    }

    /// Without TLS nobody can choose: `auto` is HTTP/1 there.
    fn check_grpc(&mut self, at: &str, cluster: &RawCluster) {
        let (found, wanted) = match (cluster.protocol, &cluster.tls) {
            (ClusterProtocol::Http2, _) | (ClusterProtocol::Auto, Some(_)) => return,
            (ClusterProtocol::Http1, _) => (
                "a call of gRPC where the endpoints speak HTTP/1",
                "`protocol: http2` or `auto` of the cluster",
            ),
            (ClusterProtocol::Auto, None) => (
                "a call of gRPC where `protocol: auto` without `tls` is HTTP/1",
                "`protocol: http2` of the cluster, or `tls`",
            ),
        };
        self.mistake(at, found, wanted);
    }

    fn http_check(&mut self, at: &str, raw: &RawHttpCheck) -> Option<HttpCheck> {
        let path = self.text(&below(at, "path"), &raw.path, read_check_path);
        let host = raw.host.as_ref();
        let host = host.map(|host| self.text(&below(at, "host"), host, read_value));
        let mut headers = HeaderMap::new();
        for (name, value) in &raw.headers {
            let pointer = below(&below(at, "headers"), name);
            let read = self.text(&pointer, name, read_header);
            let value = self.text(&pointer, value, read_value);
            if let (Some(name), Some(value)) = (read, value) {
                headers.insert(name, value);
            }
        }
        if raw.body.is_some() && raw.method == RawCheckMethod::Head {
            let found = "a text that is to be in the answer to a HEAD, which has no body";
            self.mistake(&below(at, "body"), found, "`method: GET`, or no such key");
        }
        let status = raw.status.iter().enumerate();
        let status = status.filter_map(|(index, statuses)| {
            let pointer = below(&below(at, "status"), index);
            match statuses.as_ref()? {
                RawStatuses::One(status) => Some(*status..=*status),
                RawStatuses::Range(range) => self.text(&pointer, range, read_statuses),
            }
        });
        Some(HttpCheck {
            status: status.collect(),
            method: match raw.method {
                RawCheckMethod::Get => Method::GET,
                RawCheckMethod::Head => Method::HEAD,
                RawCheckMethod::Options => Method::OPTIONS,
            },
            path: path?,
            host: match host {
                Some(host) => Some(host?),
                None => None,
            },
            headers,
            body: raw.body.clone(),
        })
    }
}

fn read_check_path(text: &str) -> Result<http::uri::PathAndQuery, Wrong> {
    let wrong = || Wrong::new("a path, such as `/healthz`");
    match text.starts_with('/') {
        true => text.parse().map_err(|_| wrong()),
        false => Err(wrong()),
    }
}

fn read_value(text: &str) -> Result<HeaderValue, Wrong> {
    HeaderValue::from_str(text).map_err(|_| Wrong::new("the value of a header field"))
}

/// The structure was checked.
fn read_statuses(text: &str) -> Result<RangeInclusive<u16>, Wrong> {
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    match (from.parse(), to.parse()) {
        (Ok(from), Ok(to)) if from <= to => Ok(from..=to),
        _ => Err(Wrong::new("a status, or a range such as `200-299`")),
    }
}
