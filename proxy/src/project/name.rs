//! The name of a filter project: its folder, its package and its filter.

use std::fmt;

const MAX_BYTES: usize = 50;

/// Lower-case words with hyphens between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectName(String);

/// Why a name is none.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BadName {
    #[error(
        "`{0}` is no name for a filter project: it wants lower-case letters and digits, with \
         single hyphens between words, such as `header-check`, and {MAX_BYTES} at most"
    )]
    Form(String),
    #[error("`{0}` is reserved: choose another name")]
    Reserved(String),
}

impl ProjectName {
    pub fn parse(text: &str) -> Result<Self, BadName> {
        let is_word = |word: &str| {
            !word.is_empty()
                && word
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        };
        let begins = text
            .bytes()
            .next()
            .is_some_and(|byte| byte.is_ascii_lowercase());
        if !begins || !text.split('-').all(is_word) || text.len() > MAX_BYTES {
            return Err(BadName::Form(text.to_owned()));
        }
        // The SDK is a package of the project, and facts begin with the others.
        if text == "lockgate-sdk" || crate::filter::is_reserved(text) {
            return Err(BadName::Reserved(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for ProjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_words_with_hyphens() {
        for name in ["a", "header-check", "v2", "b2b-gate-3"] {
            assert_eq!(ProjectName::parse(name).unwrap().to_string(), name);
        }
        let long = "a".repeat(51);
        for name in [
            "", "-", "a-", "-a", "a--b", "A", "a_b", "2a", "a.b", "../a", "a/b", "é", &long,
        ] {
            let refused = ProjectName::parse(name);
            assert_eq!(refused, Err(BadName::Form(name.to_owned())), "{name}");
        }
        for name in ["route", "lockgate-sdk"] {
            let refused = ProjectName::parse(name);
            assert_eq!(refused, Err(BadName::Reserved(name.to_owned())));
        }
    }
}
