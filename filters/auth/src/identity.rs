//! The outcome of looking at a request: who it is, or why nobody.

use std::borrow::Cow;

/// Who sent the request, verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity<'a> {
    pub method: Method,
    /// The key's or the user's name, or the token's `sub`.
    pub subject: Option<Cow<'a, str>>,
    /// The claims that are to be left as attributes, in the order asked for.
    pub claims: Vec<(&'a str, String)>,
}

impl<'a> Identity<'a> {
    /// Somebody whose name stands in the configuration.
    pub fn named(method: Method, name: &'a str) -> Self {
        Self {
            method,
            subject: Some(Cow::Borrowed(name)),
            claims: Vec::new(),
        }
    }
}

/// The way in which somebody was identified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    ApiKey,
    Jwt,
    Basic,
}

impl Method {
    /// The value of the attribute `method`.
    pub fn name(self) -> &'static str {
        match self {
            Self::ApiKey => "api_key",
            Self::Jwt => "jwt",
            Self::Basic => "basic",
        }
    }
}

/// Why a request does not pass. The order is that of what a client most needs
/// to hear when several ways refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// Nothing was presented.
    Missing,
    /// An unknown key, user or password.
    Wrong,
    /// A bad token.
    Token(TokenError),
    /// A good token without a required claim.
    Forbidden,
    /// The issuer is being asked for the token's key.
    KeyAskedFor,
    /// The issuer was asked for the token's key and did not answer.
    IssuerSilent,
    /// The issuer's keys were never there to tell.
    NoKeys,
    /// A field that may occur once occurred again.
    Repeated,
}

impl Refusal {
    /// For the access log.
    pub fn description(self) -> &'static str {
        match self {
            Self::Missing => "no credentials",
            Self::Wrong => "wrong credentials",
            Self::Token(error) => error.description(),
            Self::KeyAskedFor => "the issuer is being asked for the key",
            Self::IssuerSilent => "the issuer does not tell its keys",
            Self::NoKeys => "the keys of the issuer are not there yet",
            Self::Forbidden => "a required claim is missing",
            Self::Repeated => "a field with credentials occurs twice",
        }
    }
}

/// What is wrong with a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TokenError {
    TooLong,
    Malformed,
    UnsupportedAlgorithm,
    CriticalExtension,
    UnknownKey,
    BadSignature,
    NoExpiry,
    Expired,
    NotYetValid,
    WrongIssuer,
    WrongAudience,
    UnusableSubject,
}

impl TokenError {
    /// For `error_description`: plain ASCII without quotes (RFC 6750 section 3).
    pub fn description(self) -> &'static str {
        match self {
            Self::TooLong => "the token is too long",
            Self::Malformed => "the token is malformed",
            Self::UnsupportedAlgorithm => "the algorithm is not accepted",
            Self::CriticalExtension => "the token has a critical extension",
            Self::UnknownKey => "the key is not known",
            Self::BadSignature => "the signature does not match",
            Self::NoExpiry => "the token has no expiry",
            Self::Expired => "the token has expired",
            Self::NotYetValid => "the token is not valid yet",
            Self::WrongIssuer => "the issuer is not accepted",
            Self::WrongAudience => "the token is for another audience",
            Self::UnusableSubject => "the subject cannot be passed on",
        }
    }
}
