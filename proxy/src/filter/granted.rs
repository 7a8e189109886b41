//! What a filter has beyond its own exchange: what the operator granted it, and where
//! its lines go.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

use crate::config::{Grants, SecretUse};
use crate::secrets::{self, Secret};
use crate::shared::{Overlay, Store};

/// The same for all instances of a filter.
#[derive(Default)]
pub struct Granted {
    /// What its instances share.
    pub shared: Option<Shared>,
    pub secrets: GrantedSecrets,
    /// Where its lines are kept instead of in the log.
    pub lines: Option<Arc<Lines>>,
}

/// Where a filter keeps what its instances share.
pub enum Shared {
    /// With other versions of it, on all workers.
    Store(Arc<Store>),
    /// A shadow sees what the others share, and writes for itself.
    Overlay(Overlay),
}

/// Lines of a filter that is only rehearsed, and what was said about it.
#[derive(Debug, Default)]
pub struct Lines(Mutex<Vec<String>>);

impl Lines {
    /// Beyond so many, the rest is dropped.
    const MAX: usize = 1000;

    pub fn keep(&self, line: String) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() < Self::MAX {
            lines.push(line);
        }
    }

    /// Those since this was called last.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The secrets that a filter may use, each for what.
#[derive(Default)]
pub struct GrantedSecrets(Vec<(Arc<Secret>, SecretUse)>);

impl GrantedSecrets {
    /// Of all secrets, those granted. One that is missing has a mistake, and then the
    /// filter is only asked what else is wrong.
    pub fn of(grants: &Grants, all: &[Arc<Secret>]) -> Self {
        let granted = grants.secrets.iter().map(|(name, granted_use)| {
            let known = all.iter().find(|secret| secret.name() == name);
            let secret = known.cloned().unwrap_or_else(|| Secret::stand_in(name));
            (secret, *granted_use)
        });
        Self(granted.collect())
    }

    /// Filters have few, and names are short.
    pub fn find(&self, name: &str) -> Option<(&Secret, SecretUse)> {
        let mut granted = self.0.iter();
        let (secret, granted_use) = granted.find(|(secret, _)| &**secret.name() == name)?;
        Some((secret, *granted_use))
    }

    /// Whether the filter may see any of them.
    pub fn may_see_any(&self) -> bool {
        let mut uses = self.0.iter().map(|(_, granted_use)| granted_use);
        uses.any(|granted_use| *granted_use == SecretUse::Reveal)
    }

    /// The text without any of them.
    pub fn mask_all<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let all: Vec<_> = self.0.iter().map(|(secret, _)| secret.value()).collect();
        secrets::mask(text, &all)
    }

    /// The text without those that the filter may see.
    pub fn mask<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if !self.may_see_any() {
            return Cow::Borrowed(text);
        }
        let seen = |(secret, granted_use): &(Arc<Secret>, SecretUse)| match granted_use {
            SecretUse::Reveal => Some(secret.value()),
            SecretUse::Use => None,
        };
        let seen: Vec<_> = self.0.iter().filter_map(seen).collect();
        secrets::mask(text, &seen)
    }

    /// The same, for who has no use for the text itself.
    pub fn masked(&self, text: String) -> String {
        match self.mask(&text) {
            Cow::Owned(masked) => masked,
            Cow::Borrowed(_) => text,
        }
    }
}

impl PartialEq for GrantedSecrets {
    fn eq(&self, other: &Self) -> bool {
        let same = |((one, granted_use), (other, other_use)): (&(_, _), &(_, _))| {
            Arc::ptr_eq(one, other) && granted_use == other_use
        };
        self.0.len() == other.0.len() && self.0.iter().zip(&other.0).all(same)
    }
}
