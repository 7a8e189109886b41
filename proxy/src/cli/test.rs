//! `lockgate filter test`.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};

use super::inspect;
use crate::cases::{self, Outcome, Subject};
use crate::config::cases::CaseFile;
use crate::config::{self, ComponentSource, Mistake, Places, Pull, Reference};
use crate::console::{Exit, print, print_json};
use crate::control::reload::default_cache_dir;
use crate::digest::Digest;
use crate::filter::{EngineOptions, FilterEngine, Module, Pace};

/// Arguments of the command.
#[derive(clap::Args)]
pub struct Options {
    /// Files of cases.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// A component, or lockgate:NAME for a shipped one, instead of those that the
    /// files name.
    #[arg(long, value_name = "FILE")]
    component: Option<String>,
    /// Only cases with this in their names.
    #[arg(long, value_name = "PART")]
    name: Option<String>,
    /// One JSON document: {"ok", "cases", "mistakes"}.
    #[arg(long)]
    json: bool,
}

/// What came of all files.
#[derive(Default)]
struct Report {
    /// With the file in which each case stands.
    outcomes: Vec<(Arc<CaseFile>, Outcome)>,
    mistakes: Vec<Bad>,
}

/// Why a file's cases cannot be run.
enum Bad {
    Mistake(Mistake),
    Text(String),
}

pub fn test(options: &Options) -> anyhow::Result<Exit> {
    let report = run_all(options)?;
    if options.json {
        print_json(&as_value(&report))?;
    } else {
        print_text(&report)?;
    }
    let all_passed = report.outcomes.iter().all(|(_, outcome)| outcome.passed());
    Ok(match (report.mistakes.is_empty(), all_passed) {
        (false, _) => Exit::BadInput,
        (true, false) => Exit::Failed,
        (true, true) => Exit::Good,
    })
}

fn run_all(options: &Options) -> anyhow::Result<Report> {
    let mut report = Report::default();
    let mut modules = Modules {
        engine: FilterEngine::start(EngineOptions {
            cache_dir: default_cache_dir(),
            ..EngineOptions::default()
        })?,
        loaded: HashMap::new(),
    };
    let component = options.component.as_deref().map(source);
    let env = |name: &str| std::env::var(name).ok();
    for path in &options.files {
        let file = match config::load_cases(path, component.as_ref(), &env) {
            Ok(file) => Arc::new(file),
            Err(mistakes) => {
                let mistakes = mistakes.iter().cloned().map(Bad::Mistake);
                report.mistakes.extend(mistakes);
                continue;
            }
        };
        match modules.load(&file.filter.component) {
            Ok(module) => run_file(&file, &module, options, &mut report)?,
            Err(text) => report.mistakes.push(Bad::Text(text)),
        }
    }
    let nothing = report.outcomes.is_empty() && report.mistakes.is_empty();
    if let Some(part) = options.name.as_deref().filter(|_| nothing) {
        let text = format!("no case has `{part}` in its name");
        report.mistakes.push(Bad::Text(text));
    }
    Ok(report)
}

fn run_file(
    file: &Arc<CaseFile>,
    module: &Arc<Module>,
    options: &Options,
    report: &mut Report,
) -> anyhow::Result<()> {
    let part = options.name.as_deref().unwrap_or_default();
    let wanted = file.cases.iter().filter(|case| case.name.contains(part));
    let subject = Subject {
        module,
        filter: &file.filter,
        secrets: &[],
        places: &file.places,
    };
    // Each by itself: a file may have any number of them.
    for case in wanted {
        let outcomes = cases::run(&subject, std::slice::from_ref(case))?.into_iter();
        report
            .outcomes
            .extend(outcomes.map(|outcome| (file.clone(), outcome)));
    }
    Ok(())
}

/// As on a command line: relative to the folder that the command is run in.
fn source(component: &str) -> ComponentSource {
    if let Ok(reference) = Reference::read(component) {
        return ComponentSource::Registry(reference, Pull::Missing);
    }
    match component.strip_prefix("lockgate:") {
        Some(name) => ComponentSource::Shipped(name.into()),
        None => ComponentSource::File(component.into()),
    }
}

/// Each component is loaded once.
struct Modules {
    engine: Arc<FilterEngine>,
    loaded: HashMap<String, Arc<Module>>,
}

impl Modules {
    fn load(&mut self, component: &ComponentSource) -> Result<Arc<Module>, String> {
        let name = component.to_string();
        if let Some(module) = self.loaded.get(&name) {
            return Ok(module.clone());
        }
        let bytes = inspect::read(&name)?;
        let module = self.engine.load(Digest::of(&bytes), &bytes, Pace::Full);
        let module = module.map_err(|error| format!("`{name}` {error}"))?;
        self.loaded.insert(name, module.clone());
        Ok(module)
    }
}

fn print_text(report: &Report) -> anyhow::Result<()> {
    for mistake in &report.mistakes {
        print(&format!("error: {}", mistake.text()))?;
    }
    for (file, outcome) in &report.outcomes {
        let (name, places) = (&outcome.name, &file.places);
        match outcome.passed() {
            true => print(&format!("ok      {name}"))?,
            false => print(&format!("failed  {name}"))?,
        };
        for difference in &outcome.differences {
            let place = places.find(&difference.pointer);
            print(&format!("        {place}: {difference}"))?;
        }
        for note in outcome.notes.iter().filter(|_| !outcome.passed()) {
            print(&format!("        note: {note}"))?;
        }
    }
    let count = report.outcomes.len();
    let failed = report
        .outcomes
        .iter()
        .filter(|(_, outcome)| !outcome.passed());
    let cases = if count == 1 { "case" } else { "cases" };
    match failed.count() {
        _ if count == 0 => Exit::Good,
        0 => print(&format!("{count} {cases}, all ok"))?,
        failed => print(&format!("{count} {cases}, {failed} failed"))?,
    };
    Ok(())
}

fn as_value(report: &Report) -> Value {
    let mistakes: Vec<_> = report.mistakes.iter().map(Bad::as_value).collect();
    let cases = report.outcomes.iter();
    let cases: Vec<_> = cases
        .map(|(file, outcome)| case_as_value(&file.places, outcome))
        .collect();
    let failed = report.outcomes.iter().any(|(_, outcome)| !outcome.passed());
    json!({ "ok": mistakes.is_empty() && !failed, "cases": cases, "mistakes": mistakes })
}

fn case_as_value(places: &Places, outcome: &Outcome) -> Value {
    let differences = outcome.differences.iter().map(|difference| {
        json!({
            "place": places.find(&difference.pointer),
            "what": difference.what,
            "expected": difference.expected,
            "found": difference.found,
        })
    });
    json!({
        "name": outcome.name,
        "place": places.find(&outcome.pointer),
        "ok": outcome.passed(),
        "differences": differences.collect::<Vec<_>>(),
        "notes": outcome.notes,
        "milliseconds": outcome.took.as_secs_f64() * 1000.0,
    })
}

impl Bad {
    fn text(&self) -> String {
        match self {
            Bad::Mistake(mistake) => mistake.to_string(),
            Bad::Text(text) => text.clone(),
        }
    }

    fn as_value(&self) -> Value {
        match self {
            Bad::Mistake(mistake) => json!(mistake),
            Bad::Text(text) => json!({ "message": text }),
        }
    }
}
