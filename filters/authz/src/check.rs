//! From the configuration to the filter, with every mistake at once.

use std::collections::{BTreeMap, HashSet};

use lockgate_sdk::field;
use lockgate_sdk::metrics::Counter;
use lockgate_sdk::prelude::*;

use crate::condition::{Condition, Test};
use crate::config::{ConditionConfig, Config, RuleConfig, Texts};
use crate::filter::Authz;
use crate::network::Network;
use crate::pattern::{Glob, Segments};
use crate::rule::Rule;
use crate::subject::Identity;

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
            Rule {
                when: place.condition(&rule.when, &format!("{at}/when")),
                unless: rule.unless.map(|unless| {
                    let at = format!("{at}/unless");
                    let condition = place.condition(&unless, &at);
                    if condition.0.is_empty() {
                        let message = "without a condition it takes away every request";
                        place.errors.push(ConfigError::at(at, message));
                    }
                    condition
                }),
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
        let mut globs = |key: &str, texts: &Option<Texts>, test: fn(Vec<Glob>) -> Test| {
            let texts = texts.as_ref();
            let globs = texts.map(|texts| self.each(texts, &format!("{at}/{key}"), glob));
            tests.extend(globs.map(test));
        };
        globs("san", &config.san, Test::San);
        globs("peer_subject", &config.peer_subject, Test::PeerSubject);
        globs("subject", &config.subject, Test::Subject);
        globs("host", &config.host, Test::Host);
        let place = |key: &str| format!("{at}/{key}");
        if let Some(texts) = &config.spiffe {
            tests.push(Test::Spiffe(self.each(texts, &place("spiffe"), spiffe)));
        }
        if let Some(texts) = &config.path {
            tests.push(Test::Path(self.each(texts, &place("path"), path)));
        }
        if let Some(texts) = &config.method {
            tests.push(Test::Method(self.each(texts, &place("method"), method)));
        }
        if let Some(texts) = &config.address {
            tests.push(Test::Address(self.each(texts, &place("address"), network)));
        }
        for (name, globs) in self.by_name(&config.claims, &place("claims")) {
            tests.push(Test::Claim(self.identity.claim(name), globs));
        }
        for (name, globs) in self.by_name(&config.claim_items, &place("claim_items")) {
            tests.push(Test::ClaimItem(self.identity.claim(name), globs));
        }
        for (name, globs) in self.by_name(&config.headers, &place("headers")) {
            let name = name.to_ascii_lowercase();
            if !field::is_name(&name) {
                let message = format!("`{name}` is not a field name");
                self.errors.push(ConfigError::at(place("headers"), message));
            }
            tests.push(Test::Header(name, globs));
        }
        Condition(tests)
    }

    fn by_name<'c>(
        &mut self,
        config: &'c BTreeMap<String, Texts>,
        at: &str,
    ) -> Vec<(&'c str, Vec<Glob>)> {
        let named = config.iter();
        let named = named.map(|(name, texts)| {
            let escaped = name.replace('~', "~0").replace('/', "~1");
            let globs = self.each(texts, &format!("{at}/{escaped}"), glob);
            (name.as_str(), globs)
        });
        named.collect()
    }

    /// What the texts stand for. An empty list would never fit, and nobody means that.
    fn each<T>(
        &mut self,
        texts: &Texts,
        at: &str,
        read: fn(&str) -> Result<T, &'static str>,
    ) -> Vec<T> {
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

fn glob(text: &str) -> Result<Glob, &'static str> {
    Ok(Glob::new(text))
}

fn spiffe(text: &str) -> Result<Segments, &'static str> {
    let wanted = "a SPIFFE ID, in which `**` stands at the end alone: `spiffe://domain/path`";
    match text.starts_with("spiffe://") {
        true => Segments::new(text).ok_or(wanted),
        false => Err(wanted),
    }
}

fn path(text: &str) -> Result<Segments, &'static str> {
    let wanted = "a path: it begins with `/`, has no query, and `**` at the end alone";
    match text.starts_with('/') && !text.contains(['?', '#']) {
        true => Segments::new(text).ok_or(wanted),
        false => Err(wanted),
    }
}

fn method(text: &str) -> Result<String, &'static str> {
    match field::is_name(&text.to_ascii_lowercase()) {
        true => Ok(text.to_owned()),
        false => Err("a method"),
    }
}

fn network(text: &str) -> Result<Network, &'static str> {
    Network::read(text)
        .ok_or("a network such as `10.0.0.0/8`, from its first address, or an address")
}
