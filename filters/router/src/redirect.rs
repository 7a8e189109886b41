//! The `location` of a redirect.

use std::fmt::Write;

use crate::config::Scheme;
use crate::matching::{Facts, PathCondition};
use crate::rewrite::PathChange;

/// A checked redirect: it changes something.
#[derive(Debug)]
pub struct Redirect {
    pub status: u16,
    pub scheme: Option<Scheme>,
    pub host: Option<Box<str>>,
    pub port: Option<u16>,
    pub path: Option<PathChange>,
}

impl Redirect {
    /// Where the client shall go. None when that cannot be said: no good path
    /// comes out, or the request names no host.
    ///
    /// What stays the same is left out where RFC 9110 §10.2.2 allows it: behind
    /// something that ends TLS this proxy does not know the client's scheme.
    pub fn location(&self, facts: &Facts, condition: &PathCondition) -> Option<String> {
        let path = match &self.path {
            Some(change) => change.apply(facts.path, condition)?,
            None => facts.path.to_owned(),
        };
        if !path.starts_with('/') {
            return None;
        }
        let mut location = self.origin(&facts.host)?;
        location.push_str(&safe_path(&path, location.is_empty()));
        if let Some(query) = facts.query {
            location.push('?');
            location.push_str(query);
        }
        Some(location)
    }

    /// `scheme://host:port`, `//host:port`, or nothing.
    fn origin(&self, request_host: &str) -> Option<String> {
        if self.scheme.is_none() && self.host.is_none() && self.port.is_none() {
            return Some(String::new());
        }
        let host = self.host.as_deref().unwrap_or(request_host);
        if host.is_empty() {
            return None;
        }
        let scheme = match self.scheme {
            Some(Scheme::Http) => "http:",
            Some(Scheme::Https) => "https:",
            None => "",
        };
        let mut origin = format!("{scheme}//{host}");
        if let Some(port) = self.port.filter(|port| Some(*port) != self.default_port()) {
            write!(origin, ":{port}").expect("a string takes everything");
        }
        Some(origin)
    }

    fn default_port(&self) -> Option<u16> {
        self.scheme.map(|scheme| match scheme {
            Scheme::Http => 80,
            Scheme::Https => 443,
        })
    }
}

/// Browsers read `\` as `/`, and a path that begins with `//` as a host.
fn safe_path(path: &str, stands_first: bool) -> String {
    let path = path.replace('\\', "%5C");
    match stands_first && path.starts_with("//") {
        true => format!("/{}", path.trim_start_matches('/')),
        false => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matching::Fields;

    struct NoFields;

    impl Fields for NoFields {
        fn any(&self, _: &str, _: &mut dyn FnMut(&[u8]) -> bool) -> bool {
            false
        }
    }

    fn redirect() -> Redirect {
        Redirect {
            status: 302,
            scheme: None,
            host: None,
            port: None,
            path: None,
        }
    }

    fn check(redirect: Redirect, host: &str, target: &str, expected: Option<&str>) {
        let (path, query) = crate::path::split_query(target);
        let facts = Facts {
            method: "GET".into(),
            host: host.into(),
            path,
            query,
            fields: &NoFields,
        };
        let location = redirect.location(&facts, &PathCondition::Any);
        assert_eq!(location.as_deref(), expected);
    }

    #[test]
    fn to_https() {
        let https = |port| Redirect {
            scheme: Some(Scheme::Https),
            port,
            ..redirect()
        };
        check(https(None), "a.com", "/x?y=1", Some("https://a.com/x?y=1"));
        check(https(Some(443)), "a.com", "/", Some("https://a.com/"));
        check(https(Some(8443)), "[::1]", "/", Some("https://[::1]:8443/"));
        check(https(None), "", "/", None);
        check(https(None), "a.com", "*", None);
    }

    #[test]
    fn to_another_host_or_port() {
        let host = Redirect {
            host: Some("b.com".into()),
            ..redirect()
        };
        check(host, "a.com", "//x", Some("//b.com//x"));
        let port = Redirect {
            port: Some(81),
            ..redirect()
        };
        check(port, "a.com", "/x?", Some("//a.com:81/x?"));
    }

    #[test]
    fn to_another_path_of_the_same_host() {
        let to_root = || Redirect {
            path: Some(PathChange::prefix("/old", "/")),
            ..redirect()
        };
        check(to_root(), "a.com", "/old/x?q", Some("/x?q"));
        check(
            to_root(),
            "a.com",
            "/old//evil.example/",
            Some("/evil.example/"),
        );
        check(
            to_root(),
            "a.com",
            "/old/\\evil.example/",
            Some("/%5Cevil.example/"),
        );
        let fixed = Redirect {
            path: Some(PathChange::Path("//evil.example".into())),
            ..redirect()
        };
        check(fixed, "a.com", "/", Some("/evil.example"));
    }
}
