//! Where each value of a configuration stands.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use serde::{Serialize, Serializer};

/// A place in a file. Lines and columns count from 1, columns in characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Place {
    #[serde(serialize_with = "as_text")]
    pub file: Arc<Path>,
    pub line: u32,
    pub column: u32,
}

fn as_text<S: Serializer>(path: &Arc<Path>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file.display(), self.line, self.column)
    }
}

/// The place of every value of one configuration, by JSON pointer.
pub struct Places {
    files: Vec<Arc<Path>>,
    root: Spot,
}

/// A place without its file's name: one of these is kept for each value.
#[derive(Debug, Clone, Copy)]
pub(super) struct At {
    pub(super) file: u16,
    pub(super) line: u32,
    pub(super) column: u32,
}

/// A value's place, and those of what is in it.
pub(super) struct Spot {
    pub(super) at: At,
    pub(super) from_env: bool,
    /// How a value is written that is no text, where that cannot be told from it.
    pub(super) written: Option<Box<str>>,
    pub(super) below: Below,
}

pub(super) enum Below {
    Nothing,
    Items(Vec<Spot>),
    /// With the place of each key.
    Members(BTreeMap<Box<str>, (At, Spot)>),
}

impl Places {
    pub(super) fn new(files: Vec<Arc<Path>>, root: Spot) -> Self {
        Self { files, root }
    }

    /// The place of a value; of the nearest value around it, where the file has
    /// no such value (a default, a missing key).
    pub fn find(&self, pointer: &str) -> Place {
        self.place(self.walk(pointer).0.at)
    }

    /// The place of the key under which a value stands, or of the value where it
    /// has none.
    pub fn find_key(&self, pointer: &str) -> Place {
        let (spot, key) = self.walk(pointer);
        self.place(key.unwrap_or(spot.at))
    }

    /// Whether a value, or one around it, came from `${ENV}`.
    pub fn is_from_env(&self, pointer: &str) -> bool {
        self.walk(pointer).0.from_env
    }

    /// Whether a file has such a value, and not only what is around it.
    pub(super) fn has(&self, pointer: &str) -> bool {
        self.spot(pointer).is_some()
    }

    /// How a value is written that is no text, where that differs from what it is.
    pub(super) fn written(&self, pointer: &str) -> Option<&str> {
        self.spot(pointer)?.written.as_deref()
    }

    fn spot(&self, pointer: &str) -> Option<&Spot> {
        segments(pointer).try_fold(&self.root, |spot, segment| Some(spot.step(&segment)?.0))
    }

    pub(super) fn place(&self, at: At) -> Place {
        Place {
            file: self.files[usize::from(at.file)].clone(),
            line: at.line,
            column: at.column,
        }
    }

    fn walk(&self, pointer: &str) -> (&Spot, Option<At>) {
        let (mut spot, mut key) = (&self.root, None);
        for segment in segments(pointer) {
            match spot.step(&segment) {
                Some(next) => (spot, key) = next,
                None => return (spot, None),
            }
        }
        (spot, key)
    }
}

impl Spot {
    /// What is in it by this name or number, with the place of its key.
    fn step(&self, segment: &str) -> Option<(&Spot, Option<At>)> {
        match &self.below {
            Below::Nothing => None,
            Below::Items(items) => {
                let index: usize = segment.parse().ok()?;
                items.get(index).map(|item| (item, None))
            }
            Below::Members(members) => {
                let (key, value) = members.get(segment)?;
                Some((value, Some(*key)))
            }
        }
    }
}

impl Default for Places {
    /// Of no file at all: every value stands at its beginning.
    fn default() -> Self {
        let at = At {
            file: 0,
            line: 1,
            column: 1,
        };
        Self::new(
            vec![Path::new("").into()],
            Spot {
                at,
                from_env: false,
                written: None,
                below: Below::Nothing,
            },
        )
    }
}

impl fmt::Debug for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Places")
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

/// The segments of a JSON pointer, unescaped.
pub(super) fn segments(pointer: &str) -> impl Iterator<Item = String> {
    pointer
        .split('/')
        .skip(1)
        .map(|segment| segment.replace("~1", "/").replace("~0", "~"))
}

/// Whether a pointer is to a filter's own configuration or into it.
pub(super) fn is_in_own_config(pointer: &str) -> bool {
    let segments: Vec<_> = segments(pointer).take(5).collect();
    let segments: Vec<_> = segments.iter().map(String::as_str).collect();
    matches!(
        segments.as_slice(),
        ["filters", _, "config", ..] | ["filters", _, "routes", _, "config", ..]
    )
}

/// Whether two pointers are to the same value, or one to what is in the other.
pub fn related(one: &str, other: &str) -> bool {
    let (short, long) = match one.len() <= other.len() {
        true => (one, other),
        false => (other, one),
    };
    let rest = long.strip_prefix(short);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The pointer of a member or item of what `parent` points to.
pub fn below(parent: &str, segment: impl fmt::Display) -> String {
    let mut pointer = parent.to_owned();
    put_below(&mut pointer, &segment.to_string());
    pointer
}

/// The same, in the place of `parent`.
pub(super) fn put_below(parent: &mut String, segment: &str) {
    parent.push('/');
    for char in segment.chars() {
        match char {
            '~' => parent.push_str("~0"),
            '/' => parent.push_str("~1"),
            char => parent.push(char),
        }
    }
}
