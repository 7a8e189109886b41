//! What the claims of a token must say.

use serde_json::{Map, Value};

use crate::identity::{Refusal, TokenError};

/// The rules of one configuration.
pub struct ClaimRules {
    /// Any of these; empty for any issuer at all.
    pub issuers: Vec<String>,
    pub audiences: Vec<String>,
    /// In seconds.
    pub leeway: f64,
    pub require_expiry: bool,
    pub required: Vec<Requirement>,
}

/// A claim that a token must have.
pub struct Requirement {
    pub claim: String,
    /// Any of these; empty for any value at all.
    pub values: Vec<Value>,
}

impl ClaimRules {
    /// Whether the claims of a verified token are good at `now`, in seconds
    /// since 1970.
    pub fn check(&self, claims: &Map<String, Value>, now: f64) -> Result<(), Refusal> {
        self.check_validity(claims, now).map_err(Refusal::Token)?;
        let met = |requirement: &Requirement| requirement.is_met(claims);
        if self.required.iter().all(met) {
            Ok(())
        } else {
            Err(Refusal::Forbidden)
        }
    }

    fn check_validity(&self, claims: &Map<String, Value>, now: f64) -> Result<(), TokenError> {
        match date(claims, "exp")? {
            None if self.require_expiry => return Err(TokenError::NoExpiry),
            Some(expiry) if now >= expiry + self.leeway => return Err(TokenError::Expired),
            _ => {}
        }
        match date(claims, "nbf")? {
            Some(start) if now < start - self.leeway => return Err(TokenError::NotYetValid),
            _ => {}
        }
        self.check_issuer(claims)?;
        self.check_audience(claims)
    }

    fn check_issuer(&self, claims: &Map<String, Value>) -> Result<(), TokenError> {
        let accepted = |issuer: &str| self.issuers.iter().any(|accepted| accepted == issuer);
        match claims.get("iss") {
            _ if self.issuers.is_empty() => Ok(()),
            Some(Value::String(issuer)) if accepted(issuer) => Ok(()),
            _ => Err(TokenError::WrongIssuer),
        }
    }

    /// RFC 7519 section 4.1.3: a token for an audience is refused by whoever
    /// does not find itself named.
    fn check_audience(&self, claims: &Map<String, Value>) -> Result<(), TokenError> {
        let accepted = |audience: &Value| {
            let audience = audience.as_str();
            self.audiences
                .iter()
                .any(|accepted| Some(accepted.as_str()) == audience)
        };
        let named = match claims.get("aud") {
            None => self.audiences.is_empty(),
            Some(Value::Array(audiences)) => audiences.iter().any(accepted),
            Some(audience) => accepted(audience),
        };
        if named {
            Ok(())
        } else {
            Err(TokenError::WrongAudience)
        }
    }
}

impl Requirement {
    fn is_met(&self, claims: &Map<String, Value>) -> bool {
        match claims.get(&self.claim) {
            None | Some(Value::Null) => false,
            Some(claim) => self.values.is_empty() || self.is_met_by(claim),
        }
    }

    fn is_met_by(&self, claim: &Value) -> bool {
        match claim {
            Value::Array(elements) => elements.iter().any(|element| self.allows(element)),
            // RFC 8693 section 4.2: words with a space between them.
            Value::String(scope) if self.claim == "scope" => {
                scope.split(' ').any(|word| self.allows(&word.into()))
            }
            other => self.allows(other),
        }
    }

    fn allows(&self, value: &Value) -> bool {
        self.values.contains(value)
    }
}

/// A NumericDate: a number, perhaps with a fraction.
fn date(claims: &Map<String, Value>, name: &str) -> Result<Option<f64>, TokenError> {
    match claims.get(name) {
        None => Ok(None),
        Some(value) => value.as_f64().map(Some).ok_or(TokenError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: f64 = 1_000_000.0;

    fn rules() -> ClaimRules {
        ClaimRules {
            issuers: vec!["https://issuer.example".into()],
            audiences: vec!["shop".into(), "cart".into()],
            leeway: 60.0,
            require_expiry: true,
            required: Vec::new(),
        }
    }

    fn good() -> Value {
        json!({ "iss": "https://issuer.example", "aud": "shop", "exp": NOW + 10.0 })
    }

    /// The good claims with these over them; `null` takes one away.
    fn check(rules: &ClaimRules, changes: Value, expected: Result<(), Refusal>) {
        let mut claims = good().as_object().unwrap().clone();
        for (name, value) in changes.as_object().unwrap() {
            match value {
                Value::Null => claims.remove(name),
                value => claims.insert(name.clone(), value.clone()),
            };
        }
        assert_eq!(rules.check(&claims, NOW), expected, "{changes}");
    }

    fn token(error: TokenError) -> Result<(), Refusal> {
        Err(Refusal::Token(error))
    }

    #[test]
    fn expiry() {
        let rules = rules();
        check(&rules, json!({}), Ok(()));
        check(&rules, json!({ "exp": NOW - 59.0 }), Ok(()));
        check(&rules, json!({ "exp": NOW - 59.5 }), Ok(()));
        check(
            &rules,
            json!({ "exp": NOW - 60.0 }),
            token(TokenError::Expired),
        );
        check(&rules, json!({ "exp": 0 }), token(TokenError::Expired));
        check(&rules, json!({ "exp": -1e300 }), token(TokenError::Expired));
        check(&rules, json!({ "exp": 1e300 }), Ok(()));
        check(&rules, json!({ "exp": null }), token(TokenError::NoExpiry));
        check(&rules, json!({ "exp": "1" }), token(TokenError::Malformed));
        check(&rules, json!({ "exp": [1] }), token(TokenError::Malformed));
        let forever = ClaimRules {
            require_expiry: false,
            ..rules
        };
        check(&forever, json!({ "exp": null }), Ok(()));
        check(&forever, json!({ "exp": 0 }), token(TokenError::Expired));
    }

    #[test]
    fn start() {
        let rules = rules();
        check(&rules, json!({ "nbf": NOW }), Ok(()));
        check(&rules, json!({ "nbf": NOW + 60.0 }), Ok(()));
        check(
            &rules,
            json!({ "nbf": NOW + 61.0 }),
            token(TokenError::NotYetValid),
        );
        check(&rules, json!({ "nbf": true }), token(TokenError::Malformed));
        let exact = ClaimRules {
            leeway: 0.0,
            ..rules
        };
        check(
            &exact,
            json!({ "nbf": NOW + 1.0 }),
            token(TokenError::NotYetValid),
        );
        check(&exact, json!({ "exp": NOW }), token(TokenError::Expired));
    }

    #[test]
    fn issuer() {
        let rules = rules();
        let wrong = token(TokenError::WrongIssuer);
        check(&rules, json!({ "iss": "https://other.example" }), wrong);
        check(&rules, json!({ "iss": "https://issuer.example/" }), wrong);
        check(&rules, json!({ "iss": ["https://issuer.example"] }), wrong);
        check(&rules, json!({ "iss": null }), wrong);
        let any = ClaimRules {
            issuers: Vec::new(),
            ..rules
        };
        check(&any, json!({ "iss": "https://other.example" }), Ok(()));
        check(&any, json!({ "iss": null }), Ok(()));
    }

    #[test]
    fn audience() {
        let rules = rules();
        let wrong = token(TokenError::WrongAudience);
        check(&rules, json!({ "aud": "cart" }), Ok(()));
        check(&rules, json!({ "aud": ["bank", "cart"] }), Ok(()));
        check(&rules, json!({ "aud": "bank" }), wrong);
        check(&rules, json!({ "aud": ["bank", 1] }), wrong);
        check(&rules, json!({ "aud": [] }), wrong);
        check(&rules, json!({ "aud": null }), wrong);
        let nobody = ClaimRules {
            audiences: Vec::new(),
            ..rules
        };
        check(&nobody, json!({ "aud": null }), Ok(()));
        check(&nobody, json!({ "aud": "shop" }), wrong);
    }

    fn requiring(claim: &str, values: Value) -> ClaimRules {
        let values = values.as_array().unwrap().clone();
        let claim = claim.to_owned();
        let required = vec![Requirement { claim, values }];
        ClaimRules {
            required,
            ..rules()
        }
    }

    #[test]
    fn required_claims() {
        let forbidden = Err(Refusal::Forbidden);
        let present = requiring("email", json!([]));
        check(&present, json!({ "email": "a@b" }), Ok(()));
        check(&present, json!({ "email": false }), Ok(()));
        check(&present, json!({}), forbidden);
        let role = requiring("role", json!(["admin", "owner"]));
        check(&role, json!({ "role": "owner" }), Ok(()));
        check(&role, json!({ "role": ["guest", "admin"] }), Ok(()));
        check(&role, json!({ "role": "admin owner" }), forbidden);
        check(&role, json!({ "role": ["guest"] }), forbidden);
        check(&role, json!({}), forbidden);
        let scope = requiring("scope", json!(["write"]));
        check(&scope, json!({ "scope": "read write" }), Ok(()));
        check(&scope, json!({ "scope": "read rewrite" }), forbidden);
        let level = requiring("level", json!([3]));
        check(&level, json!({ "level": 3 }), Ok(()));
        check(&level, json!({ "level": "3" }), forbidden);
        // A bad token is a bad token first.
        check(&level, json!({ "exp": 0 }), token(TokenError::Expired));
    }

    #[test]
    fn null_is_no_claim() {
        let mut claims = good().as_object().unwrap().clone();
        claims.insert("email".into(), Value::Null);
        let rules = requiring("email", json!([]));
        assert_eq!(rules.check(&claims, NOW), Err(Refusal::Forbidden));
    }
}
