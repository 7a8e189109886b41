//! The `Basic` scheme (RFC 7617): user and password in every request.

use std::collections::BTreeMap;

use base64ct::{Base64, Encoding};

use crate::digest::Fingerprint;
use crate::identity::{Identity, Method, Refusal};

/// Longer credentials are refused before they are decoded.
const MAX_CREDENTIALS: usize = 1024;

/// The users that are accepted.
pub struct Users {
    users: BTreeMap<String, Password>,
    /// Compared with where there is no such user, so that a wrong name takes as
    /// long as a wrong password.
    nobody: Password,
}

/// A password as it is kept.
pub struct Password {
    pub salt: String,
    /// Of the salt followed by the password.
    pub fingerprint: Fingerprint,
}

impl Users {
    /// Of user names and their passwords.
    pub fn new(users: BTreeMap<String, Password>) -> Self {
        let nobody = Password {
            salt: "0123456789abcdef".into(),
            fingerprint: Fingerprint::of(&[]),
        };
        Self { users, nobody }
    }

    /// Whose these credentials are: what follows the scheme, in base64.
    pub fn identify(&self, credentials: &[u8]) -> Result<Identity<'_>, Refusal> {
        if credentials.len() > MAX_CREDENTIALS {
            return Err(Refusal::Wrong);
        }
        let mut buffer = [0; MAX_CREDENTIALS];
        let decoded = Base64::decode(credentials, &mut buffer).map_err(|_| Refusal::Wrong)?;
        let (user, password) = split_at_colon(decoded).ok_or(Refusal::Wrong)?;
        let known = std::str::from_utf8(user)
            .ok()
            .and_then(|user| self.users.get_key_value(user));
        let kept = known.map_or(&self.nobody, |(_, kept)| kept);
        let given = Fingerprint::of(&[kept.salt.as_bytes(), password]);
        let same = bool::from(kept.fingerprint.same(&given));
        match known {
            Some((name, _)) if same => Ok(Identity::named(Method::Basic, name)),
            _ => Err(Refusal::Wrong),
        }
    }
}

/// The first colon ends the user; the password may have more.
fn split_at_colon(credentials: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = credentials.iter().position(|byte| *byte == b':')?;
    Some((&credentials[..colon], &credentials[colon + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users() -> Users {
        let user = |user: &str, salt: &str, password: &str| {
            let fingerprint = Fingerprint::of(&[salt.as_bytes(), password.as_bytes()]);
            let salt = salt.to_owned();
            (user.to_owned(), Password { salt, fingerprint })
        };
        Users::new(BTreeMap::from([
            user("Aladdin", "a pinch of salt", "open sesame"),
            user("test", "more salt", "123\u{a3}"),
            user("colon", "even more salt", "a:b:"),
        ]))
    }

    fn check(credentials: &str, name: Option<&str>) {
        let users = users();
        let identity = users.identify(credentials.as_bytes());
        assert_eq!(
            identity.ok().and_then(|who| who.subject).as_deref(),
            name,
            "{credentials}"
        );
    }

    #[test]
    fn examples_of_rfc_7617() {
        check("QWxhZGRpbjpvcGVuIHNlc2FtZQ==", Some("Aladdin"));
        check("dGVzdDoxMjPCow==", Some("test"));
    }

    #[test]
    fn the_first_colon_divides() {
        check(&Base64::encode_string(b"colon:a:b:"), Some("colon"));
        check(&Base64::encode_string(b"colon:a:b"), None);
    }

    #[test]
    fn what_is_wrong_is_refused() {
        check(&Base64::encode_string(b"Aladdin:open"), None);
        check(&Base64::encode_string(b"Aladdin:"), None);
        check(&Base64::encode_string(b"aladdin:open sesame"), None);
        check(&Base64::encode_string(b"nobody:open sesame"), None);
        // The stand-in for unknown users has no password, not even an empty one.
        check(&Base64::encode_string(b"nobody:"), None);
        check(&Base64::encode_string(b"Aladdin"), None);
        check(&Base64::encode_string(b":open sesame"), None);
        check(&Base64::encode_string(b"\xff\xfe:open sesame"), None);
        check("QWxhZGRpbjpvcGVuIHNlc2FtZQ", None);
        check("QWxhZGRpbjpvcGVuIHNlc2FtZQ==x", None);
        check("!!!!", None);
        check("", None);
        check(&"QQ==".repeat(4096), None);
    }
}
