//! API keys: a secret in a header field that stands for a name.

use subtle::{ConditionallySelectable, ConstantTimeEq};

use crate::digest::Fingerprint;
use crate::identity::{Identity, Method, Refusal};

/// The keys that are accepted.
pub struct ApiKeys {
    keys: Vec<(Fingerprint, String)>,
}

/// No place in `keys`.
const NOBODY: u32 = u32::MAX;

impl ApiKeys {
    /// Of keys and the names they stand for.
    pub fn new(keys: Vec<(Fingerprint, String)>) -> Self {
        Self { keys }
    }

    /// Whose key this is. One digest, then every key is compared, so that the
    /// time tells neither which one matched nor how much of one did.
    pub fn identify(&self, presented: &[u8]) -> Result<Identity<'_>, Refusal> {
        let fingerprint = Fingerprint::of(&[presented]);
        let mut found = NOBODY;
        for (place, (key, _)) in (0u32..).zip(&self.keys) {
            found.conditional_assign(&place, key.same(&fingerprint));
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
        let key = |key: &str, name: &str| (Fingerprint::of(&[key.as_bytes()]), name.to_owned());
        ApiKeys::new(vec![key("first", "ann"), key("second", "bob")])
    }

    fn check(presented: &[u8], name: Option<&str>) {
        let keys = keys();
        let identity = keys.identify(presented);
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
        check(b"third", None);
        check(b"", None);
        check(b"firs", None);
        check(b"first ", None);
        check(b"First", None);
        check(b"first\0", None);
        check(&[0xff; 4096], None);
    }
}
