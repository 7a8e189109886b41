//! What is told of listeners, clusters and filters.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use prometheus_client::registry::Unit;

use super::{Head, Labels, Observations, Page};
use crate::balance::outlier::Cause;
use crate::shared;
use crate::stats::bill::paused_workers;
use crate::stats::counter::{BOUNDS, Counter, Gauge, Histogram, PerWorker};
use crate::stats::filter::{FAULTS, PHASES, Waits};
use crate::stats::tls::{self, HandshakeFailure};
use crate::stats::{
    ClusterStats, Detected, Ending, EndpointState, FilterKey, FilterStats, HeaderOutcome, JobKey,
    JobStats, ListenerStats, Named, NoRetry, Refusal, StatusClass,
};

/// The series of one kind of thing, with the labels that tell them apart.
pub(super) type Rows<T> = Vec<(Labels, Arc<PerWorker<T>>)>;

pub fn listeners(
    named: &Named<Arc<str>, ListenerStats>,
    error_kinds: &[&'static str],
    page: &mut Page,
) -> fmt::Result {
    let rows = rows(named, |name| vec![("listener", name.clone())]);
    let classes = StatusClass::ALL.map(StatusClass::name);
    split(
        page,
        &Head::of(
            "lockgate_requests",
            "Exchanges that are over, by class of status.",
        ),
        ("status", &classes),
        &rows,
        |stats, class| stats.requests(StatusClass::ALL[class]),
    )?;
    happened(
        page,
        &Head::of(
            "lockgate_request_errors",
            "Exchanges that failed, by kind of error.",
        ),
        ("error", error_kinds),
        &rows,
        ListenerStats::errors,
    )?;
    histogram(
        page,
        &Head::of(
            "lockgate_request_duration",
            "From a request's first byte to its answer's last.",
        ),
        &rows,
        |stats| &stats.durations,
    )?;
    counters(page, &rows, &LISTENER_COUNTERS)?;
    split(
        page,
        &Head::of(
            "lockgate_connections_refused",
            "Client connections closed as they came, by whose limit was reached.",
        ),
        ("limit", &Refusal::NAMES),
        &rows,
        |stats, limit| stats.connections_refused.of(limit),
    )?;
    split(
        page,
        &Head::of(
            "lockgate_connections_ended",
            "Client connections that the proxy itself ended, by why.",
        ),
        ("reason", &Ending::NAMES),
        &rows,
        |stats, reason| stats.connections_ended.of(reason),
    )?;
    handshakes(page, &rows)?;
    happened(
        page,
        &Head::of(
            "lockgate_proxy_headers",
            "Connections where a PROXY header is looked for, by what became of that.",
        ),
        ("outcome", &HeaderOutcome::NAMES),
        &rows,
        |stats, outcome| stats.proxy_headers.of(outcome),
    )?;
    happened(
        page,
        &Head::of(
            "lockgate_connections_detected",
            "Connections where what is spoken is detected, by what that was.",
        ),
        ("protocol", &Detected::NAMES),
        &rows,
        |stats, detected| stats.detections.of(detected),
    )?;
    gauge(
        page,
        &Head::of(
            "lockgate_connections_active",
            "Client connections that are open.",
        ),
        &rows,
        |stats| &stats.connections_active,
    )?;
    gauge(
        page,
        &Head::of(
            "lockgate_tunnels_active",
            "Connections and streams that went on in another protocol and are open.",
        ),
        &rows,
        |stats| &stats.tunnels_active,
    )
}

/// Of listeners that ever had any.
fn handshakes(page: &mut Page, rows: &Rows<ListenerStats>) -> fmt::Result {
    let pairs = rows
        .iter()
        .flat_map(|row| tls::DONE.iter().enumerate().map(move |kind| (row, kind)));
    let series = pairs.map(|((labels, stats), (index, (version, is_resumed)))| {
        let mut labels = labels.clone();
        labels.push(("version", (*version).into()));
        labels.push(("resumed", is_resumed.to_string().into()));
        (labels, stats.sum(|stats| stats.tls.done(index)))
    });
    page.counter(
        &Head::of("lockgate_tls_handshakes", "TLS handshakes that went well."),
        series.filter(|(_, count)| *count > 0),
    )?;
    happened(
        page,
        &Head::of(
            "lockgate_tls_handshake_failures",
            "TLS handshakes that came to nothing, by why.",
        ),
        ("reason", HandshakeFailure::NAMES),
        rows,
        |stats, reason| stats.tls.failures(reason),
    )
}

const LISTENER_COUNTERS: [CounterFamily<ListenerStats>; 6] = [
    CounterFamily {
        name: "lockgate_request_body",
        help: "Body bytes from clients, and all bytes of TCP.",
        unit: Some(Unit::Bytes),
        of: |stats| &stats.bytes_in,
    },
    CounterFamily {
        name: "lockgate_response_body",
        help: "Body bytes to clients, and all bytes of TCP.",
        unit: Some(Unit::Bytes),
        of: |stats| &stats.bytes_out,
    },
    CounterFamily {
        name: "lockgate_connections_opened",
        help: "Client connections that were accepted.",
        unit: None,
        of: |stats| &stats.connections_opened,
    },
    CounterFamily {
        name: "lockgate_streams_refused",
        help: "Streams of HTTP/2 that were refused unseen.",
        unit: None,
        of: |stats| &stats.streams_refused,
    },
    CounterFamily {
        name: "lockgate_accept_errors",
        help: "Connections that could not be accepted.",
        unit: None,
        of: |stats| &stats.accept_errors,
    },
    CounterFamily {
        name: "lockgate_tcp_connections",
        help: "Connections of TCP that are over.",
        unit: None,
        of: |stats| &stats.tcp_connections,
    },
];

pub fn clusters(
    named: &Named<Arc<str>, ClusterStats>,
    error_kinds: &[&'static str],
    page: &mut Page,
) -> fmt::Result {
    let rows = rows(named, |name| vec![("cluster", name.clone())]);
    counters(page, &rows, &CLUSTER_COUNTERS)?;
    happened(
        page,
        &Head::of(
            "lockgate_cluster_errors",
            "Requests without a complete answer, by kind of error.",
        ),
        ("error", error_kinds),
        &rows,
        ClusterStats::errors,
    )?;
    split(
        page,
        &Head::of(
            "lockgate_cluster_retries_denied",
            "Requests that were not tried again although their policy says so, by reason.",
        ),
        ("reason", &NoRetry::NAMES),
        &rows,
        |stats, reason| stats.retries_denied.of(reason),
    )?;
    histogram(
        page,
        &Head::of(
            "lockgate_cluster_answer_duration",
            "From the choice of an endpoint to the head of its answer.",
        ),
        &rows,
        |stats| &stats.durations,
    )?;
    gauge(
        page,
        &Head::of("lockgate_cluster_requests_active", "Requests under way."),
        &rows,
        |stats| &stats.active,
    )?;
    gauge(
        page,
        &Head::of(
            "lockgate_cluster_connections_idle",
            "Connections in the pools.",
        ),
        &rows,
        |stats| &stats.connections_idle,
    )?;
    gauge(
        page,
        &Head::of(
            "lockgate_cluster_connections",
            "Connections to endpoints, idle or not.",
        ),
        &rows,
        |stats| &stats.connections_open,
    )?;
    gauge(
        page,
        &Head::of(
            "lockgate_cluster_requests_queued",
            "Requests that wait for their turn.",
        ),
        &rows,
        |stats| &stats.queued,
    )?;
    gauge(
        page,
        &Head::of(
            "lockgate_cluster_requests_connecting",
            "Requests that wait for a connection to be made.",
        ),
        &rows,
        |stats| &stats.connecting,
    )?;
    gauge(
        page,
        &Head::of(
            "lockgate_cluster_breaker",
            "The breaker: 0 closed, 1 closing, 2 half open, 3 open.",
        ),
        &rows,
        |stats| &stats.health.breaker,
    )?;
    gauge(
        page,
        &Head::of(
            "lockgate_cluster_learnt_limit",
            "Requests at once that are let in now, where that is learnt.",
        ),
        &rows,
        |stats| &stats.health.learnt_limit,
    )?;
    health(page, &rows)
}

/// How their endpoints are.
fn health(page: &mut Page, rows: &Rows<ClusterStats>) -> fmt::Result {
    let states = rows.iter().flat_map(|(labels, stats)| {
        let states = EndpointState::NAMES.iter().enumerate();
        states.map(move |(state, name)| {
            let mut labels = labels.clone();
            labels.push(("state", (*name).into()));
            (labels, stats.level(|stats| &stats.health.endpoints[state]))
        })
    });
    page.gauge(
        &Head::of("lockgate_cluster_endpoints", "Endpoints, by how they are."),
        states,
    )?;
    gauge(
        page,
        &Head::of(
            "lockgate_cluster_panic",
            "1 while sick endpoints are asked because too few are well.",
        ),
        rows,
        |stats| &stats.health.panic,
    )?;
    split(
        page,
        &Head::of(
            "lockgate_cluster_ejections",
            "Ejections of endpoints, by the rule that they broke.",
        ),
        ("reason", &Cause::NAMES),
        rows,
        |stats, cause| &stats.health.ejections[cause],
    )?;
    split(
        page,
        &Head::of(
            "lockgate_cluster_health_checks",
            "Health checks of endpoints, by outcome.",
        ),
        ("outcome", &["passed", "failed"]),
        rows,
        |stats, outcome| match outcome {
            0 => &stats.health.checks_passed,
            _ => &stats.health.checks_failed,
        },
    )?;
    counters(
        page,
        rows,
        &[CounterFamily {
            name: "lockgate_cluster_ejections_refused",
            help: "Ejections that were due, and not made since too many endpoints are ejected.",
            unit: None,
            of: |stats| &stats.health.ejections_refused,
        }],
    )
}

const CLUSTER_COUNTERS: [CounterFamily<ClusterStats>; 12] = [
    CounterFamily {
        name: "lockgate_cluster_requests",
        help: "Requests and connections of TCP handed to the cluster, each once, however often it was tried.",
        unit: None,
        of: |stats| &stats.requests,
    },
    CounterFamily {
        name: "lockgate_cluster_retries",
        help: "Tries beyond the first, those of connecting to another endpoint included.",
        unit: None,
        of: |stats| &stats.retries,
    },
    CounterFamily {
        name: "lockgate_cluster_hedges",
        help: "Second tries beside a first that took long.",
        unit: None,
        of: |stats| &stats.hedges,
    },
    CounterFamily {
        name: "lockgate_cluster_hedges_won",
        help: "Of these, those that were answered first.",
        unit: None,
        of: |stats| &stats.hedges_won,
    },
    CounterFamily {
        name: "lockgate_cluster_copies",
        help: "Copies of requests that filters sent here.",
        unit: None,
        of: |stats| &stats.copies,
    },
    CounterFamily {
        name: "lockgate_cluster_copies_refused",
        help: "Copies not made, because a worker had too many under way.",
        unit: None,
        of: |stats| &stats.copies_refused,
    },
    CounterFamily {
        name: "lockgate_cluster_copies_failed",
        help: "Copies that did not end well.",
        unit: None,
        of: |stats| &stats.copies_failed,
    },
    CounterFamily {
        name: "lockgate_cluster_connections_opened",
        help: "Connections made to endpoints.",
        unit: None,
        of: |stats| &stats.connections_opened,
    },
    CounterFamily {
        name: "lockgate_cluster_connections_reused",
        help: "Requests that found an idle connection.",
        unit: None,
        of: |stats| &stats.connections_reused,
    },
    CounterFamily {
        name: "lockgate_cluster_connections_discarded",
        help: "Connections closed before they could be reused: broken, unfinished or not wanted.",
        unit: None,
        of: |stats| &stats.connections_discarded,
    },
    CounterFamily {
        name: "lockgate_cluster_connections_expired",
        help: "Idle connections closed for their age, or by the origin.",
        unit: None,
        of: |stats| &stats.connections_expired,
    },
    CounterFamily {
        name: "lockgate_cluster_connect_failures",
        help: "Connections that were refused, or not made in time.",
        unit: None,
        of: |stats| &stats.connect_failures,
    },
];

pub fn filters(named: &Named<FilterKey, FilterStats>, page: &mut Page) -> fmt::Result {
    let rows = rows(named, |(name, generation)| {
        vec![("filter", name.clone()), ("generation", generation.clone())]
    });
    split(
        page,
        &Head::of("lockgate_filter_calls", "Calls of a filter, by phase."),
        ("phase", &PHASES),
        &rows,
        FilterStats::calls,
    )?;
    split(
        page,
        &Head::of(
            "lockgate_filter_faults",
            "Promises that a filter broke, by name.",
        ),
        ("fault", &FAULTS),
        &rows,
        FilterStats::faults,
    )?;
    cpu(page, &rows)?;
    waits(page, &rows, &INSTANCE_WAITS)?;
    waits(page, &rows, &CALL_WAITS)?;
    counters(page, &rows, &FILTER_COUNTERS)?;
    gauge(
        page,
        &Head::of("lockgate_filter_instances", "Instances that workers have."),
        &rows,
        |stats| &stats.instances,
    )?;
    gauge(
        page,
        &Head::of(
            "lockgate_filter_memory",
            "Linear memory of these instances.",
        )
        .unit(Unit::Bytes),
        &rows,
        |stats| &stats.memory_bytes,
    )?;
    let now = SystemTime::now();
    page.gauge(
        &Head::of(
            "lockgate_filter_paused_workers",
            "Workers that do not call a filter for a while.",
        ),
        rows.iter()
            .map(|(labels, stats)| (labels.clone(), paused_workers(stats, now) as u64)),
    )
}

const FILTER_COUNTERS: [CounterFamily<FilterStats>; 6] = [
    CounterFamily {
        name: "lockgate_filter_host_calls",
        help: "Calls of a filter into the host.",
        unit: None,
        of: |stats| &stats.host_calls,
    },
    CounterFamily {
        name: "lockgate_filter_body_in",
        help: "Bytes of bodies that a filter was given.",
        unit: Some(Unit::Bytes),
        of: |stats| &stats.body_bytes_in,
    },
    CounterFamily {
        name: "lockgate_filter_body_out",
        help: "Bytes of bodies that a filter gave.",
        unit: Some(Unit::Bytes),
        of: |stats| &stats.body_bytes_out,
    },
    CounterFamily {
        name: "lockgate_filter_instances_made",
        help: "Instances of a filter that were made.",
        unit: None,
        of: |stats| &stats.instances_made,
    },
    CounterFamily {
        name: "lockgate_filter_instances_lost",
        help: "Instances of a filter that were thrown away after a fault.",
        unit: None,
        of: |stats| &stats.instances_lost,
    },
    CounterFamily {
        name: "lockgate_filter_log_lines_dropped",
        help: "Log lines of a filter beyond its limit.",
        unit: None,
        of: |stats| &stats.log_lines_dropped,
    },
];

/// How often something was waited for, and for how long.
struct WaitFamily {
    count: (&'static str, &'static str),
    time: (&'static str, &'static str),
    of: fn(&FilterStats) -> &Waits,
}

const INSTANCE_WAITS: WaitFamily = WaitFamily {
    count: (
        "lockgate_filter_waits",
        "Calls of a filter that had to wait for an instance.",
    ),
    time: ("lockgate_filter_wait", "How long these waited."),
    of: |stats| &stats.instance_waits,
};

const CALL_WAITS: WaitFamily = WaitFamily {
    count: (
        "lockgate_filter_call_waits",
        "Waits of a filter for its calls to clusters.",
    ),
    time: (
        "lockgate_filter_call_wait",
        "How long it waited for its calls to clusters.",
    ),
    of: |stats| &stats.call_waits,
};

fn waits(page: &mut Page, rows: &Rows<FilterStats>, family: &WaitFamily) -> fmt::Result {
    let (name, help) = family.count;
    page.counter(
        &Head::of(name, help),
        rows.iter()
            .map(|(labels, stats)| (labels.clone(), stats.sum(|stats| &(family.of)(stats).count))),
    )?;
    let (name, help) = family.time;
    page.counter(
        &Head::of(name, help).unit(Unit::Seconds),
        rows.iter().map(|(labels, stats)| {
            let nanoseconds = stats.sum(|stats| &(family.of)(stats).nanoseconds);
            (labels.clone(), nanoseconds as f64 / 1e9)
        }),
    )
}

/// By phase, where a phase has any.
fn cpu(page: &mut Page, rows: &Rows<FilterStats>) -> fmt::Result {
    let series = split_rows("phase", &PHASES, rows, FilterStats::cpu);
    page.counter(
        &Head::of(
            "lockgate_filter_cpu",
            "CPU time of the calls of a filter, of which some are measured.",
        )
        .unit(Unit::Seconds),
        series
            .filter(|(_, nanoseconds)| *nanoseconds > 0)
            .map(|(labels, nanoseconds)| (labels, nanoseconds as f64 / 1e9)),
    )
}

/// The jobs of filters, one for each configuration.
pub fn jobs(named: &Named<JobKey, JobStats>, page: &mut Page) -> fmt::Result {
    let rows = rows(named, |(name, generation, config)| {
        vec![
            ("filter", name.clone()),
            ("generation", generation.clone()),
            ("config", config.clone()),
        ]
    });
    page.counter(
        &Head::of(
            "lockgate_filter_job_runs",
            "Runs of a filter's job that are over.",
        ),
        rows.iter()
            .map(|(labels, stats)| (labels.clone(), stats.sum(|stats| &stats.runs))),
    )?;
    happened(
        page,
        &Head::of(
            "lockgate_filter_job_faults",
            "Runs of a filter's job that failed, by name.",
        ),
        ("fault", &FAULTS),
        &rows,
        JobStats::faults,
    )?;
    page.counter(
        &Head::of("lockgate_filter_job_cpu", "CPU time of a filter's job.").unit(Unit::Seconds),
        rows.iter().map(|(labels, stats)| {
            let cpu: Duration = stats.iter().map(JobStats::cpu).sum();
            (labels.clone(), cpu.as_secs_f64())
        }),
    )?;
    gauge(
        page,
        &Head::of(
            "lockgate_filter_job_last_success_time",
            "When a filter's job last went well, since 1970; 0 if it never did.",
        )
        .unit(Unit::Seconds),
        &rows,
        |stats| &stats.last_success,
    )
}

/// What filters share, by filter.
pub fn shared(stores: &[(Arc<str>, shared::Stats)], page: &mut Page) -> fmt::Result {
    let series = |of: fn(&shared::Stats) -> u64| {
        let value = move |(filter, stats): &(Arc<str>, shared::Stats)| {
            (vec![("filter", filter.clone())], of(stats))
        };
        stores.iter().map(value)
    };
    page.gauge(
        &Head::of(
            "lockgate_filter_shared_entries",
            "Entries that a filter shares.",
        ),
        series(|stats| stats.entries),
    )?;
    page.gauge(
        &Head::of(
            "lockgate_filter_shared",
            "What a filter shares, with keys and the cost of keeping them.",
        )
        .unit(Unit::Bytes),
        series(|stats| stats.bytes),
    )?;
    page.counter(
        &Head::of(
            "lockgate_filter_shared_evictions",
            "Shared entries given up for want of room.",
        ),
        series(|stats| stats.evictions),
    )?;
    page.counter(
        &Head::of(
            "lockgate_filter_shared_expirations",
            "Shared entries whose time was over.",
        ),
        series(|stats| stats.expirations),
    )
}

pub(super) struct CounterFamily<T> {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) unit: Option<Unit>,
    pub(super) of: fn(&T) -> &Counter,
}

pub(super) fn rows<K, T>(named: &Named<K, T>, labels: impl Fn(&K) -> Labels) -> Rows<T> {
    named
        .iter()
        .map(|(key, stats)| (labels(key), stats.clone()))
        .collect()
}

pub(super) fn counters<T>(
    page: &mut Page,
    rows: &Rows<T>,
    families: &[CounterFamily<T>],
) -> fmt::Result {
    for family in families {
        let head = Head {
            name: family.name,
            help: family.help,
            unit: family.unit.clone(),
        };
        let series = rows
            .iter()
            .map(|(labels, stats)| (labels.clone(), stats.sum(family.of)));
        page.counter(&head, series)?;
    }
    Ok(())
}

fn gauge<T>(
    page: &mut Page,
    head: &Head,
    rows: &Rows<T>,
    of: impl Fn(&T) -> &Gauge,
) -> fmt::Result {
    let series = rows
        .iter()
        .map(|(labels, stats)| (labels.clone(), stats.level(&of)));
    page.gauge(head, series)
}

/// One series for each value of a further label.
pub(super) fn split<T>(
    page: &mut Page,
    head: &Head,
    (key, values): (&'static str, &[&'static str]),
    rows: &Rows<T>,
    of: impl Fn(&T, usize) -> &Counter,
) -> fmt::Result {
    page.counter(head, split_rows(key, values, rows, of))
}

/// As `split`, without what never happened: of the many kinds of errors most
/// listeners and clusters see few.
fn happened<T>(
    page: &mut Page,
    head: &Head,
    (key, values): (&'static str, &[&'static str]),
    rows: &Rows<T>,
    of: impl Fn(&T, usize) -> &Counter,
) -> fmt::Result {
    let series = split_rows(key, values, rows, of).filter(|(_, count)| *count > 0);
    page.counter(head, series)
}

fn split_rows<T>(
    key: &'static str,
    values: &[&'static str],
    rows: &Rows<T>,
    of: impl Fn(&T, usize) -> &Counter,
) -> impl Iterator<Item = (Labels, u64)> {
    let pairs = rows
        .iter()
        .flat_map(|row| values.iter().enumerate().map(move |value| (row, value)));
    pairs.map(move |((labels, stats), (index, value))| {
        let mut labels = labels.clone();
        labels.push((key, (*value).into()));
        (labels, stats.sum(|part| of(part, index)))
    })
}

fn histogram<T>(
    page: &mut Page,
    head: &Head,
    rows: &Rows<T>,
    of: impl Fn(&T) -> &Histogram,
) -> fmt::Result {
    let head = Head {
        unit: Some(Unit::Seconds),
        ..*head
    };
    let series = rows
        .iter()
        .map(|(labels, stats)| (labels.clone(), observations(stats.iter().map(&of))));
    page.histogram(&head, series)
}

fn observations<'a>(parts: impl Iterator<Item = &'a Histogram>) -> Observations {
    let mut sum = 0.0;
    let mut buckets = vec![0; BOUNDS.len() + 1];
    for part in parts {
        sum += part.sum().as_secs_f64();
        for (bucket, more) in buckets.iter_mut().zip(part.buckets()) {
            *bucket += more;
        }
    }
    Observations { sum, buckets }
}
