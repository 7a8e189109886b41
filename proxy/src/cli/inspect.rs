//! `lockgate filter inspect`.

use serde_json::{Value, json};

use crate::console::{Exit, print, print_json};
use crate::filter::{Digest, EngineOptions, FilterEngine, Module, Pace};
use crate::shipped::SHIPPED;

pub fn inspect(file: &str, as_json: bool) -> anyhow::Result<Exit> {
    let bytes = match read(file) {
        Ok(bytes) => bytes,
        Err(message) => {
            eprintln!("{message}");
            return Ok(Exit::BadInput);
        }
    };
    let engine = FilterEngine::start(EngineOptions::default())?;
    match engine.load(Digest::of(&bytes), &bytes, Pace::Full) {
        Ok(module) if as_json => print_json(&as_value(&module)),
        Ok(module) => print(&as_text(&module)?),
        Err(error) => {
            eprintln!("{file}: {error}");
            Ok(Exit::BadInput)
        }
    }
}

fn read(file: &str) -> Result<Vec<u8>, String> {
    if !file.starts_with("lockgate:") {
        return std::fs::read(file).map_err(|error| format!("cannot read `{file}`: {error}"));
    }
    match SHIPPED.iter().find(|shipped| shipped.name == file) {
        Some(shipped) => Ok(shipped.bytes.to_vec()),
        None => {
            let names: Vec<_> = SHIPPED.iter().map(|shipped| shipped.name).collect();
            Err(format!(
                "`{file}` is not shipped; there are {}",
                names.join(", ")
            ))
        }
    }
}

fn as_value(module: &Module) -> Value {
    let manifest = module.manifest();
    json!({
        "name": manifest.name,
        "version": manifest.version,
        "world": module.world(),
        "imports": module.imports(),
        "exports": module.exports(),
        "size": module.size(),
        "digest": module.digest(),
        "config_schema": manifest.config_schema,
    })
}

fn as_text(module: &Module) -> anyhow::Result<String> {
    let manifest = module.manifest();
    let schema = match &manifest.config_schema {
        Some(schema) => serde_json::to_string_pretty(schema)?,
        None => "none: only the filter itself can check its configuration".to_owned(),
    };
    Ok(format!(
        "name      {}\nversion   {}\nworld     {}\nsize      {} bytes\ndigest    {}\n\
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
