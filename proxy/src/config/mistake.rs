//! What is wrong with a configuration, and where.

use std::error::Error as StdError;
use std::fmt;
use std::slice;

use serde::Serialize;

use super::place::{Place, Places};

/// More than this many are counted and not kept.
const MAX_MISTAKES: usize = 200;

/// With so many, no further ones are looked for: finding the words for each takes
/// time, and nobody reads them.
pub(super) const ENOUGH: usize = 400;

/// One mistake: its place, what was found there and what was wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mistake {
    #[serde(flatten)]
    pub place: Place,
    /// JSON pointer of the value, over all files.
    pub pointer: String,
    pub found: String,
    pub wanted: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Mistake {
    /// A mistake in the value at `pointer`.
    pub fn at(
        places: &Places,
        pointer: &str,
        found: impl Into<String>,
        wanted: impl Into<String>,
    ) -> Self {
        Self::new(places.find(pointer), pointer, found, wanted)
    }

    /// A mistake in the key under which the value at `pointer` stands.
    pub fn at_key(
        places: &Places,
        pointer: &str,
        found: impl Into<String>,
        wanted: impl Into<String>,
    ) -> Self {
        Self::new(places.find_key(pointer), pointer, found, wanted)
    }

    pub(super) fn new(
        place: Place,
        pointer: &str,
        found: impl Into<String>,
        wanted: impl Into<String>,
    ) -> Self {
        Self {
            place,
            pointer: pointer.to_owned(),
            found: found.into(),
            wanted: wanted.into(),
            hint: None,
        }
    }

    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            place,
            found,
            wanted,
            ..
        } = self;
        write!(f, "{place}: found {found}, wanted {wanted}")?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

/// The mistakes of a configuration: at least one, in the order of the files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mistakes {
    /// Never empty.
    mistakes: Vec<Mistake>,
    /// How many further ones were found and not kept; there may be others still.
    more: usize,
}

impl Mistakes {
    /// `None` where there is no mistake.
    pub fn of(mut mistakes: Vec<Mistake>) -> Option<Self> {
        let more = mistakes.len().saturating_sub(MAX_MISTAKES);
        mistakes.truncate(MAX_MISTAKES);
        (!mistakes.is_empty()).then_some(Self { mistakes, more })
    }

    pub fn iter(&self) -> slice::Iter<'_, Mistake> {
        self.mistakes.iter()
    }

    /// How many were found, those included that were not kept.
    pub fn count(&self) -> usize {
        self.mistakes.len() + self.more
    }
}

impl<'a> IntoIterator for &'a Mistakes {
    type Item = &'a Mistake;
    type IntoIter = slice::Iter<'a, Mistake>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl From<Mistake> for Mistakes {
    fn from(mistake: Mistake) -> Self {
        Self {
            mistakes: vec![mistake],
            more: 0,
        }
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.iter().enumerate() {
            let line_break = if index == 0 { "" } else { "\n" };
            write!(f, "{line_break}{mistake}")?;
        }
        match self.more {
            0 => Ok(()),
            more => write!(f, "\nand at least {more} more"),
        }
    }
}

impl StdError for Mistakes {}
