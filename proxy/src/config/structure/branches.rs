//! A value that fits none of several schemas: which of them was meant?

use std::collections::BTreeSet;

use jsonschema::error::ValidationErrorKind as Kind;
use jsonschema::{JsonType, ValidationError};
use serde_json::Value;

use super::{Translator, is_word, stand_in, wants};
use crate::config::words;

type Branches<'e> = &'e [Vec<ValidationError<'static>>];

impl Translator<'_> {
    /// None of several schemas fits: tell what is wrong by the one that was most
    /// likely meant, or what they all want.
    pub(super) fn no_branch(&mut self, error: &ValidationError<'_>, branches: Branches<'_>) {
        let at = error.instance_path().as_str();
        let fits: Vec<_> = branches
            .iter()
            .filter(|branch| !misses_shape(branch, at))
            .collect();
        let best = fits.iter().map(|branch| misfit(branch, at)).min();
        let nearest: Vec<_> = fits
            .into_iter()
            .filter(|branch| match best {
                // Every branch has another tag, and any could be meant.
                Some((true, ..)) => true,
                best => Some(misfit(branch, at)) == best,
            })
            .collect();
        match nearest.as_slice() {
            [] => self.summary(error, branches),
            [branch] => branch.iter().for_each(|error| self.translate(error)),
            several => self.several_branches(error, several),
        }
    }

    fn summary(&mut self, error: &ValidationError<'_>, branches: Branches<'_>) {
        let choices: Vec<_> = branches
            .iter()
            .flatten()
            .filter_map(constant)
            .cloned()
            .collect();
        let at = error.instance_path().as_str();
        let any_text = self.schema_of(error).get("x-wanted").is_none();
        let hint = match is_word(error.instance()) && any_text && takes_text(branches, at) {
            true => Some("quotes make it a string".to_owned()),
            false => meant(error.instance(), &choices),
        };
        self.mend(at, stand_in(self.root, self.schema_of(error)));
        self.push(at, self.found(error), self.wanted(error), hint);
    }

    /// Several branches are equally likely: tell what they have in common.
    fn several_branches(
        &mut self,
        error: &ValidationError<'_>,
        branches: &[&Vec<ValidationError<'static>>],
    ) {
        let at = error.instance_path().as_str();
        let tags = branches.iter().filter_map(|branch| tag(branch, at));
        if let Some(first) = tags.clone().next() {
            let path = first.instance_path().as_str();
            let same = tags.filter(|error| error.instance_path().as_str() == path);
            let choices: Vec<_> = same.filter_map(constant).cloned().collect();
            let hint = meant(first.instance(), &choices);
            let wanted = words::one_of(choices.iter().map(words::choice));
            self.mend(path, choices.first().cloned());
            return self.push(path, self.found(first), wanted, hint);
        }
        let unknown = branches.iter().map(|branch| unknown_keys(branch, at));
        let common = unknown.reduce(|all, keys| &all & &keys).unwrap_or_default();
        if common.is_empty() {
            let wanted = self.wanted(error);
            self.mend(at, stand_in(self.root, self.schema_of(error)));
            return self.push(at, self.found(error), wanted, None);
        }
        let errors: Vec<_> = branches.iter().copied().flatten().collect();
        let known = self.known_keys(&errors);
        for name in common {
            self.unknown_key(at, name, &known);
        }
    }
}

/// The choice that a misspelt value is near.
pub(super) fn meant(value: &Value, choices: &[Value]) -> Option<String> {
    let near = words::nearest(value.as_str()?, choices.iter().filter_map(Value::as_str))?;
    Some(format!("{} is near", words::quoted(near)))
}

/// Whether a text would have the right kind for one of the branches.
fn takes_text(branches: Branches<'_>, at: &str) -> bool {
    let here = branches.iter().flatten();
    let mut here = here.filter(|error| error.instance_path().as_str() == at);
    here.any(|error| matches!(error.kind(), Kind::Type { kind } if wants(kind, JsonType::String)))
}

/// Whether a branch wants another kind of value altogether.
fn misses_shape(branch: &[ValidationError<'_>], at: &str) -> bool {
    let shape = |kind: &Kind| match kind {
        Kind::Type { .. } | Kind::Enum { .. } | Kind::Constant { .. } | Kind::FalseSchema => true,
        Kind::AnyOf { context } | Kind::OneOfNotValid { context } => {
            context.iter().all(|branch| misses_shape(branch, at))
        }
        _ => false,
    };
    branch
        .iter()
        .any(|error| error.instance_path().as_str() == at && shape(error.kind()))
}

/// How far a value is from a branch: a tag of another branch weighs most, then
/// keys that are missing or unknown, then anything else.
fn misfit(branch: &[ValidationError<'_>], at: &str) -> (bool, usize, usize) {
    let keys = branch
        .iter()
        .filter(|error| error.instance_path().as_str() == at);
    let keys = keys.map(|error| match error.kind() {
        Kind::AdditionalProperties { unexpected } => unexpected.len(),
        Kind::Required { .. } => 1,
        _ => 0,
    });
    (tag(branch, at).is_some(), keys.sum(), branch.len())
}

/// The violation that tells a member to have another constant: with it, one
/// branch is told from another.
fn tag<'b, 'e>(branch: &'b [ValidationError<'e>], at: &str) -> Option<&'b ValidationError<'e>> {
    branch.iter().find(|error| {
        let path = error.instance_path().as_str();
        let parent = path.rsplit_once('/').map(|(parent, _)| parent);
        parent == Some(at) && constant(error).is_some()
    })
}

fn constant<'e>(error: &'e ValidationError<'_>) -> Option<&'e Value> {
    match error.kind() {
        Kind::Constant { expected_value } => Some(expected_value),
        Kind::Enum { options } => match options.as_array()?.as_slice() {
            [only] => Some(only),
            _ => None,
        },
        _ => None,
    }
}

fn unknown_keys<'e>(branch: &'e [ValidationError<'_>], at: &str) -> BTreeSet<&'e str> {
    let here = branch
        .iter()
        .filter(|error| error.instance_path().as_str() == at);
    here.filter_map(|error| match error.kind() {
        Kind::AdditionalProperties { unexpected } => Some(unexpected),
        _ => None,
    })
    .flatten()
    .map(String::as_str)
    .collect()
}
