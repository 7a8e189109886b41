//! The answers to requests that do not pass, with their challenges (RFC 9110
//! section 11.6.1, RFC 6750 section 3, RFC 7617 section 2).

use lockgate_sdk::Reply;

use crate::gate::{Gate, Way};
use crate::identity::Refusal;

/// What `WWW-Authenticate` says, one field for each way.
pub struct Challenges(Vec<Challenge>);

struct Challenge {
    /// The scheme and its parameters, without an error.
    plain: String,
    /// Whether it is about tokens.
    for_tokens: bool,
}

impl Challenges {
    /// One for each way of a gate.
    pub fn new(realm: &str, gate: &Gate) -> Self {
        let realm = realm.replace('\\', r"\\").replace('"', "\\\"");
        let challenge = |way: &Way| Challenge {
            plain: challenge(&realm, way),
            for_tokens: matches!(way, Way::Jwt { .. }),
        };
        Self(gate.ways().iter().map(challenge).collect())
    }

    /// The answer to a request that does not pass.
    pub fn answer(&self, refusal: Refusal) -> Reply {
        match refusal {
            Refusal::Missing => self.add(unauthorized("authentication is required\n"), ""),
            Refusal::Wrong => self.add(unauthorized("the credentials are not accepted\n"), ""),
            Refusal::Token(error) => {
                let description = error.description();
                let parameters =
                    format!(", error=\"invalid_token\", error_description=\"{description}\"");
                self.add(unauthorized("the token is not accepted\n"), &parameters)
            }
            Refusal::Forbidden => {
                let reply = Reply::text(403, "the token does not allow this\n");
                self.add_for_tokens(reply, ", error=\"insufficient_scope\"")
            }
            // Nobody can tell yet whether the token is a good one.
            Refusal::NoKeys | Refusal::KeyAskedFor | Refusal::IssuerSilent => {
                let text = "the keys of the issuer are not there yet\n";
                Reply::text(503, text).header("retry-after", "5")
            }
            Refusal::Repeated => Reply::text(400, "a field with credentials occurs twice\n"),
        }
    }

    /// Every challenge, the one about tokens with these parameters.
    fn add(&self, reply: Reply, parameters: &str) -> Reply {
        self.0.iter().fold(reply, |reply, challenge| {
            let parameters = if challenge.for_tokens { parameters } else { "" };
            challenge.add(reply, parameters)
        })
    }

    fn add_for_tokens(&self, reply: Reply, parameters: &str) -> Reply {
        let about_tokens = self.0.iter().filter(|challenge| challenge.for_tokens);
        about_tokens.fold(reply, |reply, challenge| challenge.add(reply, parameters))
    }
}

impl Challenge {
    fn add(&self, reply: Reply, parameters: &str) -> Reply {
        reply.header("www-authenticate", format!("{}{parameters}", self.plain))
    }
}

fn unauthorized(text: &str) -> Reply {
    Reply::text(401, text)
}

fn challenge(realm: &str, way: &Way) -> String {
    match way {
        // No scheme is registered for keys in a field of their own; the
        // challenge says which field it is.
        Way::ApiKeys { header, .. } => format!("ApiKey realm=\"{realm}\", header=\"{header}\""),
        Way::Users(_) => format!("Basic realm=\"{realm}\", charset=\"UTF-8\""),
        Way::Jwt { header, scheme, .. } => {
            let word = if scheme.is_empty() { "Bearer" } else { scheme };
            match header.as_str() {
                "authorization" => format!("{word} realm=\"{realm}\""),
                _ => format!("{word} realm=\"{realm}\", header=\"{header}\""),
            }
        }
    }
}
