//! From a file of endpoints to those endpoints, or every mistake at once.

use std::path::Path;
use std::sync::LazyLock;

use super::check::{self, Outside};
use super::checked::Endpoint;
use super::files::{Files, MAX_TOTAL_BYTES};
use super::gather::{self, Gathered, Unreadable};
use super::mistake::Mistakes;
use super::place::Places;
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
    if let Some(endpoints) = load_quickly(path, &files) {
        return Ok(endpoints);
    }
    let mut gathered = match gather::gather(path, &files, &env) {
        Ok(gathered) => gathered,
        Err(Unreadable {
            files, mistakes, ..
        }) => return Err(sorted(mistakes, &files).expect("what is unreadable has a mistake")),
    };
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
fn load_quickly(path: &Path, files: &Files<'_>) -> Option<Vec<Endpoint>> {
    let text = files.read(path, MAX_TOTAL_BYTES).ok()?;
    // A `$` may be meant for the environment, or for one that is written so.
    if !text.trim_start().starts_with('{') || text.contains('$') {
        return None;
    }
    let value = json::read(&text).filter(|value| SCHEMA.is_good(value))?;
    let outside = Outside {
        files,
        env: &|_| None,
    };
    let (endpoints, mistakes) =
        check::check_endpoints(value, &outside, &Places::default(), &[], &[], Vec::new());
    mistakes.is_empty().then_some(endpoints)
}
