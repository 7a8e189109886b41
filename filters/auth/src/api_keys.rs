//! API keys: a secret in a header field that stands for a name.

use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use crate::digest::Fingerprint;
use crate::identity::{Identity, Method, Refusal};

/// The keys that are accepted.
pub struct ApiKeys {
    keys: Vec<(Key, String)>,
}

/// A key as it is kept.
pub enum Key {
    /// Its digest.
    Fingerprint(Fingerprint),
    /// The name of the secret that it is.
    Secret(String),
}

/// No place in `keys`.
const NOBODY: u32 = u32::MAX;

impl ApiKeys {
    /// Of keys and the names they stand for.
    pub fn new(keys: Vec<(Key, String)>) -> Self {
        Self { keys }
    }

    /// Whose key this is. One digest, then every key is compared, so that the
    /// time tells neither which one matched nor how much of one did. `is_secret`
    /// tells, just as silently, whether these bytes are the secret of a name.
    pub fn identify(
        &self,
        presented: &[u8],
        is_secret: impl Fn(&str, &[u8]) -> bool,
    ) -> Result<Identity<'_>, Refusal> {
        let fingerprint = Fingerprint::of(&[presented]);
        let mut found = NOBODY;
        for (place, (key, _)) in (0u32..).zip(&self.keys) {
            let same = match key {
                Key::Fingerprint(key) => key.same(&fingerprint),
                Key::Secret(name) => Choice::from(u8::from(is_secret(name, presented))),
            };
            found.conditional_assign(&place, same);
        }
        if bool::from(found.ct_eq(&NOBODY)) {
            return Err(Refusal::Wrong);
        }
        let (_, name) = &self.keys[found as usize];
        Ok(Identity::named(Method::ApiKey, name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> ApiKeys {
        let key = |key: &str, name: &str| {
            let fingerprint = Fingerprint::of(&[key.as_bytes()]);
            (Key::Fingerprint(fingerprint), name.to_owned())
        };
        let secret = (Key::Secret("third-key".into()), "eve".into());
        ApiKeys::new(vec![key("first", "ann"), secret, key("second", "bob")])
    }

    fn check(presented: &[u8], name: Option<&str>) {
        let keys = keys();
        let is_secret = |name: &str, key: &[u8]| name == "third-key" && key == b"third";
        let identity = keys.identify(presented, is_secret);
        assert_eq!(
            identity
                .as_ref()
                .ok()
                .and_then(|who| who.subject.as_deref()),
            name,
            "{presented:?}"
        );
        if let Err(refusal) = identity {
            assert_eq!(refusal, Refusal::Wrong);
        }
    }

    #[test]
    fn a_key_identifies_by_all_of_its_bytes() {
        check(b"first", Some("ann"));
        check(b"second", Some("bob"));
        check(b"third", Some("eve"));
        check(b"third-key", None);
        check(b"", None);
        check(b"firs", None);
        check(b"first ", None);
        check(b"First", None);
        check(b"first\0", None);
        check(&[0xff; 4096], None);
    }
}
