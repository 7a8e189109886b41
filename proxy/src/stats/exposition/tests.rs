use std::time::Duration;

use super::checker::{Family, labels, read};
use super::*;
use crate::stats::guest::{Definition, MetricKind};
use crate::stats::shadow::Difference;
use crate::stats::{Detected, NoRetry};

const KINDS: [&str; 2] = ["bad_request", "connect_failed"];

fn name(name: &str) -> Arc<str> {
    name.into()
}

/// Everything that can be counted, counted on two workers.
fn busy() -> Arc<Stats> {
    let stats = Stats::new(2);
    let listener = stats.listener(&name("we\"b\n"));
    let cluster = stats.cluster(&name("checkout"));
    let filter = stats.filter(&name("auth"), "3f2a");
    let job = stats.job(&name("auth"), "3f2a", "/filters/auth/config");
    job.of(0).runs.add(3);
    job.of(0).faults(1).add(2);
    job.of(0).used(Duration::from_millis(5));
    job.of(0).last_success.set(1_700_000_000);
    let shadow = stats.shadow(&name("auth"), "3f2a+shadow");
    shadow.of(0).note(&[Difference::Head, Difference::Time]);
    for worker in 0..2 {
        let listener = listener.of(worker);
        listener.requests(crate::stats::StatusClass::Success).add(2);
        listener.errors(1).add(1);
        listener.durations.observe(Duration::from_millis(1));
        listener.durations.observe(Duration::from_secs(100));
        listener.bytes_out.add(1024);
        listener.tcp_connections.add(2);
        listener.connections_active.add(3);
        listener.tunnels_active.add(2);
        listener.detections.count(Detected::Timeout);
        cluster.of(worker).requests.add(5);
        cluster.of(worker).errors(1).add(1);
        cluster.of(worker).hedges.add(3);
        cluster.of(worker).hedges_won.add(2);
        cluster.of(worker).retries_denied.count(NoRetry::AtOnce);
        cluster
            .of(worker)
            .durations
            .observe(Duration::from_micros(1));
        filter.of(worker).calls(3).add(4);
        filter.of(worker).faults(2).add(1);
        filter.of(worker).measured(3, Duration::from_micros(2), 64);
        filter.of(worker).memory_bytes.set(1 << 20);
        filter.of(worker).call_waits.began();
        filter.of(worker).call_waits.ended(Duration::from_millis(3));
    }
    stats.process.generation.set(7);
    stats.process.reloads_refused.add(1);
    stats.access_log_dropped.of(1).add(6);
    stats
}

fn sample(families: &std::collections::BTreeMap<String, Family>, series: &str) -> f64 {
    let name = series.split('{').next().unwrap();
    let found = families
        .iter()
        .filter(|(family, _)| name.starts_with(family.as_str()))
        .find_map(|(_, family)| family.samples.get(series));
    *found.unwrap_or_else(|| panic!("no series {series}"))
}

#[test]
fn workers_are_added_up_in_a_text_that_keeps_the_format() {
    let text = text(&busy(), &KINDS);
    let families = read(&text);
    let check = |series: &str, value: f64| assert_eq!(sample(&families, series), value, "{series}");
    let listener = r#"listener="we\"b\n""#;
    check(
        &format!("lockgate_requests_total{{{listener},status=\"2xx\"}}"),
        4.0,
    );
    check(
        &format!("lockgate_requests_total{{{listener},status=\"5xx\"}}"),
        0.0,
    );
    check(
        &format!("lockgate_request_errors_total{{{listener},error=\"connect_failed\"}}"),
        2.0,
    );
    check(
        &format!("lockgate_request_duration_seconds_count{{{listener}}}"),
        4.0,
    );
    check(
        &format!("lockgate_request_duration_seconds_sum{{{listener}}}"),
        200.002,
    );
    check(
        &format!("lockgate_request_duration_seconds_bucket{{le=\"0.001\",{listener}}}"),
        2.0,
    );
    check(
        &format!("lockgate_response_body_bytes_total{{{listener}}}"),
        2048.0,
    );
    check(&format!("lockgate_connections_active{{{listener}}}"), 6.0);
    check(&format!("lockgate_tunnels_active{{{listener}}}"), 4.0);
    check(
        &format!("lockgate_tcp_connections_total{{{listener}}}"),
        4.0,
    );
    check(
        &format!("lockgate_connections_detected_total{{{listener},protocol=\"timeout\"}}"),
        2.0,
    );
    check(
        "lockgate_cluster_requests_total{cluster=\"checkout\"}",
        10.0,
    );
    check("lockgate_cluster_hedges_total{cluster=\"checkout\"}", 6.0);
    check(
        "lockgate_cluster_hedges_won_total{cluster=\"checkout\"}",
        4.0,
    );
    check(
        "lockgate_cluster_retries_denied_total{cluster=\"checkout\",reason=\"at_once\"}",
        2.0,
    );
    let filter = "filter=\"auth\",generation=\"3f2a\"";
    check(
        &format!("lockgate_filter_calls_total{{{filter},phase=\"response\"}}"),
        8.0,
    );
    check(
        &format!("lockgate_filter_faults_total{{{filter},fault=\"overrun\"}}"),
        2.0,
    );
    check(
        &format!("lockgate_filter_cpu_seconds_total{{{filter},phase=\"response\"}}"),
        256e-6,
    );
    check(
        &format!("lockgate_filter_memory_bytes{{{filter}}}"),
        2097152.0,
    );
    check(
        &format!("lockgate_filter_call_waits_total{{{filter}}}"),
        2.0,
    );
    check(
        &format!("lockgate_filter_call_wait_seconds_total{{{filter}}}"),
        0.006,
    );
    let job = "filter=\"auth\",generation=\"3f2a\",config=\"/filters/auth/config\"";
    check(&format!("lockgate_filter_job_runs_total{{{job}}}"), 3.0);
    check(
        &format!("lockgate_filter_job_faults_total{{{job},fault=\"trap\"}}"),
        2.0,
    );
    check(
        &format!("lockgate_filter_job_cpu_seconds_total{{{job}}}"),
        0.005,
    );
    check(
        &format!("lockgate_filter_job_last_success_time_seconds{{{job}}}"),
        1.7e9,
    );
    check(
        "lockgate_filter_shadow_differences_total\
         {filter=\"auth\",generation=\"3f2a+shadow\",in=\"head\"}",
        1.0,
    );
    check("lockgate_generation", 7.0);
    check("lockgate_reloads_total{outcome=\"refused\"}", 1.0);
    check(
        "lockgate_access_log_lost_lines_total{reason=\"queue_full\"}",
        6.0,
    );
    assert!(sample(&families, "lockgate_start_time_seconds") > 1.7e9);
    assert!(!text.contains("error=\"bad_request\""), "it never happened");
}

#[test]
fn every_family_is_prefixed_and_told_in_the_documents() {
    let stats = busy();
    define(&stats, "auth", MetricKind::Counter, "denied");
    let documents = include_str!("../../../../docs/admin.md");
    for (name, family) in read(&text(&stats, &KINDS)) {
        assert!(name.starts_with("lockgate_"), "{name}");
        let told = match (name.starts_with("lockgate_guest_"), family.kind.as_str()) {
            (true, _) => "`lockgate_guest_".to_owned(),
            (false, "counter") => format!("`{name}_total`"),
            (false, "info") => format!("`{name}_info`"),
            (false, _) => format!("`{name}`"),
        };
        assert!(
            documents.contains(&told),
            "docs/admin.md does not tell {told}"
        );
    }
}

fn define(stats: &Arc<Stats>, filter: &str, kind: MetricKind, metric: &str) {
    let filter = name(filter);
    stats.filter(&filter, "1");
    let metrics = stats.guest(10);
    let definition = Definition {
        kind,
        name: metric.into(),
        help: "What \"it\" is.\nAnd \\ more".into(),
        labels: vec!["why".into()],
    };
    let id = metrics.define(definition).unwrap();
    metrics.update(1, id, 2.0, &["a\nb".into()]);
    stats.tell_guest(&filter, &metrics);
}

#[test]
fn filters_count_for_themselves() {
    let stats = Stats::new(2);
    define(&stats, "auth", MetricKind::Counter, "hits");
    define(&stats, "other", MetricKind::Counter, "hits");
    define(&stats, "other", MetricKind::Counter, "hits_total");
    define(&stats, "third", MetricKind::Gauge, "hits");
    define(&stats, "third", MetricKind::Histogram, "size");
    define(&stats, "third", MetricKind::Gauge, "size_count");

    let families = read(&text(&stats, &KINDS));
    let guests: Vec<_> = families
        .iter()
        .filter(|(name, _)| name.starts_with("lockgate_guest_"))
        .map(|(name, family)| (name.as_str(), family.kind.as_str(), family.samples.len()))
        .collect();
    let expected = [
        ("lockgate_guest_hits", "counter", 2),
        ("lockgate_guest_hits_counter", "counter", 1),
        ("lockgate_guest_hits_gauge", "gauge", 1),
        ("lockgate_guest_size", "histogram", 21),
        ("lockgate_guest_size_count_gauge", "gauge", 1),
    ];
    assert_eq!(guests, expected);

    let hits = &families["lockgate_guest_hits"];
    assert_eq!(hits.help, r#"What \"it\" is.\nAnd \\ more"#);
    let (series, value) = hits.samples.first_key_value().unwrap();
    let labels = labels(series);
    assert_eq!(
        (labels["filter"].as_str(), labels["why"].as_str()),
        ("auth", "a\nb")
    );
    assert_eq!(*value, 2.0);
}

#[test]
fn what_left_the_configuration_is_told_no_more() {
    let stats = busy();
    define(&stats, "gone", MetricKind::Counter, "hits");
    stats.retain(
        |_| false,
        |_| false,
        |name, _| name == "auth",
        |name| name == "auth",
    );
    let families = read(&text(&stats, &KINDS));
    assert!(families["lockgate_requests"].samples.is_empty());
    assert!(families["lockgate_cluster_requests"].samples.is_empty());
    assert_eq!(families["lockgate_filter_instances_made"].samples.len(), 1);
    assert!(!families.contains_key("lockgate_guest_hits"));
}

#[test]
fn a_name_asked_for_again_goes_on_counting() {
    let stats = Stats::new(1);
    stats.cluster(&name("a")).of(0).requests.add(1);
    stats.cluster(&name("a")).of(0).requests.add(1);
    assert_eq!(stats.cluster(&name("a")).sum(|part| &part.requests), 2);
}
