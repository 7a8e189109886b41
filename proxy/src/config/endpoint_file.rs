//! From a file of endpoints to those endpoints, or every mistake at once.

use std::path::Path;
use std::sync::LazyLock;

use super::check::{self, Outside};
use super::checked::Endpoint;
use super::files::{Files, MAX_TOTAL_BYTES};
use super::gather::{self, Gathered, Unreadable};
use super::mistake::{Mistake, Mistakes};
use super::place::{Place, Places};
use super::structure::Schema;
use super::{json, raw, sorted, structure_of};

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    let schema = schemars::schema_for!(raw::RawEndpointFile).to_value();
    Schema::build(schema).expect("a schema generated from types is valid")
});

/// Load the endpoints that a cluster has from a file (`file:` in `endpoints`). YAML, or
/// JSON, which is YAML. It may name addresses only.
pub fn load_endpoints(path: &Path) -> Result<Vec<Endpoint>, Mistakes> {
    let (files, env) = (Files::Disk, |_: &str| None);
    // What cannot be read is told below.
    let text = files.read(path, MAX_TOTAL_BYTES).unwrap_or_default();
    if let Some(endpoints) = load_quickly(&text, &files) {
        return Ok(endpoints);
    }
    let mut gathered = match gather::gather(path, &files, &env) {
        Ok(gathered) => gathered,
        Err(Unreadable {
            files, mistakes, ..
        }) => return Err(sorted(mistakes, &files).expect("what is unreadable has a mistake")),
    };
    gathered.mistakes.extend(cut(path, &text));
    let (texts, known) = structure_of(&SCHEMA, &mut gathered);
    let Gathered {
        value,
        places,
        broken,
        files: read,
        ..
    } = gathered;
    let outside = Outside {
        files: &files,
        env: &env,
    };
    let (endpoints, mistakes) =
        check::check_endpoints(value, &outside, &places, &texts, &broken, known);
    match sorted(mistakes, &read) {
        None => Ok(endpoints),
        Some(mistakes) => Err(mistakes),
    }
}

/// Those of a file of JSON in which all is well, as programs write it: without the places of
/// its values, which only mistakes need, in a third of the time.
fn load_quickly(text: &str, files: &Files<'_>) -> Option<Vec<Endpoint>> {
    // A `$` may be meant for the environment, or for one that is written so.
    if !text.trim_start().starts_with('{') || text.contains('$') {
        return None;
    }
    let value = json::read(text).filter(|value| SCHEMA.is_good(value))?;
    let outside = Outside {
        files,
        env: &|_| None,
    };
    let (endpoints, mistakes) =
        check::check_endpoints(value, &outside, &Places::default(), &[], &[], Vec::new());
    mistakes.is_empty().then_some(endpoints)
}

/// What is written line by line and ends within one may be cut there: the port of an endpoint
/// could be another then.
fn cut(path: &Path, text: &str) -> Option<Mistake> {
    let last = text.lines().next_back()?;
    if text.ends_with('\n') || last.trim_end().ends_with([']', '}']) {
        return None;
    }
    let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let place = Place {
        file: path.into(),
        line: number(text.lines().count()),
        column: number(last.chars().count() + 1),
    };
    let wanted = "a line break: without one it may be half written";
    Some(Mistake::new(place, "", "the end of the file", wanted))
}
