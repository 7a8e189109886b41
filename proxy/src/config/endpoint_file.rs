//! From a file of endpoints to those endpoints, or every mistake at once.

use std::path::Path;
use std::sync::LazyLock;

use super::check::{self, Outside};
use super::checked::Endpoint;
use super::files::Files;
use super::gather::{self, Gathered, Unreadable};
use super::mistake::Mistakes;
use super::structure::Schema;
use super::{raw, sorted, structure_of};

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    let schema = schemars::schema_for!(raw::RawEndpointFile).to_value();
    Schema::build(schema).expect("a schema generated from types is valid")
});

/// Load the endpoints that a cluster has from a file (`file:` in `endpoints`). YAML, or
/// JSON, which is YAML. It may name addresses only.
pub fn load_endpoints(path: &Path) -> Result<Vec<Endpoint>, Mistakes> {
    let (files, env) = (Files::Disk, |_: &str| None);
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
        check::check_endpoints(&value, &outside, &places, &texts, &broken, known);
    match sorted(mistakes, &read) {
        None => Ok(endpoints),
        Some(mistakes) => Err(mistakes),
    }
}
