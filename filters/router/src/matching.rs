//! Whether a request meets the conditions of a route.

use std::borrow::Cow;

use crate::host::HostPattern;
use crate::pattern::Pattern;
use crate::value::Test;

/// What routes may ask about a request.
pub struct Facts<'a> {
    pub method: Cow<'a, str>,
    /// As `host_of` gives it.
    pub host: Cow<'a, str>,
    /// Normalised, without the query.
    pub path: &'a str,
    /// Without its `?`.
    pub query: Option<&'a str>,
    pub fields: &'a dyn Fields,
}

/// The header fields of a request.
pub trait Fields {
    /// Whether some value of this field satisfies a test.
    fn any(&self, name: &str, accepts: &mut dyn FnMut(&[u8]) -> bool) -> bool;
}

/// The conditions of a route. Empty lists ask for nothing.
#[derive(Debug, Default)]
pub struct Conditions {
    pub hosts: Vec<HostPattern>,
    pub path: PathCondition,
    pub methods: Vec<Box<str>>,
    pub headers: Vec<(Box<str>, Test)>,
    pub query: Vec<(Box<str>, Test)>,
    pub cookies: Vec<(Box<str>, Test)>,
}

/// What a route says about the path.
#[derive(Debug, Default)]
pub enum PathCondition {
    /// Nothing. The prefix `/` is this too.
    #[default]
    Any,
    Exact(Box<str>),
    /// By segment; it does not end with a slash.
    Prefix(Box<str>),
    Regex(Box<Pattern>),
}

impl Conditions {
    /// Whether a request meets those that the index, which found this route by
    /// host and path, does not know. Of an expression it knows only the segments
    /// with which every match begins.
    pub fn hold_beyond_index(&self, facts: &Facts) -> bool {
        let path_holds = match &self.path {
            PathCondition::Regex(pattern) => pattern.matches(facts.path.as_bytes()),
            PathCondition::Any | PathCondition::Exact(_) | PathCondition::Prefix(_) => true,
        };
        path_holds && self.rest_holds(facts)
    }

    fn rest_holds(&self, facts: &Facts) -> bool {
        let method_holds =
            self.methods.is_empty() || self.methods.iter().any(|method| **method == *facts.method);
        method_holds
            && all(&self.headers, |name, accepts| {
                facts.fields.any(name, accepts)
            })
            && all(&self.query, |name, accepts| {
                any_parameter(facts.query, name, accepts)
            })
            && all(&self.cookies, |name, accepts| {
                any_cookie(facts.fields, name, accepts)
            })
    }
}

type Accepts<'a> = dyn FnMut(&[u8]) -> bool + 'a;

fn all(tests: &[(Box<str>, Test)], any: impl Fn(&str, &mut Accepts) -> bool) -> bool {
    tests
        .iter()
        .all(|(name, test)| test.holds(|accepts| any(name, accepts)))
}

/// Whether some value of a query parameter is accepted.
fn any_parameter(query: Option<&str>, name: &str, accepts: &mut Accepts) -> bool {
    query
        .into_iter()
        .flat_map(|query| query.split('&'))
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .any(|(key, value)| *decode(key) == *name.as_bytes() && accepts(&decode(value)))
}

/// Whether some cookie of this name has a value that is accepted. Values are
/// taken as they stand, with their quotes if they have them.
pub fn any_cookie(fields: &dyn Fields, name: &str, accepts: &mut Accepts) -> bool {
    fields.any("cookie", &mut |line| {
        line.split(|byte| *byte == b';').any(|pair| {
            let pair = pair.trim_ascii();
            let Some(equals) = memchr::memchr(b'=', pair) else {
                return false;
            };
            pair[..equals].trim_ascii() == name.as_bytes()
                && accepts(pair[equals + 1..].trim_ascii())
        })
    })
}

/// Percent-decoded, `+` as a blank; what is not a legal escape stays as it is.
fn decode(text: &str) -> Cow<'_, [u8]> {
    if !text.bytes().any(|byte| byte == b'%' || byte == b'+') {
        return Cow::Borrowed(text.as_bytes());
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => match escape(after) {
                Some(escaped) => {
                    rest = &after[2..];
                    escaped
                }
                None => b'%',
            },
            _ => byte,
        });
    }
    Cow::Owned(decoded)
}

fn escape(after: &[u8]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let &[high, low, ..] = after else { return None };
    u8::try_from(digit(high)? << 4 | digit(low)?).ok()
}
