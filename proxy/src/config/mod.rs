//! The configuration: a YAML file and what it includes → a checked [`Config`].
//!
//! Takes a path, or a text, and the environment; gives a configuration in which
//! every value is good and every reference resolves, or every mistake at once,
//! each with file, line and column. The way: `gather` reads the files through
//! `yaml` into one document, `structure` checks it by the JSON Schema that comes
//! from the types in `raw`, `check` makes `checked` of it.
//!
//! It reads the files of secrets, and shows nothing of what it read, and those of
//! trusted keys and certificates. It never loads
//! a component, resolves a host name or opens a socket, and no
//! text makes it panic or work without end.

pub mod cases;
pub mod filter_config;

pub mod authority;
mod bounds;
mod case_file;
pub mod certificate;
mod check;
mod checked;
mod endpoint_file;
mod files;
mod gather;
mod json;
mod mistake;
mod oci;
mod overload;
mod place;
mod raw;
mod reference;
mod retry;
mod secret;
mod socket;
mod staple;
mod structure;
mod tls;
mod trust;
mod words;
mod yaml;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use serde_json::Value;

pub use bounds::{Breaker, ClusterBounds, ClusterLimits, Concurrency, EndpointLimits, Queue};
pub use case_file::{case_schema, load_cases, load_cases_text};
pub use checked::*;
pub use endpoint_file::load_endpoints;
pub use mistake::{Mistake, Mistakes, Tone, What, in_order};
pub use oci::{NoReference, Version};
pub use overload::{Marks, Overload};
pub use place::{Place, Places, below, related};
pub use reference::reference;
pub use retry::{RetryMethods, RetryOn, RetryPolicy};
pub use socket::{Account, ClusterSocket, KeepAlive, ListenerSocket, SocketFileRules};
pub use tls::{
    Certificate, ClientCertificates, ClientMode, ClusterTls, Ending, ListenerTls, MinVersion,
    PeerName, Roots, UnknownName, Verify,
};
pub use trust::{NoKey, PublicKey, TrustedKey};

pub use check::is_host;
use check::{Checked, Outside};
use files::Files;
use gather::{Gathered, Unreadable};
use structure::Schema;

/// A configuration, and what about it may not be meant so.
#[derive(Debug)]
pub struct Loaded {
    pub config: Config,
    pub warnings: Vec<Mistake>,
}

/// A try to load a configuration, with what is known of it even if it is bad.
#[derive(Debug)]
pub struct Attempt {
    pub outcome: Result<Loaded, Mistakes>,
    /// Of a configuration that is refused: as much of it as could be read.
    pub draft: Option<Draft>,
    /// Every file that was read or should have been, the main one first.
    pub files: Vec<PathBuf>,
    /// As in [`Config::folders`].
    pub folders: Vec<PathBuf>,
    /// The files of secrets, keys and certificates, whether they could be read or not.
    pub read_files: Vec<PathBuf>,
    /// Where the admin address is, if that much of it is good.
    pub admin: Option<Admin>,
}

/// A configuration with mistakes. What is good of it can be checked further, but it
/// must never be run: in the place of what is mistaken stands anything.
#[derive(Debug)]
pub struct Draft {
    pub config: Config,
    pub doubts: Doubts,
}

/// What must be known to tell a further mistake from one that only follows.
#[derive(Debug)]
pub struct Doubts {
    /// Names of clusters, those of mistaken clusters included; `None` where there
    /// may be any other.
    pub clusters: Option<BTreeSet<String>>,
    /// The same of retry policies.
    pub retries: Option<BTreeSet<String>>,
    /// JSON pointers of values whose mistakes are known already.
    pub broken: Vec<String>,
}

impl Doubts {
    /// Of a configuration without a mistake.
    pub fn none() -> Self {
        Self {
            clusters: Some(BTreeSet::new()),
            retries: Some(BTreeSet::new()),
            broken: Vec::new(),
        }
    }

    /// Whether what is wrong with a value may only follow from a known mistake.
    pub fn concern(&self, pointer: &str) -> bool {
        self.broken.iter().any(|known| related(known, pointer))
    }
}

/// Load the configuration of a file and what it includes.
pub fn load(path: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Loaded, Mistakes> {
    attempt(path, env).outcome
}

/// As [`load`], and tells more of a configuration that is refused.
pub fn attempt(path: &Path, env: &dyn Fn(&str) -> Option<String>) -> Attempt {
    load_from(path, &Files::Disk, env)
}

/// Load the configuration of a text that stands in for the file `file_name`. It
/// may not include any: nothing is read from the disk.
pub fn load_text(
    text: &str,
    file_name: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Loaded, Mistakes> {
    load_from(Path::new(file_name), &Files::Text(text), env).outcome
}

/// The JSON Schema of the configuration.
pub fn schema() -> Value {
    SCHEMA.value().clone()
}

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    let schema = schemars::schema_for!(raw::RawConfig).to_value();
    Schema::build(schema).expect("a schema generated from types is valid")
});

fn load_from(path: &Path, files: &Files<'_>, env: &dyn Fn(&str) -> Option<String>) -> Attempt {
    let mut gathered = match gather::gather(path, files, env) {
        Ok(gathered) => gathered,
        Err(Unreadable {
            files,
            folders,
            mistakes,
        }) => {
            let mistakes = sorted(mistakes, &files).expect("what is unreadable has a mistake");
            return Attempt {
                outcome: Err(mistakes),
                draft: None,
                files: paths(&files),
                folders,
                read_files: Vec::new(),
                admin: None,
            };
        }
    };
    let (texts, mistakes) = structure_of(&SCHEMA, &mut gathered);
    let Gathered {
        value,
        places,
        broken,
        ..
    } = &gathered;
    let outside = Outside { files, env };
    let mut checked = check::check(value, &outside, places, &texts, broken, mistakes);
    let (files, folders) = (paths(&gathered.files), gathered.folders.clone());
    let admin = checked.process.admin.clone();
    let read_files = std::mem::take(&mut checked.read_files);
    let (outcome, draft) = finish(gathered, checked);
    Attempt {
        outcome,
        draft,
        files,
        folders,
        read_files,
        admin,
    }
}

/// What is no text as it is written, and every mistake so far: those of reading, and
/// what the schema finds.
fn structure_of(schema: &Schema, gathered: &mut Gathered) -> (Vec<(String, String)>, Vec<Mistake>) {
    let texts = texts(gathered);
    schema.take_as_text(&mut gathered.value, &texts);
    if schema.is_good(&gathered.value) {
        return (texts, gathered.mistakes.clone());
    }
    let masked = filter_config::mask_value(schema.value(), &gathered.value);
    let Gathered {
        value,
        places,
        broken,
        mistakes,
        ..
    } = gathered;
    let found = schema.check(value, &masked, "", places).mistakes;
    // Of a value whose mistake is known, nothing more need be said.
    let found = found
        .into_iter()
        .filter(|mistake| !broken.contains(&mistake.pointer));
    let mistakes = mistakes.iter().cloned().chain(found).collect();
    (texts, mistakes)
}

/// What came from the environment and is no text, as it is written.
fn texts(gathered: &Gathered) -> Vec<(String, String)> {
    let pointers = gathered.from_env.iter();
    let written = pointers.filter_map(|pointer| {
        let written = gathered.places.written(pointer)?;
        Some((pointer.clone(), written.to_owned()))
    });
    written.collect()
}

fn paths(files: &[Arc<Path>]) -> Vec<PathBuf> {
    files.iter().map(|file| file.to_path_buf()).collect()
}

fn finish(gathered: Gathered, checked: Checked) -> (Result<Loaded, Mistakes>, Option<Draft>) {
    let Checked {
        process,
        listeners,
        filters,
        clusters,
        retry_policies,
        secrets,
        registries,
        trust,
        read_files: _,
        raw,
        cluster_names,
        retry_names,
        mistakes,
        warnings,
    } = checked;
    let files = gathered.files;
    let shown = shown(&raw, &gathered.from_env);
    let config = Config {
        workers: process.workers,
        admin: process.admin,
        log: process.log,
        access_log: process.access_log,
        cache_dir: process.cache_dir,
        max_cache_bytes: process.max_cache_bytes,
        state_dir: process.state_dir,
        lame_duck: process.lame_duck,
        drain_timeout: process.drain_timeout,
        max_generations: process.max_generations,
        max_connections: process.max_connections,
        overload: process.overload,
        dns: process.dns,
        listeners,
        filters,
        clusters,
        retry_policies,
        secrets,
        registries,
        trust,
        files: paths(&files),
        folders: gathered.folders,
        shown,
        places: gathered.places,
        from_env: gathered.from_env,
    };
    let Some(mistakes) = sorted(mistakes, &files) else {
        let warnings = in_order(warnings, &files);
        return (Ok(Loaded { config, warnings }), None);
    };
    let doubts = Doubts {
        clusters: cluster_names.is_all.then_some(cluster_names.names),
        retries: retry_names.is_all.then_some(retry_names.names),
        broken: gathered.broken,
    };
    (Err(mistakes), Some(Draft { config, doubts }))
}

fn sorted(mistakes: Vec<Mistake>, files: &[Arc<Path>]) -> Option<Mistakes> {
    Mistakes::of(in_order(mistakes, files))
}

/// The configuration with its defaults filled in and without what is secret. A
/// filter's schema may say that there is more: see [`filter_config::mask`].
fn shown(raw: &raw::RawConfig, from_env: &[String]) -> Value {
    let raw = serde_json::to_value(raw).expect("the raw shapes are all JSON");
    let mut shown = filter_config::mask_value(SCHEMA.value(), &raw);
    let of_filters = from_env
        .iter()
        .filter(|pointer| is_of_filter(pointer))
        .cloned();
    filter_config::mask_pointers(&mut shown, "", &of_filters.collect::<Vec<_>>());
    shown
}

/// Whether a pointer is into a filter's own configuration, or its checks.
fn is_of_filter(pointer: &str) -> bool {
    let mut segments = place::segments(pointer);
    segments.next().as_deref() == Some("filters")
        && matches!(
            segments.nth(1).as_deref(),
            Some("config" | "routes" | "checks")
        )
}

#[cfg(test)]
mod tests;
