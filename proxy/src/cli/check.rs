//! `lockgate check`.

use std::path::Path;

use serde_json::json;

use super::progress;
use crate::config::Mistake;
use crate::console::{Exit, print, print_json};
use crate::control::reload::{self, Loader};
use crate::filter::Compiler;
use crate::snapshot::{Past, Sockets};

pub fn check(file: &Path, as_json: bool) -> anyhow::Result<Exit> {
    progress::show();
    let (mistakes, more, warnings) = find(file)?;
    let ok = mistakes.is_empty();
    if as_json {
        print_json(&json!({ "ok": ok, "mistakes": mistakes, "more": more, "warnings": warnings }))?;
    } else {
        for warning in &warnings {
            print(&format!("warning: {warning}"))?;
        }
        for mistake in &mistakes {
            print(&format!("error: {mistake}"))?;
        }
        match (mistakes.len() + more, warnings.len()) {
            (0, 0) => print(&format!("{}: good", file.display()))?,
            (0, count) => print(&format!("{}: good, {count} to look at", file.display()))?,
            (count, _) => print(&format!("{}: {count} to mend", file.display()))?,
        };
    }
    Ok(if ok { Exit::Good } else { Exit::BadInput })
}

/// The same road as a reload, but for binding and publishing.
fn find(file: &Path) -> anyhow::Result<(Vec<Mistake>, usize, Vec<Mistake>)> {
    let attempt = reload::attempt(file);
    let loaded = match attempt.outcome {
        Ok(loaded) => loaded,
        Err(mistakes) => {
            let mistakes = reload::refuse(file, mistakes, attempt.draft);
            return Ok(split(&mistakes, Vec::new()));
        }
    };
    let engine = reload::start_engine(&loaded.config, Compiler::Here)?;
    let loader = Loader::to_look(file, engine, &loaded.config);
    let warnings = loaded.warnings.clone();
    match loader.build(loaded, None, &Past::default(), Sockets::Leave) {
        Ok(candidate) => Ok((Vec::new(), 0, candidate.warnings)),
        Err(mistakes) => Ok(split(&mistakes, warnings)),
    }
}

fn split(
    mistakes: &crate::config::Mistakes,
    warnings: Vec<Mistake>,
) -> (Vec<Mistake>, usize, Vec<Mistake>) {
    let kept: Vec<_> = mistakes.iter().cloned().collect();
    let more = mistakes.count() - kept.len();
    (kept, more, warnings)
}
