//! A file of cases: a filter that is in no configuration, with its cases.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use super::case::CasesOf;
use super::names::Names;
use super::{Checker, Outside, prune};
use crate::config::cases::Case;
use crate::config::checked::OnBad;
use crate::config::checked::{ComponentSource, Filter};
use crate::config::mistake::Mistake;
use crate::config::place::Places;
use crate::config::raw::{RawCase, RawCaseFile, RawFilter, RawGrants, RawProbation};
use crate::config::structure::Texts;

/// Stands among the clusters that a filter may call where no case has an answer: what
/// imports calls is not loaded without one.
const NO_CLUSTER: &str = "(none)";

/// What a check of a file of cases gives.
pub(in crate::config) struct CheckedCases {
    /// Without mistakes it is there.
    pub(in crate::config) filter: Option<(Filter, Vec<Case>)>,
    pub(in crate::config) mistakes: Vec<Mistake>,
}

/// Check a file of cases, of which `known` are the mistakes found before and `broken`
/// the values that they are about. `component` goes before the file's own.
pub(in crate::config) fn check_cases(
    value: &Value,
    outside: &Outside<'_>,
    places: &Places,
    texts: &Texts,
    broken: &[String],
    known: Vec<Mistake>,
    component: Option<&ComponentSource>,
) -> CheckedCases {
    let mut pruned = value.clone();
    let pointers = known.iter().map(|mistake| mistake.pointer.as_str());
    for pointer in pointers.chain(broken.iter().map(String::as_str)) {
        prune(&mut pruned, pointer);
    }
    let mut checker = Checker {
        outside,
        places,
        texts,
        names: Names::of_cases(BTreeSet::new()),
        addresses: Vec::new(),
        read_files: Vec::new(),
        retry_policies: Vec::new(),
        system_roots: OnceCell::new(),
        mistakes: known,
        warnings: Vec::new(),
    };
    let filter = checker
        .typed(&pruned, "")
        .and_then(|raw| checker.case_file(raw, component));
    let mistakes = checker.mistakes;
    CheckedCases { filter, mistakes }
}

impl Checker<'_> {
    fn case_file(
        &mut self,
        raw: RawCaseFile,
        component: Option<&ComponentSource>,
    ) -> Option<(Filter, Vec<Case>)> {
        if raw.cases.is_empty() && !self.places.has("/cases") {
            self.mistake("", "no case", "at least one in `cases`");
        }
        let secrets = secret_names(&raw);
        self.names = Names::of_cases(secrets.clone());
        let mut cases = self.cases("/cases", &raw.cases, CasesOf::File);
        let shared = self.sample_secrets("/secrets", &raw.secrets);
        for case in &mut cases {
            let is_own = |name| case.secrets.iter().any(|own| own.name == name);
            let more: Vec<_> = shared
                .iter()
                .filter(|secret| !is_own(secret.name.clone()))
                .cloned()
                .collect();
            case.secrets.extend(more);
        }
        let component = component.cloned().or_else(|| match &raw.component {
            Some(_) => self.component("", raw.component.as_ref(), None),
            None => {
                let wanted = "`component`, or `--component` on the command line";
                self.mistake("", "no key `component`", wanted);
                None
            }
        })?;
        let name = raw.name.clone().unwrap_or_else(|| name_of(&component));
        let filter = RawFilter {
            component: None,
            pull: None,
            trust: None,
            on_error: raw.on_error,
            on_bad: OnBad::Refuse,
            probation: RawProbation::default(),
            canary: None,
            shadow: None,
            isolation: raw.isolation,
            limits: raw.limits,
            grants: raw.grants.unwrap_or_else(|| RawGrants {
                call: clusters(&raw.cases),
                secrets: secrets.into_iter().map(Some).collect(),
                reveal: Vec::new(),
                shared: true,
            }),
            config: raw.config,
            routes: raw.routes,
            checks: Vec::new(),
        };
        let filter = self.filter_of("", &name, &filter, Some(component))?;
        Some((filter, cases))
    }
}

fn secret_names(raw: &RawCaseFile) -> BTreeSet<String> {
    let cases = raw.cases.iter().flatten();
    let of_cases = cases.flat_map(|case| case.secrets.keys());
    raw.secrets.keys().chain(of_cases).cloned().collect()
}

/// Those that answer calls in any case.
fn clusters(cases: &[Option<RawCase>]) -> Vec<String> {
    let answers = cases.iter().flatten().flat_map(|case| {
        let steps = case.steps.iter().flatten();
        let answers = steps.flat_map(|step| &step.answers);
        case.answers.iter().chain(answers).flatten()
    });
    let mut clusters: BTreeSet<_> = answers
        .filter_map(|answer| answer.cluster.clone())
        .collect();
    if clusters.is_empty() {
        clusters.insert(NO_CLUSTER.to_owned());
    }
    clusters.into_iter().collect()
}

/// The name of a component's filter, if it has no other.
fn name_of(component: &ComponentSource) -> String {
    match component {
        ComponentSource::Shipped(name) => name.to_string(),
        ComponentSource::File(path) => path
            .file_stem()
            .map(Path::new)
            .map_or_else(|| "filter".to_owned(), |stem| stem.display().to_string()),
        ComponentSource::Registry(..) => "filter".to_owned(),
    }
}
