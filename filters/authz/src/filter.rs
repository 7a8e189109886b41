//! What the filter does with a request.

use lockgate_sdk::metrics::Counter;
use lockgate_sdk::prelude::*;

use crate::config::Config;
use crate::rule::{Decision, Rule, decide};
use crate::subject::Identity;
use crate::{audit, check};

/// The filter.
pub struct Authz {
    pub(crate) allow: Vec<Rule>,
    pub(crate) deny: Vec<Rule>,
    pub(crate) dry_run: bool,
    pub(crate) identity: Identity,
    pub(crate) decisions: Counter,
}

impl Filter for Authz {
    type Config = Config;

    fn create(config: Config) -> Result<Self, ConfigErrors> {
        check::check(config)
    }

    fn wants(&self) -> Wants {
        let fields = self.deny.iter().chain(&self.allow).flat_map(Rule::fields);
        Wants::request()
            .request_fields([":method", ":path"])
            .request_fields(fields)
    }

    fn on_request(&self, exchange: &Exchange) -> Result<Verdict, Error> {
        let decision = decide(&self.deny, &self.allow, exchange, &self.identity);
        let (name, rule) = match decision {
            Decision::Allowed(rule) => ("allow", rule),
            Decision::Denied(rule) if self.dry_run => ("would_deny", rule),
            Decision::Denied(rule) => ("deny", rule),
        };
        exchange.set_attribute("decision", name);
        exchange.set_attribute("rule", rule);
        self.decisions.increment(&[name, rule]);
        if let Decision::Denied(_) = decision {
            audit::record(exchange, &self.identity, name, rule);
        }
        match name {
            "deny" => Ok(Reply::text(403, "forbidden\n").into()),
            _ => Ok(Verdict::Leave),
        }
    }
}
