//! A strict reading of the text format, for tests.

use std::collections::{BTreeMap, BTreeSet};

/// A family as it was read.
#[derive(Debug, Default)]
pub(crate) struct Family {
    pub kind: String,
    pub help: String,
    /// By name of the series and its labels, as they stand in the text.
    pub samples: BTreeMap<String, f64>,
}

/// Reads the whole text, and panics at whatever the format forbids.
pub(crate) fn read(text: &str) -> BTreeMap<String, Family> {
    let body = text
        .strip_suffix("# EOF\n")
        .expect("the text ends with EOF");
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut current = String::new();
    for line in body.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect(line);
            check_name(name);
            current = name.to_owned();
            let family = Family {
                help: help.to_owned(),
                ..Family::default()
            };
            let before = families.insert(current.clone(), family);
            assert!(before.is_none(), "twice: {line}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect(line);
            assert_eq!(name, current, "{line}");
            families.get_mut(name).unwrap().kind = kind.to_owned();
        } else if let Some(rest) = line.strip_prefix("# UNIT ") {
            let (name, unit) = rest.split_once(' ').expect(line);
            assert!(
                name == current && name.ends_with(&format!("_{unit}")),
                "{line}"
            );
        } else {
            read_sample(line, &current, families.get_mut(&current).expect(line));
        }
    }
    families
        .iter()
        .for_each(|(name, family)| check(name, family));
    families
}

fn read_sample(line: &str, name: &str, family: &mut Family) {
    let (series, value) = line.rsplit_once(' ').expect(line);
    let suffix = series.split('{').next().unwrap().strip_prefix(name);
    let allowed: &[&str] = match family.kind.as_str() {
        "counter" => &["_total"],
        "gauge" => &[""],
        "histogram" => &["_bucket", "_sum", "_count"],
        "info" => &["_info"],
        kind => panic!("`{kind}` is no kind: {line}"),
    };
    assert!(allowed.contains(&suffix.expect(line)), "{line}");
    labels(series);
    let value: f64 = value.parse().expect(line);
    let before = family.samples.insert(series.to_owned(), value);
    assert!(before.is_none(), "twice: {line}");
}

/// The labels of a series.
pub(crate) fn labels(series: &str) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    let Some((_, rest)) = series.split_once('{') else {
        return labels;
    };
    let mut rest = rest.strip_suffix('}').expect(series);
    while !rest.is_empty() {
        let (key, after) = rest.split_once("=\"").expect(series);
        check_name(key);
        let (value, after) = unescape(after);
        let before = labels.insert(key.to_owned(), value);
        assert!(before.is_none(), "{series}");
        rest = match after.strip_prefix(',') {
            Some(more) => more,
            None => after,
        };
        assert!(after.is_empty() || !rest.is_empty(), "{series}");
    }
    labels
}

/// Up to the closing quote, and what follows it.
fn unescape(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut characters = text.chars();
    loop {
        match characters.next().expect("a label's value ends") {
            '"' => return (value, characters.as_str()),
            '\\' => value.push(match characters.next() {
                Some('n') => '\n',
                Some(escaped @ ('"' | '\\')) => escaped,
                other => panic!("bad escape {other:?}"),
            }),
            plain => value.push(plain),
        }
    }
}

fn check_name(name: &str) {
    let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    assert!(name.bytes().all(is_fine) && !name.is_empty(), "`{name}`");
    assert!(!name.as_bytes()[0].is_ascii_digit(), "`{name}`");
}

fn check(name: &str, family: &Family) {
    assert!(
        !family.help.is_empty() || name.starts_with("lockgate_guest_"),
        "{name} has no help"
    );
    assert!(!family.kind.is_empty(), "{name} has no type");
    match family.kind.as_str() {
        "counter" => assert!(family.samples.values().all(|value| *value >= 0.0), "{name}"),
        "histogram" => check_histogram(name, family),
        _ => {}
    }
}

/// Bounds and counts rise, and the last bucket holds everything.
fn check_histogram(name: &str, family: &Family) {
    let mut buckets: BTreeMap<BTreeMap<String, String>, Vec<(f64, f64)>> = BTreeMap::new();
    for (series, value) in &family.samples {
        if series.starts_with(&format!("{name}_bucket")) {
            let mut labels = labels(series);
            let bound = labels.remove("le").expect(series).parse().unwrap();
            buckets.entry(labels).or_default().push((bound, *value));
        }
    }
    let counts: BTreeSet<_> = family
        .samples
        .keys()
        .filter(|series| series.starts_with(&format!("{name}_count")))
        .map(|series| labels(series))
        .collect();
    assert!(
        buckets.keys().eq(counts.iter()),
        "{name}: buckets without a count"
    );
    for (labels, mut buckets) in buckets {
        buckets.sort_by(|left, right| left.0.total_cmp(&right.0));
        assert!(
            buckets.is_sorted_by(|left, right| left.1 <= right.1),
            "{name} {labels:?}"
        );
        let count = family
            .samples
            .iter()
            .find(|(series, _)| {
                series.starts_with(&format!("{name}_count")) && self::labels(series) == labels
            })
            .map(|(_, count)| *count);
        let last = buckets.last().expect("a histogram has buckets");
        assert_eq!(
            (last.0, Some(last.1)),
            (f64::INFINITY, count),
            "{name} {labels:?}"
        );
    }
}
