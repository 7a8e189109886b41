//! The `match` of a route.

use std::collections::BTreeMap;

use memchr::memmem::Finder;

use super::Checker;
use crate::config::{MatchConfig, OneOrMany, TestConfig, ValueTest};
use crate::edits::check_token;
use crate::host::HostPattern;
use crate::matching::{Conditions, PathCondition};
use crate::mistakes::Place;
use crate::path::{check_path, trim_prefix};
use crate::value::{Test, Wanted};

type Tests = Vec<(Box<str>, Test)>;

impl Checker<'_> {
    /// What is wrong is noted and left out.
    pub(super) fn conditions(&mut self, config: &MatchConfig, place: &Place) -> Conditions {
        Conditions {
            hosts: self.list(config.host.as_ref(), &place.key("host"), HostPattern::new),
            path: self.path(config, place),
            methods: self.list(config.method.as_ref(), &place.key("method"), check_method),
            headers: self.tests(&config.headers, &place.key("headers"), check_header_name),
            query: self.tests(&config.query, &place.key("query"), check_parameter_name),
            cookies: self.tests(&config.cookies, &place.key("cookies"), check_cookie_name),
        }
    }

    fn list<T>(
        &mut self,
        config: Option<&OneOrMany>,
        place: &Place,
        check: impl Fn(&str) -> Result<T, String>,
    ) -> Vec<T> {
        // Nothing would match; and a list that a template left empty is not
        // meant as "everything".
        if matches!(config, Some(OneOrMany::Many(texts)) if texts.is_empty()) {
            self.mistakes
                .add(place, "an empty list matches nothing: leave the key out");
        }
        let mut checked = Vec::new();
        for (index, text) in config.into_iter().flat_map(OneOrMany::items) {
            let result = check(text);
            checked.extend(match index {
                Some(index) => self.mistakes.take(&place.item(index), result),
                None => self.mistakes.take(place, result),
            });
        }
        checked
    }

    fn path(&mut self, config: &MatchConfig, place: &Place) -> PathCondition {
        let given = [&config.path, &config.path_prefix, &config.path_regex];
        if given.into_iter().flatten().count() > 1 {
            let message = "wanted one of `path`, `path_prefix` and `path_regex`";
            self.mistakes.add(place, message);
        }
        let exact = config.path.as_ref().and_then(|path| {
            let path = self.mistakes.take(&place.key("path"), check_path(path))?;
            Some(PathCondition::Exact(path.into()))
        });
        let prefix = config.path_prefix.as_ref().and_then(|prefix| {
            let prefix = self
                .mistakes
                .take(&place.key("path_prefix"), check_path(prefix))?;
            Some(match trim_prefix(&prefix) {
                "" => PathCondition::Any,
                prefix => PathCondition::Prefix(prefix.into()),
            })
        });
        let regex = config.path_regex.as_ref().and_then(|source| {
            let pattern = self.pattern(source, &place.key("path_regex"))?;
            Some(PathCondition::Regex(pattern))
        });
        exact.or(prefix).or(regex).unwrap_or_default()
    }

    fn tests(
        &mut self,
        config: &BTreeMap<String, TestConfig>,
        place: &Place,
        check_name: impl Fn(&str) -> Result<Box<str>, String>,
    ) -> Tests {
        let mut tests = Vec::new();
        for (name, test) in config {
            let place = place.key(name);
            let name = self.mistakes.take(&place, check_name(name));
            let test = self.test(test, &place);
            tests.extend(name.zip(test));
        }
        tests
    }

    fn test(&mut self, config: &TestConfig, place: &Place) -> Option<Test> {
        let wanted = match config {
            TestConfig::Equal(text) | TestConfig::Test(ValueTest::Exact(text)) => {
                Wanted::Exact(text.as_str().into())
            }
            TestConfig::Test(ValueTest::Prefix(text)) => Wanted::Prefix(text.as_str().into()),
            TestConfig::Test(ValueTest::Suffix(text)) => Wanted::Suffix(text.as_str().into()),
            TestConfig::Test(ValueTest::Contains(text)) => {
                Wanted::Contains(Box::new(Finder::new(text).into_owned()))
            }
            TestConfig::Test(ValueTest::Regex(source)) => {
                Wanted::Regex(self.pattern(source, &place.key("regex"))?)
            }
            TestConfig::Test(ValueTest::Present(present)) => {
                return Some(Test {
                    negated: !present,
                    wanted: Wanted::Anything,
                });
            }
            TestConfig::Test(ValueTest::Not(opposite)) => {
                let test = self.test(opposite, &place.key("not"))?;
                return Some(Test {
                    negated: !test.negated,
                    ..test
                });
            }
        };
        Some(Test {
            negated: false,
            wanted,
        })
    }
}

/// A field that a route asks about, in lower case.
pub(super) fn check_header_name(name: &str) -> Result<Box<str>, String> {
    if name.eq_ignore_ascii_case("host") {
        return Err("the host is matched by `match.host`".to_owned());
    }
    check_token(name, "a field name").map(|name| name.to_ascii_lowercase().into())
}

/// RFC 6265 §4.1.1.
pub(super) fn check_cookie_name(name: &str) -> Result<Box<str>, String> {
    check_token(name, "the name of a cookie").map(Box::from)
}

fn check_parameter_name(name: &str) -> Result<Box<str>, String> {
    match name {
        "" => Err("wanted the name of a parameter".to_owned()),
        name => Ok(name.into()),
    }
}

/// Methods are case-sensitive (RFC 9110 §9.1), so `get` would never match.
fn check_method(method: &str) -> Result<Box<str>, String> {
    const KNOWN: [&str; 8] = [
        "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE",
    ];
    let method = check_token(method, "a method")?;
    match KNOWN
        .iter()
        .find(|known| known.eq_ignore_ascii_case(method))
    {
        Some(known) if *known != method => {
            Err(format!("wanted `{known}`: methods are case-sensitive"))
        }
        Some(_) | None => Ok(method.into()),
    }
}
