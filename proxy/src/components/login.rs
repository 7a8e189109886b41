//! What a registry wants of who asks (RFC 7235, and the token exchange of the Docker
//! Registry's authentication specification).

use http_auth::parse_challenges;
use reqwest::Url;
use serde::Deserialize;

/// A way to say who asks.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    Basic,
    /// With a token that this one gives out.
    Bearer(TokenServer),
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct TokenServer {
    pub(super) realm: Url,
    pub(super) service: Option<String>,
    pub(super) scope: Option<String>,
}

/// The bytes of a token with what stands around it.
pub(super) const MAX_TOKEN: usize = 256 << 10;

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

impl Challenge {
    /// The first challenge that can be met.
    pub(super) fn read(text: &str) -> Option<Self> {
        let challenges = parse_challenges(text).ok()?;
        challenges.iter().find_map(|challenge| {
            if challenge.scheme.eq_ignore_ascii_case("basic") {
                return Some(Self::Basic);
            }
            if !challenge.scheme.eq_ignore_ascii_case("bearer") {
                return None;
            }
            let find = |wanted: &str| {
                let mut params = challenge.params.iter();
                let (_, value) = params.find(|(name, _)| name.eq_ignore_ascii_case(wanted))?;
                Some(value.to_unescaped())
            };
            Some(Self::Bearer(TokenServer {
                realm: Url::parse(&find("realm")?).ok()?,
                service: find("service"),
                scope: find("scope"),
            }))
        })
    }
}

impl TokenServer {
    /// The parameters of a request for a token.
    pub(super) fn parameters<'a>(&'a self, scope: &'a str) -> Vec<(&'a str, &'a str)> {
        let scope = ("scope", self.scope.as_deref().unwrap_or(scope));
        let service = self.service.as_deref().map(|service| ("service", service));
        service.into_iter().chain([scope]).collect()
    }
}

/// The token in an answer.
pub(super) fn read_token(body: &[u8]) -> Option<String> {
    let token: Token = serde_json::from_slice(body).ok()?;
    let token = token.token.or(token.access_token)?;
    (!token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read() {
        let bearer = Challenge::read(
            "Bearer realm=\"https://auth.example/token?a=b\",service=\"r, \\\"1\\\"\",scope=\"repository:x:pull\"",
        );
        let server = TokenServer {
            realm: Url::parse("https://auth.example/token?a=b").unwrap(),
            service: Some("r, \"1\"".to_owned()),
            scope: Some("repository:x:pull".to_owned()),
        };
        assert_eq!(
            server.parameters("own"),
            [("service", "r, \"1\""), ("scope", "repository:x:pull")]
        );
        assert_eq!(bearer, Some(Challenge::Bearer(server)));
        let both = Challenge::read("Negotiate, basic realm=\"x\"");
        assert_eq!(both, Some(Challenge::Basic));
        for unknown in [
            "",
            "Digest realm=\"x\", nonce=\"y\"",
            "Bearer",
            "Bearer realm=\"/token\"",
            "Bearer realm",
        ] {
            assert_eq!(Challenge::read(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn tokens_are_read() {
        for (body, token) in [
            (r#"{"token":"a","access_token":"b"}"#, Some("a")),
            (r#"{"access_token":"b","expires_in":1}"#, Some("b")),
            (r#"{"token":""}"#, None),
            ("{}", None),
            ("", None),
        ] {
            assert_eq!(read_token(body.as_bytes()).as_deref(), token, "{body}");
        }
    }
}
