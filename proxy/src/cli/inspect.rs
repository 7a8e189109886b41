//! `lockgate filter inspect`.

use std::error::Error;
use std::path::Path;

use serde_json::{Value, json};

use super::progress;
use crate::components::{self, Components, Pulls, Untrusted};
use crate::config::{Config, Pull, Reference, TrustedKey};
use crate::console::{Exit, print, print_json};
use crate::control::reload;
use crate::digest::Digest;
use crate::filter::{EngineOptions, FilterEngine, Module, Pace, clean};
use crate::shipped::SHIPPED;
use crate::snapshot::Origin;

/// The most that a component may have here: no configuration says it.
const MAX_BYTES: usize = 1 << 30;

/// Of one name, or of one line of a schema.
const MAX_SAID_BYTES: usize = 4 << 10;

/// A component, and where it came from.
struct Found {
    bytes: Vec<u8>,
    origin: Origin,
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
        Ok(module) if as_json => print_json(&as_value(&module, &found.origin)),
        Ok(module) => print(&as_text(&module, &found.origin)?),
        Err(error) => {
            eprintln!("{component}: {error}");
            Ok(Exit::BadInput)
        }
    }
}

/// The bytes of a component, from wherever it is.
pub(super) fn read(component: &str) -> Result<Vec<u8>, String> {
    Ok(find(component, None)?.bytes)
}

fn find(component: &str, file: Option<&Path>) -> Result<Found, String> {
    let config = match file {
        None => None,
        Some(file) => {
            let loaded = reload::attempt(file).outcome;
            Some(loaded.map_err(|mistakes| mistakes.to_string())?.config)
        }
    };
    if component.starts_with("oci://") {
        return pull(component, config.as_ref());
    }
    if component.starts_with("lockgate:") {
        return Ok(Found {
            bytes: shipped(component)?,
            origin: Origin::default(),
        });
    }
    let path = Path::new(component);
    let bytes = components::read_file(path, MAX_BYTES)
        .map_err(|error| format!("cannot read `{component}`: {error}"))?;
    let signed_by = match trust(config.as_ref()) {
        [] => None,
        keys => Some(
            components::check_file(path, &bytes, keys)
                .map_err(|error| refused(component, &error, Untrusted::WANTED))?,
        ),
    };
    Ok(Found {
        bytes,
        origin: Origin {
            pulled: None,
            signed_by,
        },
    })
}

fn trust(config: Option<&Config>) -> &[TrustedKey] {
    config.map_or(&[], |config| &config.trust)
}

fn refused(component: &str, error: &dyn Error, wanted: &str) -> String {
    format!("found `{component}`, {error}, wanted {wanted}")
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

fn pull(component: &str, config: Option<&Config>) -> Result<Found, String> {
    let reference = Reference::read(component)
        .map_err(|wanted| format!("found `{component}`, wanted {wanted}"))?;
    let (registry, components) = match config {
        None => (components::unnamed(&reference.host), Components::new(None)),
        Some(config) => {
            let registry = components::registry(config, &reference.host);
            (registry, reload::start_components(config))
        }
    };
    let wanted = components::Wanted {
        reference: &reference,
        pull: Pull::Missing,
        registry,
        max_bytes: MAX_BYTES,
        trust: trust(config),
    };
    let pulled = components.pull(&wanted, &mut Pulls::default());
    let pulled = pulled.map_err(|error| refused(component, &error, error.wanted()))?;
    if let Some(reason) = pulled.outdated {
        eprintln!("warning: `{component}`, {reason}; this is what was pulled before");
    }
    Ok(Found {
        bytes: pulled.bytes,
        origin: Origin {
            pulled: Some(reference.at(pulled.manifest)),
            signed_by: pulled.signed_by,
        },
    })
}

fn as_value(module: &Module, origin: &Origin) -> Value {
    let manifest = module.manifest();
    json!({
        "name": manifest.name,
        "version": manifest.version,
        "world": module.kind().world(),
        "imports": module.imports(),
        "exports": module.exports(),
        "size": module.size(),
        "digest": module.digest(),
        "pulled": origin.pulled.as_ref().map(Reference::to_string),
        "signed_by": origin.signed_by,
        "config_schema": manifest.config_schema,
    })
}

fn as_text(module: &Module, origin: &Origin) -> anyhow::Result<String> {
    let manifest = module.manifest();
    let schema = match &manifest.config_schema {
        Some(schema) => {
            let text = serde_json::to_string_pretty(schema)?;
            let lines: Vec<_> = text.lines().map(said).collect();
            lines.join("\n")
        }
        None => "none: only the filter itself can check its configuration".to_owned(),
    };
    let mut from = String::new();
    if let Some(pulled) = &origin.pulled {
        from += &format!("pulled    {pulled}\n");
    }
    if let Some(signer) = &origin.signed_by {
        from += &format!("signed by {signer}\n");
    }
    Ok(format!(
        "name      {}\nversion   {}\nworld     {}\nsize      {} bytes\ndigest    {}\n{from}\
         imports   {}\nexports   {}\nconfig schema\n{schema}",
        said(&manifest.name),
        said(&manifest.version),
        module.kind().world(),
        module.size(),
        module.digest(),
        listed(module.imports()),
        listed(module.exports()),
    ))
}

pub(super) fn listed(names: &[String]) -> String {
    let names: Vec<_> = names.iter().map(|name| said(name)).collect();
    names.join("\n          ")
}

/// What a component says, which nobody need trust yet: it can forge no line here, nor
/// reach the terminal.
fn said(text: &str) -> String {
    clean(text, MAX_SAID_BYTES)
}
