//! From the configuration to the filter, with every mistake at once.

use std::collections::{BTreeMap, HashSet};

use lockgate_sdk::field;
use lockgate_sdk::metrics::Counter;
use lockgate_sdk::prelude::*;

use crate::condition::{Condition, Test};
use crate::config::{ConditionConfig, Config, RuleConfig, Texts};
use crate::filter::Authz;
use crate::pattern::Glob;
use crate::rule::Rule;
use crate::subject::Identity;
use crate::text::{self, Wanted};

const MAX_NAME_BYTES: usize = 64;

pub fn check(config: Config) -> Result<Authz, ConfigErrors> {
    let mut errors = ConfigErrors::new();
    let identity = Identity::of(&config.identity);
    if config.identity.is_empty() {
        errors.push(ConfigError::at(
            "/identity",
            "the name of a filter is missing",
        ));
    }
    let mut names = HashSet::new();
    let mut rules = |key: &str, rules: Vec<RuleConfig>| -> Vec<Rule> {
        let rules = rules.into_iter().enumerate();
        let rules = rules.map(|(index, rule)| {
            let at = format!("/{key}/{index}");
            check_name(&rule.name, &at, &mut names, &mut errors);
            let mut place = Place {
                identity: &identity,
                errors: &mut errors,
            };
            let mut condition = |key: &str, config: Option<ConditionConfig>| {
                config.map(|config| place.condition(&config, &format!("{at}/{key}")))
            };
            Rule {
                when: condition("when", rule.when).unwrap_or_default(),
                unless: condition("unless", rule.unless),
                name: rule.name,
            }
        });
        rules.collect()
    };
    let deny = rules("deny", config.deny);
    let allow = rules("allow", config.allow);
    errors.into_result()?;

    let decisions = "requests by what was decided, and by which rule";
    let decisions = Counter::define("decisions_total", decisions, &["decision", "rule"])?;
    Ok(Authz {
        allow,
        deny,
        dry_run: config.dry_run,
        identity,
        decisions,
    })
}

fn check_name(name: &str, at: &str, names: &mut HashSet<String>, errors: &mut ConfigErrors) {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    let message =
        match name.is_empty() || name.len() > MAX_NAME_BYTES || !name.bytes().all(is_plain) {
            true => format!(
                "`{name}` is not a name: 1 to {MAX_NAME_BYTES} letters, digits, `_`, `-` and `.`"
            ),
            false if !names.insert(name.to_owned()) => format!("another rule is called `{name}`"),
            false => return,
        };
    errors.push(ConfigError::at(format!("{at}/name"), message));
}

struct Place<'a> {
    identity: &'a Identity,
    errors: &'a mut ConfigErrors,
}

impl Place<'_> {
    fn condition(&mut self, config: &ConditionConfig, at: &str) -> Condition {
        let mut tests = Vec::new();
        let place = |key: &str| format!("{at}/{key}");
        if let Some(texts) = &config.san {
            tests.push(Test::San(self.each(texts, &place("san"), text::san)));
        }
        if let Some(texts) = &config.peer_subject {
            tests.push(Test::PeerSubject(self.each(
                texts,
                &place("peer_subject"),
                text::glob,
            )));
        }
        if let Some(texts) = &config.subject {
            tests.push(Test::Subject(self.each(
                texts,
                &place("subject"),
                text::glob,
            )));
        }
        if let Some(texts) = &config.host {
            tests.push(Test::Host(self.each(texts, &place("host"), text::host)));
        }
        if let Some(texts) = &config.spiffe {
            tests.push(Test::Spiffe(self.each(
                texts,
                &place("spiffe"),
                text::spiffe,
            )));
        }
        if let Some(texts) = &config.path {
            tests.push(Test::Path(self.each(texts, &place("path"), text::path)));
        }
        if let Some(texts) = &config.method {
            tests.push(Test::Method(self.each(
                texts,
                &place("method"),
                text::method,
            )));
        }
        if let Some(texts) = &config.address {
            tests.push(Test::Address(self.each(
                texts,
                &place("address"),
                text::network,
            )));
        }
        for (name, globs) in self.by_name(config.claims.as_ref(), &place("claims")) {
            tests.push(Test::Claim(self.identity.claim(name), globs));
        }
        for (name, globs) in self.by_name(config.claim_items.as_ref(), &place("claim_items")) {
            tests.push(Test::ClaimItem(self.identity.claim(name), globs));
        }
        for (name, globs) in self.by_name(config.headers.as_ref(), &place("headers")) {
            let name = name.to_ascii_lowercase();
            if !field::is_name(&name) {
                let message = format!("`{name}` is not a field name");
                self.errors.push(ConfigError::at(place("headers"), message));
            }
            tests.push(Test::Header(name, globs));
        }
        if *config == ConditionConfig::default() {
            let message = "wanted at least one condition: `{}` would hold for every request";
            self.errors.push(ConfigError::at(at, message));
        }
        Condition(tests)
    }

    /// Nothing without names would hold for every request, and nobody means that either.
    fn by_name<'c>(
        &mut self,
        config: Option<&'c BTreeMap<String, Texts>>,
        at: &str,
    ) -> Vec<(&'c str, Vec<Glob>)> {
        if config.is_some_and(BTreeMap::is_empty) {
            let message = "wanted at least one name: `{}` would hold for every request";
            self.errors.push(ConfigError::at(at, message));
        }
        let named = config.into_iter().flatten();
        let named = named.map(|(name, texts)| {
            let escaped = name.replace('~', "~0").replace('/', "~1");
            let globs = self.each(texts, &format!("{at}/{escaped}"), text::glob);
            (name.as_str(), globs)
        });
        named.collect()
    }

    /// What the texts stand for. An empty list would never fit, and nobody means that.
    fn each<T>(&mut self, texts: &Texts, at: &str, read: fn(&str) -> Result<T, Wanted>) -> Vec<T> {
        let mut all = Vec::new();
        for (below, text) in texts.items() {
            match read(text) {
                Ok(good) => all.push(good),
                Err(wanted) => {
                    let message = format!("`{text}` is not {wanted}");
                    self.errors
                        .push(ConfigError::at(format!("{at}{below}"), message));
                }
            }
        }
        if texts.items().next().is_none() {
            let message = "an empty list fits no request";
            self.errors.push(ConfigError::at(at, message));
        }
        all
    }
}
