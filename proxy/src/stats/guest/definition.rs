//! What a filter says about a metric, and what may be said.

const MAX_LABELS: usize = 16;
const MAX_NAME_BYTES: usize = 128;
const MAX_HELP_BYTES: usize = 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    Counter,
    Gauge,
    Histogram,
}

/// What a filter said about a metric.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    pub kind: MetricKind,
    pub name: String,
    pub help: String,
    pub labels: Vec<String>,
}

impl Definition {
    /// Whether values of the one are values of the other. What is said in `help` is for
    /// people and counts nothing.
    pub fn measures_as(&self, other: &Self) -> bool {
        let Definition {
            kind,
            name,
            help: _,
            labels,
        } = self;
        *kind == other.kind && *name == other.name && *labels == other.labels
    }

    /// Whether series of both can be told side by side, as one family: no two of them
    /// have the same labels then.
    pub fn stands_beside(&self, other: &Self) -> bool {
        let sorted = |definition: &Self| {
            let mut labels = definition.labels.clone();
            labels.sort();
            labels
        };
        self.kind == other.kind && sorted(self) != sorted(other)
    }

    /// What keeps it from being a metric.
    pub fn check(&self) -> Result<(), String> {
        let Definition {
            kind: _,
            name,
            help,
            labels,
        } = self;
        if !is_name(name) {
            return Err(format!(
                "`{}` is not a name of a metric",
                name.escape_debug()
            ));
        }
        if help.len() > MAX_HELP_BYTES {
            return Err(format!("the help of `{name}` is too long"));
        }
        if labels.len() > MAX_LABELS {
            return Err(format!("`{name}` has more than {MAX_LABELS} labels"));
        }
        for (place, label) in labels.iter().enumerate() {
            let reserved = label.starts_with("__") || ["filter", "le"].contains(&label.as_str());
            if !is_name(label) || reserved || labels[..place].contains(label) {
                return Err(format!("`{}` cannot be a label here", label.escape_debug()));
            }
        }
        Ok(())
    }
}

/// A letter or underscore, then those and digits.
fn is_name(name: &str) -> bool {
    let starts_well = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    let goes_on_well = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    starts_well && goes_on_well && name.len() <= MAX_NAME_BYTES
}
