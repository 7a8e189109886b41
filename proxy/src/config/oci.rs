//! References to what registries hold, `oci://HOST/NAME:TAG@sha256:…`.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::check::is_host;
use crate::digest::Digest;

/// How a reference begins. Without it, `registry.example/filter.wasm` could be
/// a file as well.
pub(super) const SCHEME: &str = "oci://";

/// Characters of a host with its port and the name, together (OCI Distribution).
const MAX_NAME: usize = 255;
const MAX_TAG: usize = 128;

/// A version of something in a registry.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Reference {
    /// With a port where one is written.
    pub host: String,
    pub name: String,
    pub version: Version,
}

/// What says which one of a name is meant.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Version {
    /// Whatever the registry says it is.
    Tag(String),
    /// This and nothing else. A tag beside it is for people.
    Digest { tag: Option<String>, digest: Digest },
}

/// Why a text is no reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoReference {
    #[error("`oci://HOST/NAME:TAG`, or `oci://HOST/NAME@sha256:` and 64 hex digits")]
    Shape,
    #[error("a host name or address, with a port if it has one, after `oci://`")]
    Host,
    #[error("a name of lower-case letters, digits, `.`, `_` and `-` between `/`")]
    Name,
    #[error("a tag of letters, digits, `_`, `.` and `-`")]
    Tag,
    #[error("`sha256:` and 64 lower-case hex digits after `@`")]
    Digest,
    #[error("`:TAG`, or `@sha256:` and 64 hex digits, at the end")]
    NoVersion,
}

impl Reference {
    pub fn read(text: &str) -> Result<Self, NoReference> {
        let text = text.strip_prefix(SCHEME).ok_or(NoReference::Shape)?;
        let (host, rest) = text.split_once('/').ok_or(NoReference::Shape)?;
        let (rest, digest) = match rest.split_once('@') {
            Some((rest, digest)) => {
                let digest = Digest::read(digest).ok_or(NoReference::Digest)?;
                (rest, Some(digest))
            }
            None => (rest, None),
        };
        let (name, tag) = match rest.split_once(':') {
            Some((name, tag)) => (name, Some(tag.to_owned())),
            None => (rest, None),
        };
        if !is_host_and_port(host) {
            return Err(NoReference::Host);
        }
        if !name.split('/').all(is_part) || host.len() + name.len() > MAX_NAME {
            return Err(NoReference::Name);
        }
        if !tag.as_deref().is_none_or(is_tag) {
            return Err(NoReference::Tag);
        }
        let version = match (tag, digest) {
            (tag, Some(digest)) => Version::Digest { tag, digest },
            (Some(tag), None) => Version::Tag(tag),
            (None, None) => return Err(NoReference::NoVersion),
        };
        Ok(Self {
            host: host.to_ascii_lowercase(),
            name: name.to_owned(),
            version,
        })
    }

    /// The same name, at this tag.
    pub fn tagged(&self, tag: &str) -> Self {
        Self {
            version: Version::Tag(tag.to_owned()),
            ..self.clone()
        }
    }

    /// The same name, at this digest.
    pub fn at(&self, digest: Digest) -> Self {
        let version = Version::Digest { tag: None, digest };
        Self {
            version,
            ..self.clone()
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}", self.host, self.name)?;
        match &self.version {
            Version::Tag(tag) => write!(f, ":{tag}"),
            Version::Digest { tag: None, digest } => write!(f, "@{digest}"),
            Version::Digest {
                tag: Some(tag),
                digest,
            } => write!(f, ":{tag}@{digest}"),
        }
    }
}

/// A host as references and `registries` name it.
pub(super) fn is_host_and_port(text: &str) -> bool {
    if let Some(v6) = text.strip_prefix('[') {
        let Some((address, port)) = v6.split_once(']') else {
            return false;
        };
        let port = port.strip_prefix(':');
        return address.parse::<std::net::Ipv6Addr>().is_ok()
            && (port.is_some_and(is_port) || v6.ends_with(']'));
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    let is_address = host.parse::<std::net::Ipv4Addr>().is_ok();
    (is_address || is_host(host)) && port.is_none_or(is_port)
}

fn is_port(text: &str) -> bool {
    let is_number = !text.starts_with('+') && text.parse::<u16>().is_ok_and(|port| port != 0);
    is_number && !text.starts_with('0')
}

/// One part of a name: words of letters and digits with `.`, `-`, `_` or `__`
/// between them.
fn is_part(part: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_good = |byte: u8| is_word(byte) || matches!(byte, b'.' | b'_' | b'-');
    let bytes = part.as_bytes();
    let ends = bytes.first().copied().zip(bytes.last().copied());
    ends.is_some_and(|(first, last)| is_word(first) && is_word(last))
        && bytes.iter().copied().all(is_good)
        && !part.contains("..")
}

fn is_tag(tag: &str) -> bool {
    let is_good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    (1..=MAX_TAG).contains(&tag.len()) && tag.chars().all(is_good) && !tag.starts_with(['.', '-'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read_and_written() {
        let hex = Digest::of(b"x").hex();
        for text in [
            format!("oci://registry.example/auth@sha256:{hex}"),
            format!("oci://registry.example:5000/team/auth-2:1.0@sha256:{hex}"),
            "oci://127.0.0.1:5000/a:latest".to_owned(),
            "oci://[::1]:5000/a/b__c/d.e:V_1".to_owned(),
            "oci://[::1]/a:1".to_owned(),
            "oci://localhost/a:1".to_owned(),
        ] {
            let reference =
                Reference::read(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(reference.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_reference_is_told() {
        for (text, wanted) in [
            ("registry.example/auth:1", NoReference::Shape),
            ("oci://auth:1", NoReference::Shape),
            ("oci:///auth:1", NoReference::Host),
            ("oci://a b/auth:1", NoReference::Host),
            ("oci://a:0/auth:1", NoReference::Host),
            ("oci://a:x/auth:1", NoReference::Host),
            ("oci://user@a/auth:1", NoReference::Host),
            ("oci://[::1/auth:1", NoReference::Host),
            ("oci://[::1]x/auth:1", NoReference::Host),
            ("oci://a/", NoReference::Name),
            ("oci://a/Auth:1", NoReference::Name),
            ("oci://a/auth/:1", NoReference::Name),
            ("oci://a/../auth:1", NoReference::Name),
            ("oci://a/auth?x=1:1", NoReference::Name),
            ("oci://a/auth", NoReference::NoVersion),
            ("oci://a/auth:", NoReference::Tag),
            ("oci://a/auth:1/2", NoReference::Tag),
            ("oci://a/auth:1:2", NoReference::Tag),
            ("oci://a/auth@", NoReference::Digest),
            ("oci://a/auth@sha256:12", NoReference::Digest),
            ("oci://a/auth@md5:12", NoReference::Digest),
        ] {
            assert_eq!(Reference::read(text), Err(wanted), "{text}");
        }
    }
}
