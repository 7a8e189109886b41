//! `lockgate filter inspect`.

use std::path::Path;

use serde_json::{Value, json};

use super::progress;
use crate::components::{self, Absent, Components};
use crate::config::{Pull, Reference};
use crate::console::{Exit, print, print_json};
use crate::control::reload;
use crate::digest::Digest;
use crate::filter::{EngineOptions, FilterEngine, Module, Pace};
use crate::shipped::SHIPPED;

/// The most that a component may have here: no configuration says it.
const MAX_BYTES: usize = 1 << 30;

/// A component, and the reference of it by digest if it came from a registry.
struct Found {
    bytes: Vec<u8>,
    pulled: Option<Reference>,
}

pub fn inspect(component: &str, config: Option<&Path>, as_json: bool) -> anyhow::Result<Exit> {
    progress::show();
    let found = match find(component, config) {
        Ok(found) => found,
        Err(message) => {
            eprintln!("{message}");
            return Ok(Exit::BadInput);
        }
    };
    let engine = FilterEngine::start(EngineOptions::default())?;
    match engine.load(Digest::of(&found.bytes), &found.bytes, Pace::Full) {
        Ok(module) if as_json => print_json(&as_value(&module, found.pulled.as_ref())),
        Ok(module) => print(&as_text(&module, found.pulled.as_ref())?),
        Err(error) => {
            eprintln!("{component}: {error}");
            Ok(Exit::BadInput)
        }
    }
}

fn find(component: &str, config: Option<&Path>) -> Result<Found, String> {
    if component.starts_with("oci://") {
        return pull(component, config);
    }
    let bytes = match component.starts_with("lockgate:") {
        true => shipped(component)?,
        false => components::read_file(Path::new(component), MAX_BYTES)
            .map_err(|error| format!("cannot read `{component}`: {error}"))?,
    };
    Ok(Found {
        bytes,
        pulled: None,
    })
}

fn shipped(name: &str) -> Result<Vec<u8>, String> {
    match SHIPPED.iter().find(|shipped| shipped.name == name) {
        Some(shipped) => Ok(shipped.bytes.to_vec()),
        None => {
            let names: Vec<_> = SHIPPED.iter().map(|shipped| shipped.name).collect();
            let names = names.join(", ");
            Err(format!("`{name}` is not shipped; there are {names}"))
        }
    }
}

fn pull(component: &str, config: Option<&Path>) -> Result<Found, String> {
    let reference = Reference::read(component)
        .map_err(|wanted| format!("found `{component}`, wanted {wanted}"))?;
    let (registry, components, trust) = match config {
        None => {
            let registry = components::unnamed(&reference.host);
            (registry, Components::new(None), Vec::new())
        }
        Some(file) => {
            let loaded = reload::attempt(file).outcome;
            let config = loaded.map_err(|mistakes| mistakes.to_string())?.config;
            let registry = components::registry(&config, &reference.host);
            (registry, reload::start_components(&config), config.trust)
        }
    };
    let wanted = components::Wanted {
        reference: &reference,
        pull: Pull::Missing,
        registry,
        max_bytes: MAX_BYTES,
        trust: &trust,
    };
    let pulled = components.pull(&wanted, &mut Absent::default());
    let pulled = pulled
        .map_err(|error| format!("found `{component}`, {error}, wanted {}", error.wanted()))?;
    if let Some(reason) = pulled.outdated {
        eprintln!("warning: `{component}`, {reason}; this is what was pulled before");
    }
    Ok(Found {
        bytes: pulled.bytes,
        pulled: Some(reference.at(pulled.manifest)),
    })
}

fn as_value(module: &Module, pulled: Option<&Reference>) -> Value {
    let manifest = module.manifest();
    json!({
        "name": manifest.name,
        "version": manifest.version,
        "world": module.world(),
        "imports": module.imports(),
        "exports": module.exports(),
        "size": module.size(),
        "digest": module.digest(),
        "pulled": pulled.map(Reference::to_string),
        "config_schema": manifest.config_schema,
    })
}

fn as_text(module: &Module, pulled: Option<&Reference>) -> anyhow::Result<String> {
    let manifest = module.manifest();
    let schema = match &manifest.config_schema {
        Some(schema) => serde_json::to_string_pretty(schema)?,
        None => "none: only the filter itself can check its configuration".to_owned(),
    };
    let pulled = pulled.map_or_else(String::new, |pulled| format!("pulled    {pulled}\n"));
    Ok(format!(
        "name      {}\nversion   {}\nworld     {}\nsize      {} bytes\ndigest    {}\n{pulled}\
         imports   {}\nexports   {}\nconfig schema\n{schema}",
        manifest.name,
        manifest.version,
        module.world(),
        module.size(),
        module.digest(),
        module.imports().join("\n          "),
        module.exports().join("\n          "),
    ))
}
