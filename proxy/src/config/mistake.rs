//! What is wrong with a configuration, and where.

use std::error::Error as StdError;
use std::fmt;
use std::path::{Path, PathBuf};
use std::slice;

use serde::{Serialize, Serializer};

use super::place::{Place, Places};

/// More than this many are counted and not kept.
const MAX_MISTAKES: usize = 200;

/// With so many, no further ones are looked for: finding the words for each takes
/// time, and nobody reads them.
pub(super) const ENOUGH: usize = 400;

/// One mistake: its place, and what is wrong there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    pub place: Place,
    /// JSON pointer of the value, over all files.
    pub pointer: String,
    pub what: What,
}

/// What is wrong, by who says so: filters have words of their own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum What {
    Found {
        found: String,
        wanted: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        hint: Option<String>,
    },
    Told {
        filter: String,
        tone: Tone,
        text: String,
    },
}

/// In which way a filter is told about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Tone {
    /// It does not take its configuration.
    Refuses,
    /// It takes it, but something may not be meant so.
    Warns,
    /// The proxy cannot work with what it did or asked for.
    Fails,
    /// It does not do what its checks say.
    FailsCheck,
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

    /// A filter that does not do what a check says; the text begins with its name.
    pub fn of_check(places: &Places, pointer: &str, filter: &str, text: String) -> Self {
        Self {
            place: places.find(pointer),
            pointer: pointer.to_owned(),
            what: What::Told {
                filter: filter.to_owned(),
                tone: Tone::FailsCheck,
                text,
            },
        }
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
            what: What::Found {
                found: found.into(),
                wanted: wanted.into(),
                hint: None,
            },
        }
    }

    /// What most likely went wrong; a filter says that itself.
    pub fn with_hint(mut self, new: impl Into<Option<String>>) -> Self {
        if let What::Found { hint, .. } = &mut self.what {
            *hint = new.into();
        }
        self
    }
}

impl Serialize for Mistake {
    /// With the text that people read, so that no reader needs to know every kind.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Shape<'a> {
            #[serde(flatten)]
            place: &'a Place,
            pointer: &'a str,
            message: String,
            #[serde(flatten)]
            what: &'a What,
        }
        let Self {
            place,
            pointer,
            what,
        } = self;
        let message = what.to_string();
        Shape {
            place,
            pointer,
            message,
            what,
        }
        .serialize(serializer)
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            What::Found {
                found,
                wanted,
                hint: None,
            } => write!(f, "found {found}, wanted {wanted}"),
            What::Found {
                found,
                wanted,
                hint: Some(hint),
            } => write!(f, "found {found}, wanted {wanted} ({hint})"),
            What::Told {
                filter,
                tone: tone @ Tone::FailsCheck,
                text,
            } => write!(f, "filter `{filter}` {tone} {text}"),
            What::Told { filter, tone, text } => write!(f, "filter `{filter}` {tone}: {text}"),
        }
    }
}

impl fmt::Display for Tone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Tone::Refuses => "refuses this",
            Tone::Warns => "warns",
            Tone::Fails => "cannot be used",
            Tone::FailsCheck => "fails the check",
        })
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

    /// These and others, in the order of the files.
    pub fn with(self, others: Vec<Mistake>, files: &[PathBuf]) -> Self {
        let mut mistakes = self.mistakes;
        mistakes.extend(others);
        let mut all = Self::of(in_order(mistakes, files)).expect("there was one already");
        all.more += self.more;
        all
    }

    pub fn iter(&self) -> slice::Iter<'_, Mistake> {
        self.mistakes.iter()
    }

    /// How many were found, those included that were not kept.
    pub fn count(&self) -> usize {
        self.mistakes.len() + self.more
    }
}

/// In the order of the files, and of lines within; each once.
pub fn in_order(mut mistakes: Vec<Mistake>, files: &[impl AsRef<Path>]) -> Vec<Mistake> {
    let file = |mistake: &Mistake| {
        let is_its = |file: &_| AsRef::<Path>::as_ref(file) == &*mistake.place.file;
        files.iter().position(is_its)
    };
    mistakes
        .sort_by_cached_key(|mistake| (file(mistake), mistake.place.line, mistake.place.column));
    mistakes.dedup();
    mistakes
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
