//! Where a path goes instead: `rewrite` and `redirect` share it.

use crate::matching::PathCondition;
use crate::path::{has_dot_segment, trim_prefix};
use crate::template::Template;

/// A new path.
#[derive(Debug)]
pub enum PathChange {
    /// This one.
    Path(Box<str>),
    /// This in the place of the first `from` bytes, which are the (trimmed)
    /// prefix that matched.
    Prefix { from: usize, to: Box<str> },
    /// With groups of the expression that matched.
    Template(Template),
}

impl PathChange {
    /// Exchange the prefix that matched.
    pub fn prefix(from: &str, to: &str) -> PathChange {
        PathChange::Prefix {
            from: trim_prefix(from).len(),
            to: trim_prefix(to).into(),
        }
    }

    /// The new path, where the route's condition held for the old one. None when
    /// it would be one that nobody should get: groups can put `.` or `..` in a
    /// place where the proxy does not resolve them any more.
    pub fn apply(&self, path: &str, condition: &PathCondition) -> Option<String> {
        match self {
            PathChange::Path(new) => Some(new.to_string()),
            // `*` has no prefix to exchange.
            PathChange::Prefix { .. } if !path.starts_with('/') => Some(path.to_owned()),
            PathChange::Prefix { from, to } => {
                Some(with_one_slash(format!("{to}{}", &path[*from..])))
            }
            PathChange::Template(template) => {
                let PathCondition::Regex(pattern) = condition else {
                    return None;
                };
                Some(with_one_slash(template.fill(path, pattern)))
                    .filter(|path| !has_dot_segment(path))
            }
        }
    }
}

/// A path that begins with exactly one slash: `//host/` would be read as another
/// host by whoever follows a redirect to it.
fn with_one_slash(path: String) -> String {
    let rest = path.trim_start_matches('/');
    match path.len() - rest.len() {
        1 => path,
        _ => format!("/{rest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern::Pattern;

    #[test]
    fn prefixes_are_exchanged_by_segment() {
        check("/old", "/new", "/old", "/new");
        check("/old", "/new", "/old/", "/new/");
        check("/old/", "/new/", "/old/a//b", "/new/a//b");
        check("/old", "/", "/old", "/");
        check("/old", "/", "/old/a", "/a");
        check("/old", "/", "/old//evil.example/", "/evil.example/");
        check("/", "/api", "/", "/api/");
        check("/", "/api", "/a", "/api/a");
        check("/", "/api", "*", "*");
    }

    fn check(from: &str, to: &str, path: &str, expected: &str) {
        let change = PathChange::prefix(from, to);
        assert_eq!(change.apply(path, &PathCondition::Any).unwrap(), expected);
    }

    #[test]
    fn groups_cannot_bring_dots_back() {
        let pattern = Pattern::new(r"/files/(.*)\.json").unwrap();
        let change = PathChange::Template(Template::new("/data/$1", &pattern).unwrap());
        let condition = PathCondition::Regex(Box::new(pattern));
        let apply = |path| change.apply(path, &condition);
        assert_eq!(apply("/files/a.json").as_deref(), Some("/data/a"));
        assert_eq!(apply("/files/...json"), None);
    }
}
