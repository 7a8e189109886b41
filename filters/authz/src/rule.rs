//! Rules, and which of them decides.

use lockgate_sdk::prelude::*;

use crate::condition::{Condition, Paths};
use crate::subject::Identity;

/// What stands in records and metrics where no rule allowed a request.
pub const NO_RULE: &str = "(none)";

#[derive(Debug)]
pub struct Rule {
    pub name: String,
    pub when: Condition,
    pub unless: Option<Condition>,
}

/// What becomes of a request, and by which rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision<'r> {
    Allowed(&'r str),
    Denied(&'r str),
}

impl Rule {
    fn denies(&self, exchange: &Exchange, identity: &Identity) -> bool {
        self.is_about(exchange, identity, Paths::Both, Paths::One)
    }

    fn allows(&self, exchange: &Exchange, identity: &Identity) -> bool {
        self.is_about(exchange, identity, Paths::One, Paths::Both)
    }

    fn is_about(
        &self,
        exchange: &Exchange,
        identity: &Identity,
        when: Paths,
        unless: Paths,
    ) -> bool {
        let is_excepted = |condition: &Condition| condition.holds(exchange, identity, unless);
        self.when.holds(exchange, identity, when) && !self.unless.as_ref().is_some_and(is_excepted)
    }

    /// The fields that it looks at.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        let unless = self.unless.iter().flat_map(Condition::fields);
        self.when.fields().chain(unless)
    }
}

/// What denies is stronger than what allows, and what nothing allows is denied.
pub fn decide<'r>(
    deny: &'r [Rule],
    allow: &'r [Rule],
    exchange: &Exchange,
    identity: &Identity,
) -> Decision<'r> {
    if let Some(rule) = deny.iter().find(|rule| rule.denies(exchange, identity)) {
        return Decision::Denied(&rule.name);
    }
    match allow.iter().find(|rule| rule.allows(exchange, identity)) {
        Some(rule) => Decision::Allowed(&rule.name),
        None => Decision::Denied(NO_RULE),
    }
}
