//! From a file of cases to a filter and its cases, or every mistake at once.

use std::path::Path;
use std::sync::LazyLock;

use serde_json::Value;

use super::cases::CaseFile;
use super::check::{self, CheckedCases, Outside};
use super::checked::ComponentSource;
use super::files::Files;
use super::gather::{self, Gathered, Unreadable};
use super::mistake::Mistakes;
use super::structure::Schema;
use super::{raw, sorted, structure_of};

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    let schema = schemars::schema_for!(raw::RawCaseFile).to_value();
    Schema::build(schema).expect("a schema generated from types is valid")
});

/// The JSON Schema of a file of cases.
pub fn case_schema() -> Value {
    SCHEMA.value().clone()
}

/// Load a file of cases. `component` goes before its own.
pub fn load_cases(
    path: &Path,
    component: Option<&ComponentSource>,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<CaseFile, Mistakes> {
    load_from(path, &Files::Disk, component, env)
}

/// Load the cases of a text that stands in for the file `file_name`.
pub fn load_cases_text(
    text: &str,
    file_name: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<CaseFile, Mistakes> {
    load_from(Path::new(file_name), &Files::Text(text), None, env)
}

fn load_from(
    path: &Path,
    files: &Files<'_>,
    component: Option<&ComponentSource>,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<CaseFile, Mistakes> {
    let mut gathered = match gather::gather(path, files, env) {
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
    let outside = Outside { files, env };
    let CheckedCases { filter, mistakes } =
        check::check_cases(&value, &outside, &places, &texts, &broken, known, component);
    match (sorted(mistakes, &read), filter) {
        (None, Some((filter, cases))) => Ok(CaseFile {
            filter,
            cases,
            places,
        }),
        (mistakes, _) => Err(mistakes.expect("what is not there has a mistake")),
    }
}
