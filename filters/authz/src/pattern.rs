//! Texts with `*` in them. Comparing takes time in proportion to the text: what stands
//! between two `*` is looked for from where the last was found, and never again.

use memchr::memmem::Finder;

/// A text in which `*` stands for anything, also for nothing.
#[derive(Debug)]
pub struct Glob {
    first: Box<[u8]>,
    between: Vec<Finder<'static>>,
    /// `None` without any `*`: then it is `first` and nothing else.
    last: Option<Box<[u8]>>,
}

impl Glob {
    pub fn new(text: &str) -> Self {
        let mut parts: Vec<_> = text.split('*').collect();
        let first = parts.remove(0).as_bytes().into();
        let last = parts.pop().map(|last| last.as_bytes().into());
        let between = parts.iter().filter(|part| !part.is_empty());
        Self {
            first,
            between: between
                .map(|part| Finder::new(part.as_bytes()).into_owned())
                .collect(),
            last,
        }
    }

    pub fn matches(&self, text: &[u8]) -> bool {
        let Some(last) = &self.last else {
            return *text == *self.first;
        };
        let rest = text.strip_prefix(&*self.first);
        let Some(mut rest) = rest.and_then(|rest| rest.strip_suffix(&**last)) else {
            return false;
        };
        self.between.iter().all(|part| match part.find(rest) {
            Some(at) => {
                rest = &rest[at + part.needle().len()..];
                true
            }
            None => false,
        })
    }
}

/// Segments between slashes, in each of which `*` stands for anything.
#[derive(Debug)]
pub struct Segments {
    segments: Vec<Glob>,
    /// Whether there may be more.
    is_open: bool,
}

impl Segments {
    /// `None` where `**` stands anywhere but at the end.
    pub fn new(text: &str) -> Option<Self> {
        let (text, is_open) = match text.strip_suffix("/**") {
            Some(text) => (text, true),
            None => (text, false),
        };
        (!text.contains("**")).then(|| Self {
            segments: text.split('/').map(Glob::new).collect(),
            is_open,
        })
    }

    pub fn matches(&self, text: &str) -> bool {
        let mut found = text.split('/');
        let fits = |segment: &Glob| {
            let found = found.next();
            found.is_some_and(|found| segment.matches(found.as_bytes()))
        };
        self.segments.iter().all(fits) && (self.is_open || found.next().is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        let check = |pattern: &str, good: &[&str], bad: &[&str]| {
            let glob = Glob::new(pattern);
            for (texts, wanted) in [(good, true), (bad, false)] {
                for text in texts {
                    assert_eq!(glob.matches(text.as_bytes()), wanted, "{pattern} {text}");
                }
            }
        };
        check("a", &["a"], &["", "aa", "A"]);
        check("", &[""], &["a"]);
        check("*", &["", "a"], &[]);
        check("a*", &["a", "ab"], &["", "ba"]);
        check("*a", &["a", "ba"], &["ab"]);
        check("a*a", &["aa", "aba"], &["a", "ab"]);
        check("a*b*c", &["abc", "a-b-c", "abbc"], &["ac", "acb", "a-c-b"]);
        check("**b**", &["b", "abc"], &["a"]);
        check("*aab*", &["aaab"], &["aaa"]);
    }

    #[test]
    fn a_star_stays_within_its_segment() {
        let check = |pattern: &str, good: &[&str], bad: &[&str]| {
            let segments = Segments::new(pattern).unwrap();
            for (texts, wanted) in [(good, true), (bad, false)] {
                for text in texts {
                    assert_eq!(segments.matches(text), wanted, "{pattern} {text}");
                }
            }
        };
        check("/", &["/"], &["", "/a", "//"]);
        check("/a", &["/a"], &["/a/", "/ab", "/a/b"]);
        check("/a/*", &["/a/", "/a/b"], &["/a", "/a/b/c"]);
        check("/a/*/c", &["/a/b/c"], &["/a/c", "/a/b/b/c"]);
        check("/a/**", &["/a", "/a/", "/a/b/c"], &["/ab", "/"]);
        check("/**", &["/", "/a/b"], &["a"]);
        check("spiffe://a/*/b", &["spiffe://a/x/b"], &["spiffe://a/x/y/b"]);
        check(
            "spiffe://a/**",
            &["spiffe://a", "spiffe://a/b"],
            &["spiffe://ab"],
        );
        assert!(Segments::new("/a/**/b").is_none());
        assert!(Segments::new("/a**").is_none());
    }

    #[test]
    fn time_is_linear() {
        let text = "a".repeat(1 << 20);
        let pattern = "a*".repeat(50) + "b*";
        // By trying all ways it would never end.
        assert!(!Glob::new(&pattern).matches(text.as_bytes()));
    }
}
