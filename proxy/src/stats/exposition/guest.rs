//! What filters count for themselves: `lockgate_guest_` and the name that the
//! filter gave, with the filter as a label.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::Arc;

use super::{Head, Observations, Page};
use crate::stats::guest::{MetricKind, Told, Value};

/// Filters that name a metric alike share a family, if it is of one kind.
type Families = BTreeMap<(String, &'static str), Family>;

struct Family {
    help: String,
    rows: Vec<(Labels, Value)>,
}

type Labels = Vec<(String, String)>;

pub fn write(guests: &[(Arc<str>, Arc<Told>)], page: &mut Page) -> fmt::Result {
    page.counter(
        &Head::of(
            "lockgate_filter_metric_updates_dropped",
            "Updates of a filter's own metrics without effect: too many series, or bad values.",
        ),
        guests
            .iter()
            .map(|(filter, told)| (vec![("filter", filter.clone())], told.dropped())),
    )?;
    let mut taken = HashSet::new();
    for ((name, kind), family) in gather(guests) {
        let name = claim(&format!("lockgate_guest_{name}"), kind, &mut taken);
        write_family(&name, family, page)?;
    }
    Ok(())
}

fn gather(guests: &[(Arc<str>, Arc<Told>)]) -> Families {
    let mut families = Families::new();
    for (filter, told) in guests {
        for family in told.families() {
            let definition = family.definition;
            let key = (definition.name.clone(), kind(definition.kind));
            let entry = families.entry(key).or_insert_with(|| Family {
                help: escape(&definition.help),
                rows: Vec::new(),
            });
            for (values, value) in family.series {
                let labels = definition.labels.iter().cloned().zip(values);
                let labels = [("filter".to_owned(), filter.to_string())]
                    .into_iter()
                    .chain(labels);
                entry.rows.push((labels.collect(), value));
            }
        }
    }
    families
}

fn kind(kind: MetricKind) -> &'static str {
    match kind {
        MetricKind::Counter => "counter",
        MetricKind::Gauge => "gauge",
        MetricKind::Histogram => "histogram",
    }
}

/// The help of a family ends with its line.
fn escape(help: &str) -> String {
    help.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

/// A name whose series no other family has: the wanted one, or with the kind
/// behind it, where two filters mean different things by one name.
fn claim(wanted: &str, kind: &str, taken: &mut HashSet<String>) -> String {
    let mut name = wanted.strip_suffix("_total").unwrap_or(wanted).to_owned();
    while !taken.is_disjoint(&series_names(&name, kind)) {
        name = format!("{name}_{kind}");
    }
    taken.extend(series_names(&name, kind));
    name
}

/// What a family's series are called, and the family itself.
fn series_names(family: &str, kind: &str) -> HashSet<String> {
    let suffixes: &[&str] = match kind {
        "counter" => &["", "_total", "_created"],
        "histogram" => &["", "_bucket", "_sum", "_count", "_created"],
        _ => &[""],
    };
    suffixes
        .iter()
        .map(|suffix| format!("{family}{suffix}"))
        .collect()
}

fn write_family(name: &str, family: Family, page: &mut Page) -> fmt::Result {
    let head = Head::of(name, &family.help);
    let (mut counters, mut gauges, mut histograms) = (vec![], vec![], vec![]);
    for (labels, value) in family.rows {
        match value {
            Value::Counter(sum) => counters.push((labels, sum)),
            Value::Gauge { value, .. } => gauges.push((labels, value)),
            Value::Histogram(distribution) => {
                let (sum, buckets) = (distribution.sum, distribution.buckets.to_vec());
                histograms.push((labels, Observations { sum, buckets }));
            }
        }
    }
    // A family is of one kind, and may have no series yet.
    if !counters.is_empty() {
        page.counter(&head, counters)?;
    }
    if !gauges.is_empty() {
        page.gauge(&head, gauges)?;
    }
    if !histograms.is_empty() {
        page.histogram(&head, histograms)?;
    }
    Ok(())
}
