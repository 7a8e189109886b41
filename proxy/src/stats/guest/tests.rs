//! What is told of versions that come and go.

use super::{Definition, GuestMetrics, MetricKind, Told, Value};

fn definition(kind: MetricKind, name: &str, labels: &[&str]) -> Definition {
    Definition {
        kind,
        name: name.into(),
        help: String::new(),
        labels: labels.iter().map(|label| (*label).to_owned()).collect(),
    }
}

fn hits(labels: &[&str]) -> Definition {
    definition(MetricKind::Counter, "hits", labels)
}

/// A version that counted one of each.
fn counted(max_series: usize, hits: Definition, kinds: &[&str]) -> GuestMetrics {
    let metrics = GuestMetrics::new(1, max_series);
    let hits = metrics.define(hits).unwrap();
    for kind in kinds {
        metrics.update(0, hits, 1.0, &[(*kind).into()]);
    }
    metrics
}

/// Every series as `name{labels} value`.
fn shown(told: &Told) -> Vec<String> {
    let families = told.families();
    let rows = families.iter().flat_map(|family| {
        let definition = &family.definition;
        family.series.iter().map(move |(values, value)| {
            let labels = definition.labels.iter().zip(values);
            let labels: Vec<_> = labels
                .map(|(label, value)| format!("{label}={value}"))
                .collect();
            let value = match value {
                Value::Counter(value) | Value::Gauge { value, .. } => *value,
                Value::Histogram(distribution) => distribution.sum,
            };
            format!("{}{{{}}} {value}", definition.name, labels.join(","))
        })
    });
    rows.collect()
}

#[test]
fn equal_definitions_are_one_metric() {
    let metrics = GuestMetrics::new(1, 8);
    let first = metrics.define(hits(&["kind"]));
    assert_eq!(first, metrics.define(hits(&["kind"])));
    let other = metrics.define(definition(MetricKind::Gauge, "hits", &["kind"]));
    assert_eq!(other, Err("`hits` is already defined otherwise".into()));
}

#[test]
fn illegal_definitions_are_refused() {
    check("", &[], "`` is not a name of a metric");
    check("a-b", &[], "`a-b` is not a name of a metric");
    check("9a", &[], "`9a` is not a name of a metric");
    check("a", &["filter"], "`filter` cannot be a label here");
    check("a", &["__x"], "`__x` cannot be a label here");
    check("a", &["x", "x"], "`x` cannot be a label here");
    check("a", &["x\n"], "`x\\n` cannot be a label here");
}

fn check(name: &str, labels: &[&str], message: &str) {
    let metrics = GuestMetrics::new(1, 8);
    let refused = metrics.define(definition(MetricKind::Counter, name, labels));
    assert_eq!(refused, Err(message.into()));
}

#[test]
fn workers_are_added_up() {
    let metrics = GuestMetrics::new(2, 8);
    let hits = metrics.define(hits(&["kind"])).unwrap();
    let level = metrics.define(definition(MetricKind::Gauge, "level", &[]));
    let level = level.unwrap();
    metrics.update(0, hits, 2.0, &["a".into()]);
    metrics.update(1, hits, 3.0, &["a".into()]);
    metrics.update(1, level, 7.0, &[]);
    metrics.update(0, level, 5.0, &[]);
    let told = Told::new(2);
    metrics.tell(&told);
    assert_eq!(shown(&told), ["level{} 5", "hits{kind=a} 5"]);
}

#[test]
fn what_does_not_fit_is_counted() {
    let told = Told::new(1);
    let metrics = counted(2, hits(&["kind"]), &["a", "b", "c", "a"]);
    metrics.tell(&told);
    assert_eq!(told.dropped(), 1);
    let hits = metrics.define(hits(&["kind"])).unwrap();
    metrics.update(0, hits, -1.0, &["a".into()]);
    metrics.update(0, hits, f64::NAN, &["a".into()]);
    metrics.update(0, hits, 1.0, &[]);
    metrics.update(0, hits, 1.0, &["d".into()]);
    assert_eq!(told.dropped(), 5);
    assert_eq!(shown(&told), ["hits{kind=a} 2", "hits{kind=b} 1"]);
}

#[test]
fn series_are_counted_over_all_workers() {
    let metrics = GuestMetrics::new(2, 2);
    let told = Told::new(2);
    metrics.tell(&told);
    let hits = metrics.define(hits(&["kind"])).unwrap();
    for (worker, kind) in [(0, "a"), (1, "b"), (0, "c"), (1, "c"), (1, "a"), (0, "b")] {
        metrics.update(worker, hits, 1.0, &[kind.into()]);
    }
    assert_eq!(told.dropped(), 2);
    assert_eq!(shown(&told), ["hits{kind=a} 2", "hits{kind=b} 2"]);
}

#[test]
fn a_version_that_measures_alike_goes_on_counting() {
    let told = Told::new(1);
    let first = counted(8, hits(&["kind"]), &["a", "b"]);
    first.tell(&told);
    let explained = Definition {
        help: "What was hit".into(),
        ..hits(&["kind"])
    };
    let second = counted(8, explained, &["a", "c"]);
    let before = shown(&told);
    assert_eq!(before, ["hits{kind=a} 1", "hits{kind=b} 1"]);
    second.tell(&told);
    let all = ["hits{kind=a} 2", "hits{kind=b} 1", "hits{kind=c} 1"];
    assert_eq!(shown(&told), all);
    assert_eq!(told.families()[0].definition.help, "What was hit");
    // Also when nobody has the first any more, and after both counted on.
    let id = first.define(hits(&["kind"])).unwrap();
    first.update(0, id, 1.0, &["b".into()]);
    drop(first);
    assert_eq!(shown(&told)[1], "hits{kind=b} 2");
}

#[test]
fn a_late_definition_goes_on_with_what_was_left() {
    let told = Told::new(1);
    let first = counted(8, hits(&["kind"]), &["a"]);
    first.tell(&told);
    let second = GuestMetrics::new(1, 8);
    second.tell(&told);
    drop(first);
    assert_eq!(shown(&told), ["hits{kind=a} 1"]);
    let id = second.define(hits(&["kind"])).unwrap();
    second.update(0, id, 1.0, &["a".into()]);
    assert_eq!(shown(&told), ["hits{kind=a} 2"]);
}

#[test]
fn another_form_takes_the_place_of_the_old_one_with_its_last_version() {
    // Beside the new one for as long as there is who counts by it.
    check_forms(hits(&["route"]), &["hits{route=b} 1", "hits{kind=a} 1"]);
    // One family cannot have both of these.
    let gauge = definition(MetricKind::Gauge, "hits", &["route"]);
    check_forms(gauge, &["hits{route=b} 1"]);
}

#[track_caller]
fn check_forms(other: Definition, both: &[&str]) {
    let told = Told::new(1);
    let first = counted(8, hits(&["kind"]), &["a"]);
    first.tell(&told);
    let second = counted(8, other, &["b"]);
    second.tell(&told);
    assert_eq!(shown(&told), both);
    drop(first);
    assert_eq!(shown(&told), both[..1]);
}

#[test]
fn labels_in_another_order_are_no_second_series() {
    let told = Told::new(1);
    let both = ["x", "y"].map(str::to_owned);
    let versions = [["kind", "route"], ["route", "kind"]].map(|labels| {
        let metrics = GuestMetrics::new(1, 8);
        let id = metrics.define(hits(&labels)).unwrap();
        metrics.update(0, id, 1.0, &both);
        metrics.tell(&told);
        metrics
    });
    assert_eq!(shown(&told), ["hits{route=x,kind=y} 1"]);
    drop(versions);
}

#[test]
fn a_version_that_is_never_told_leaves_nothing() {
    let told = Told::new(1);
    let first = counted(8, hits(&["kind"]), &["a"]);
    first.tell(&told);
    drop(counted(8, hits(&["kind"]), &["a", "b"]));
    drop(counted(8, hits(&["route"]), &["c"]));
    assert_eq!(shown(&told), ["hits{kind=a} 1"]);
    drop(first);
}

#[test]
fn the_limit_is_that_of_the_newest_version() {
    let told = Told::new(1);
    let first = counted(2, hits(&["kind"]), &["a", "b", "c"]);
    first.tell(&told);
    assert_eq!((shown(&told).len(), told.dropped()), (2, 1));
    let second = counted(3, hits(&["kind"]), &["c", "d"]);
    second.tell(&told);
    assert_eq!((shown(&told).len(), told.dropped()), (3, 2));
    let third = counted(1, hits(&["kind"]), &["a"]);
    third.tell(&told);
    assert_eq!((shown(&told).len(), told.dropped()), (3, 2), "they stay");
}

#[test]
fn what_nobody_has_makes_room() {
    let told = Told::new(1);
    let first = counted(2, hits(&["kind"]), &["a", "b"]);
    first.tell(&told);
    let second = GuestMetrics::new(1, 2);
    second.tell(&told);
    drop(first);
    assert_eq!(shown(&told), [""; 0]);
    let level = definition(MetricKind::Gauge, "level", &[]);
    let level = second.define(level).unwrap();
    second.update(0, level, 1.0, &[]);
    assert_eq!(shown(&told), ["level{} 1"]);
}

#[test]
fn nothing_is_lost_while_values_move() {
    let told = Told::new(2);
    let versions: Vec<_> = (0..50).map(|_| GuestMetrics::new(2, 8)).collect();
    let updates = 2_000;
    std::thread::scope(|scope| {
        for worker in 0..2 {
            let versions = &versions;
            scope.spawn(move || {
                for turn in 0..updates {
                    let metrics = &versions[turn % versions.len()];
                    let id = metrics.define(hits(&["kind"])).unwrap();
                    metrics.update(worker, id, 1.0, &["a".into()]);
                }
            });
        }
        versions.iter().for_each(|metrics| metrics.tell(&told));
    });
    let all = format!("hits{{kind=a}} {}", 2 * updates);
    assert_eq!(shown(&told), [all]);
}
