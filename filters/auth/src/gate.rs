//! The ways to pass, and which of them a request takes.

use std::borrow::Cow;

use crate::api_keys::ApiKeys;
use crate::basic::Users;
use crate::identity::{Identity, Refusal};
use crate::jwt::{self, Jwt, Keys};

/// One way to pass.
pub enum Way {
    ApiKeys {
        header: String,
        keys: ApiKeys,
    },
    Users(Users),
    Jwt {
        header: String,
        /// Empty: the field is the token alone.
        scheme: String,
        jwt: Jwt,
    },
}

/// Every way of a configuration, cheap ones first.
pub struct Gate {
    ways: Vec<Way>,
}

impl Gate {
    /// Any of these ways is enough.
    pub fn new(ways: Vec<Way>) -> Self {
        Self { ways }
    }

    /// The ways in the order in which they are tried.
    pub fn ways(&self) -> &[Way] {
        &self.ways
    }

    /// The header fields that can carry a credential, in lower case.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.ways.iter().map(Way::field)
    }

    /// The keys that were fetched are these now.
    pub fn replace_fetched(&self, keys: Keys) {
        let tokens = self.ways.iter().find_map(|way| match way {
            Way::Jwt { jwt, .. } => Some(jwt),
            Way::ApiKeys { .. } | Way::Users(_) => None,
        });
        if let Some(jwt) = tokens {
            jwt.replace_fetched(keys);
        }
    }

    /// The key that the token of a request names, if there is such a token.
    pub fn named_key<'v>(&self, values: impl Fn(&str) -> Vec<Cow<'v, [u8]>>) -> Option<String> {
        self.ways.iter().find_map(|way| match way {
            Way::Jwt { header, scheme, .. } => {
                jwt::named_key(credentials(values(header).first()?, scheme)?)
            }
            Way::ApiKeys { .. } | Way::Users(_) => None,
        })
    }

    /// Who sent a request with these fields. `values` gives every value of a
    /// field; `now` the time in seconds since 1970, when it is needed; `is_secret`
    /// whether bytes are the secret of a name.
    pub fn identify<'v>(
        &self,
        values: impl Fn(&str) -> Vec<Cow<'v, [u8]>>,
        now: impl Fn() -> f64,
        is_secret: impl Fn(&str, &[u8]) -> bool,
    ) -> Result<Identity<'_>, Refusal> {
        let presented: Vec<_> = self.fields().map(values).collect();
        // Whoever reads the other value would see somebody else.
        if presented.iter().any(|values| values.len() > 1) {
            return Err(Refusal::Repeated);
        }
        let mut refusal = Refusal::Missing;
        for (way, values) in self.ways.iter().zip(&presented) {
            let outcome = match values.first() {
                Some(value) => way.identify(value, &now, &is_secret),
                None => Err(Refusal::Missing),
            };
            match outcome {
                Ok(identity) => return Ok(identity),
                Err(other) => refusal = refusal.max(other),
            }
        }
        Err(refusal)
    }
}

impl Way {
    /// The header field that carries the credential.
    fn field(&self) -> &str {
        match self {
            Self::ApiKeys { header, .. } | Self::Jwt { header, .. } => header,
            Self::Users(_) => "authorization",
        }
    }

    fn identify(
        &self,
        value: &[u8],
        now: impl Fn() -> f64,
        is_secret: impl Fn(&str, &[u8]) -> bool,
    ) -> Result<Identity<'_>, Refusal> {
        match self {
            Self::ApiKeys { keys, .. } => keys.identify(value, is_secret),
            Self::Users(users) => {
                users.identify(credentials(value, "basic").ok_or(Refusal::Missing)?)
            }
            Self::Jwt { scheme, jwt, .. } => {
                let token = credentials(value, scheme).ok_or(Refusal::Missing)?;
                jwt.identify(token, now())
            }
        }
    }
}

/// What follows the scheme (RFC 9110 section 11.4), or all where there is none.
fn credentials<'a>(value: &'a [u8], scheme: &str) -> Option<&'a [u8]> {
    if scheme.is_empty() {
        return Some(value);
    }
    let (word, rest) = value.split_at_checked(scheme.len())?;
    let named = word.eq_ignore_ascii_case(scheme.as_bytes());
    let token = rest.strip_prefix(b" ").filter(|_| named)?;
    Some(token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: &str, scheme: &str, token: Option<&str>) {
        let found = credentials(value.as_bytes(), scheme);
        assert_eq!(found, token.map(str::as_bytes), "{value:?}");
    }

    #[test]
    fn a_scheme_is_one_word_of_any_case() {
        check("Bearer abc", "Bearer", Some("abc"));
        check("bEARER  abc", "Bearer", Some("abc"));
        check("Bearer", "Bearer", None);
        check("Bearer ", "Bearer", Some(""));
        check("Bearerabc", "Bearer", None);
        check("Basic abc", "Bearer", None);
        check("", "Bearer", None);
        check("B\u{e9}arer abc", "Bearer", None);
        check("abc", "", Some("abc"));
    }
}
