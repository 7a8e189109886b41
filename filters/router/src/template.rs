//! A path with groups of the route's `path_regex` in it: `/items/$1`, `/$kind`.

use crate::pattern::Pattern;

/// A checked template.
#[derive(Debug)]
pub struct Template(Vec<Part>);

#[derive(Debug)]
enum Part {
    Text(Box<str>),
    Group(usize),
}

impl Template {
    /// Read `$1`, `$name` and `$$`. All groups must be the pattern's.
    pub fn new(text: &str, pattern: &Pattern) -> Result<Template, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            parts.push(Part::Text(before.into()));
            rest = match after.strip_prefix('$') {
                Some(after) => {
                    parts.push(Part::Text("$".into()));
                    after
                }
                None => {
                    let (name, after) = after.split_at(name_length(after));
                    parts.push(Part::Group(find(name, pattern)?));
                    after
                }
            };
        }
        parts.push(Part::Text(rest.into()));
        Ok(Template(parts))
    }

    /// Fill in what the groups took of a path. A group that took no part is
    /// empty.
    pub fn fill(&self, path: &str, pattern: &Pattern) -> String {
        let captures = pattern.captures(path.as_bytes());
        self.0.iter().fold(String::new(), |mut filled, part| {
            match part {
                Part::Text(text) => filled.push_str(text),
                Part::Group(group) => {
                    let taken = captures
                        .get_group(*group)
                        .and_then(|span| path.get(span.range()));
                    filled.push_str(taken.unwrap_or_default());
                }
            }
            filled
        })
    }
}

/// A number, or a name that begins with a letter or `_`.
fn name_length(text: &str) -> usize {
    let numeric = text.starts_with(|first: char| first.is_ascii_digit());
    let belongs = |c: char| match numeric {
        true => c.is_ascii_digit(),
        false => c.is_ascii_alphanumeric() || c == '_',
    };
    text.find(|c| !belongs(c)).unwrap_or(text.len())
}

fn find(name: &str, pattern: &Pattern) -> Result<usize, String> {
    if name.is_empty() {
        return Err("`$` must be followed by a group's number or name, or by `$`".to_owned());
    }
    pattern
        .group(name)
        .ok_or_else(|| format!("`path_regex` has no group `{name}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_filled_in() {
        check("/items/$2", "/a/7", "/items/7");
        check("/$kind-$1x", "/a/7", "/a-ax");
        check("/$2$2/$kind", "/a/7", "/77/a");
        check("/cost$$", "/a/7", "/cost$");
        check("/$0", "/a/7", "//a/7");
    }

    fn check(template: &str, path: &str, expected: &str) {
        let pattern = Pattern::new("/(?P<kind>[a-z]+)/([0-9]+)").unwrap();
        let template = Template::new(template, &pattern).unwrap();
        assert_eq!(template.fill(path, &pattern), expected);
    }

    #[test]
    fn a_group_without_part_is_empty() {
        let pattern = Pattern::new("/a(/b)?").unwrap();
        let template = Template::new("/x$1", &pattern).unwrap();
        assert_eq!(template.fill("/a", &pattern), "/x");
    }

    #[test]
    fn unknown_groups() {
        let pattern = Pattern::new("/(a)").unwrap();
        for (text, wanted) in [
            ("/$2", "no group `2`"),
            ("/$name", "no group `name`"),
            ("/$", "must be followed"),
            ("/${1}", "must be followed"),
        ] {
            let message = Template::new(text, &pattern).unwrap_err();
            assert!(message.contains(wanted), "{message}");
        }
    }
}
