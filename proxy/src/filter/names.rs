//! Names that a guest used before, already parsed. Guests use few, again and
//! again; parsing one costs two allocations.

/// More names than a guest in its senses uses in hot places.
const MAX_NAMES: usize = 32;

/// Parsed forms by the text that the guest wrote.
#[derive(Debug)]
pub struct Names<T>(Vec<(Box<str>, T)>);

impl<T> Default for Names<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Clone> Names<T> {
    pub fn find(&self, text: &str) -> Option<&T> {
        let known = self.0.iter().find(|(known, _)| **known == *text);
        known.map(|(_, parsed)| parsed)
    }

    /// Keeps a name, while there is room.
    pub fn keep(&mut self, text: &str, parsed: &T) {
        if self.0.len() < MAX_NAMES {
            self.0.push((text.into(), parsed.clone()));
        }
    }
}
