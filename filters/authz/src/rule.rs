//! Rules, and which of them decides.

use lockgate_sdk::prelude::*;

use crate::condition::Condition;
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
    fn is_about(&self, exchange: &Exchange, identity: &Identity) -> bool {
        let holds = |condition: &Condition| condition.holds(exchange, identity);
        holds(&self.when) && !self.unless.as_ref().is_some_and(holds)
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
    let is_about = |rule: &&Rule| rule.is_about(exchange, identity);
    if let Some(rule) = deny.iter().find(is_about) {
        return Decision::Denied(&rule.name);
    }
    match allow.iter().find(is_about) {
        Some(rule) => Decision::Allowed(&rule.name),
        None => Decision::Denied(NO_RULE),
    }
}
