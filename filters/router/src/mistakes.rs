//! Every mistake of a configuration, each with its place.

use std::fmt;

/// A place in the configuration, written as a JSON pointer (RFC 6901). It lies
/// on the stack and becomes text only where there is a mistake.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    parent: Option<&'a Place<'a>>,
    step: Step<'a>,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Root,
    Key(&'a str),
    Item(usize),
}

impl<'a> Place<'a> {
    /// The whole configuration.
    pub const ROOT: Place<'static> = Place {
        parent: None,
        step: Step::Root,
    };

    /// The value of a key.
    pub fn key(&'a self, key: &'a str) -> Place<'a> {
        Place {
            parent: Some(self),
            step: Step::Key(key),
        }
    }

    /// An item of a list.
    pub fn item(&'a self, index: usize) -> Place<'a> {
        Place {
            parent: Some(self),
            step: Step::Item(index),
        }
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
        }
        match self.step {
            Step::Root => Ok(()),
            Step::Key(key) => write!(f, "/{}", key.replace('~', "~0").replace('/', "~1")),
            Step::Item(index) => write!(f, "/{index}"),
        }
    }
}

/// One mistake.
#[derive(Debug, PartialEq, Eq)]
pub struct Mistake {
    /// JSON pointer.
    pub at: String,
    /// What was found, and what was wanted.
    pub message: String,
}

/// Mistakes in the order in which they were found.
#[derive(Debug, Default)]
pub struct Mistakes(Vec<Mistake>);

impl Mistakes {
    /// Note one.
    pub fn add(&mut self, place: &Place, message: impl Into<String>) {
        self.0.push(Mistake {
            at: place.to_string(),
            message: message.into(),
        });
    }

    /// The value, or nothing and a note of what is wrong with it.
    pub fn take<T>(&mut self, place: &Place, checked: Result<T, String>) -> Option<T> {
        checked.map_err(|message| self.add(place, message)).ok()
    }

    /// All of them.
    pub fn into_list(self) -> Vec<Mistake> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_json_pointers() {
        let routes = Place::ROOT.key("routes");
        let route = routes.item(3);
        let headers = route.key("headers");
        assert_eq!(Place::ROOT.to_string(), "");
        assert_eq!(
            headers.key("a/b~c").to_string(),
            "/routes/3/headers/a~1b~0c"
        );
    }
}
