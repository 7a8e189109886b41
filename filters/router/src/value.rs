//! Tests of a value: of a header field, a query parameter, a cookie.

use memchr::memmem::Finder;

use crate::pattern::Pattern;

/// A test of all the values that go by one name.
#[derive(Debug)]
pub struct Test {
    /// Holds when no value satisfies it, instead of when one does.
    pub negated: bool,
    pub wanted: Wanted,
}

/// What one value must be.
#[derive(Debug)]
pub enum Wanted {
    Anything,
    Exact(Box<str>),
    Prefix(Box<str>),
    Suffix(Box<str>),
    Contains(Box<Finder<'static>>),
    Regex(Box<Pattern>),
}

impl Test {
    /// Whether it holds, where `any` tells whether some value satisfies a test.
    pub fn holds(&self, any: impl FnOnce(&mut dyn FnMut(&[u8]) -> bool) -> bool) -> bool {
        any(&mut |value| self.wanted.accepts(value)) != self.negated
    }

    /// Whether this one holds wherever the other does. May miss that it does.
    pub fn follows_from(&self, other: &Test) -> bool {
        match (self.negated, other.negated) {
            (false, false) => self.wanted.includes(&other.wanted),
            (true, true) => other.wanted.includes(&self.wanted),
            (true, false) | (false, true) => false,
        }
    }
}

impl Wanted {
    fn accepts(&self, value: &[u8]) -> bool {
        match self {
            Wanted::Anything => true,
            Wanted::Exact(text) => value == text.as_bytes(),
            Wanted::Prefix(text) => value.starts_with(text.as_bytes()),
            Wanted::Suffix(text) => value.ends_with(text.as_bytes()),
            Wanted::Contains(finder) => finder.find(value).is_some(),
            Wanted::Regex(pattern) => pattern.matches(value),
        }
    }

    /// Whether every value that the other accepts is accepted.
    fn includes(&self, other: &Wanted) -> bool {
        match (self, other) {
            (Wanted::Anything, _) => true,
            (_, Wanted::Exact(text)) => self.accepts(text.as_bytes()),
            (Wanted::Prefix(wide), Wanted::Prefix(narrow)) => narrow.starts_with(&**wide),
            (Wanted::Suffix(wide), Wanted::Suffix(narrow)) => narrow.ends_with(&**wide),
            (Wanted::Contains(_), Wanted::Prefix(text) | Wanted::Suffix(text)) => {
                self.accepts(text.as_bytes())
            }
            (Wanted::Contains(_), Wanted::Contains(finder)) => self.accepts(finder.needle()),
            (Wanted::Regex(one), Wanted::Regex(other)) => one.source() == other.source(),
            _ => false,
        }
    }
}
