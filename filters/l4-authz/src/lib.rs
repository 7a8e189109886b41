//! `lockgate:l4-authz`: who may connect.
//!
//! `config` is what the operator writes, and a `rule` what is made of one. A denial is
//! told once in the log, with who it was and which rule said so.

mod config;
mod rule;
#[cfg(test)]
mod tests;

use lockgate_sdk::metrics::Counter;
use lockgate_sdk::prelude::*;
use lockgate_sdk::{Admission, Connection, ConnectionFilter, ConnectionWants};

pub use crate::config::Config;
use crate::rule::{Rule, Who};

/// What no rule is called.
const NO_RULE: &str = "none";

/// The filter.
pub struct L4Authz {
    deny: Vec<Rule>,
    allow: Vec<Rule>,
    dry_run: bool,
    decisions: Counter,
}

impl ConnectionFilter for L4Authz {
    type Config = Config;

    fn create(config: Config) -> Result<Self, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        let deny = Rule::check_all("deny", config.deny, &mut errors);
        let allow = Rule::check_all("allow", config.allow, &mut errors);
        errors.into_result()?;
        let help = "connections, by decision and rule";
        Ok(L4Authz {
            deny,
            allow,
            dry_run: config.dry_run,
            decisions: Counter::define("decisions_total", help, &["decision", "rule"])?,
        })
    }

    fn wants(&self) -> ConnectionWants {
        ConnectionWants::facts()
    }

    fn on_connection(&self, connection: &Connection, _: &[u8]) -> Result<Admission, Error> {
        let client = connection.client_address();
        let who = Who {
            client: client.parse().ok(),
            identity: connection.attribute("tls.peer.spiffe"),
            // Where a rule of the firewall redirected it, what it was meant for counts.
            port: (connection.attribute("original_destination.port"))
                .or_else(|| connection.attribute("destination.port"))
                .and_then(|port| port.parse().ok()),
        };
        let (is_allowed, rule) = self.decide(&who);
        let decision = match (is_allowed, self.dry_run) {
            (true, _) => "allowed",
            (false, false) => "denied",
            (false, true) => "would_deny",
        };
        self.decisions.increment(&[decision, rule]);
        connection.set_attribute("decision", decision);
        connection.set_attribute("rule", rule);
        if is_allowed {
            return Ok(Admission::Next);
        }
        log::info!(
            "a connection that no rule allows, or one denies",
            decision = decision,
            rule = rule,
            client = client,
            identity = who.identity.as_deref().unwrap_or_default(),
            port = who.port.map_or_else(String::new, |port| port.to_string()),
        );
        match self.dry_run {
            true => Ok(Admission::Next),
            false => Ok(Admission::deny(format!("rule {rule}"))),
        }
    }
}

impl L4Authz {
    /// And by which rule.
    fn decide(&self, who: &Who) -> (bool, &str) {
        let find = |rules: &'_ [Rule]| rules.iter().position(|rule| rule.is_about(who));
        if let Some(index) = find(&self.deny) {
            return (false, &self.deny[index].name);
        }
        match find(&self.allow) {
            Some(index) => (true, &self.allow[index].name),
            None => (false, NO_RULE),
        }
    }
}

lockgate_sdk::export_connection!(L4Authz, name = "lockgate:l4-authz");
