//! What can go wrong, in the contract's words.

use std::fmt;

use crate::http_client::CallError;
use crate::secrets::SecretError;
use crate::shared::SharedError;

/// Why a change to a head was refused. The exchange itself is unharmed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeadError {
    /// Not a legal name, value, method, path, authority or status.
    Invalid,
    /// The proxy owns this field (`connection`, `content-length`, ...).
    Forbidden,
    /// This head can no longer be changed in the current phase, or is not there
    /// yet.
    TooLate,
    /// The head would exceed the limit set in the proxy's configuration.
    TooLarge,
    /// What later versions may report.
    Other(String),
}

impl fmt::Display for HeadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            HeadError::Invalid => "not a legal name or value",
            HeadError::Forbidden => "the proxy owns this field",
            HeadError::TooLate => "this head cannot be changed in this phase",
            HeadError::TooLarge => "the head would exceed its limit",
            HeadError::Other(message) => message,
        })
    }
}

impl std::error::Error for HeadError {}

/// Why a routing decision was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RouteError {
    /// `wants` did not declare it, or nothing of that name is configured.
    Unknown,
    /// The request has already been sent upstream.
    TooLate,
    /// This proxy or this cluster cannot do it.
    Unsupported,
    /// What later versions may report.
    Other(String),
}

impl fmt::Display for RouteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RouteError::Unknown => "not declared in `wants`, or nothing of that name is configured",
            RouteError::TooLate => "the request has already been sent upstream",
            RouteError::Unsupported => "this proxy or cluster cannot do that",
            RouteError::Other(message) => message,
        })
    }
}

impl std::error::Error for RouteError {}

/// Why a metric could not be defined: an illegal name, or one that was defined
/// otherwise before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricError(pub(crate) String);

impl fmt::Display for MetricError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for MetricError {}

/// The filter failed at this exchange. The proxy rolls back what it changed and
/// applies the operator's `on_error`; the text goes to the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error(String);

impl Error {
    /// A failure with this text.
    pub fn new(message: impl fmt::Display) -> Self {
        Error(message.to_string())
    }

    #[cfg(target_arch = "wasm32")]
    pub(crate) fn into_message(self) -> String {
        self.0
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

impl From<String> for Error {
    fn from(message: String) -> Self {
        Error(message)
    }
}

impl From<&str> for Error {
    fn from(message: &str) -> Self {
        Error(message.to_owned())
    }
}

impl From<HeadError> for Error {
    fn from(error: HeadError) -> Self {
        Error(format!("a change to a head was refused: {error}"))
    }
}

impl From<RouteError> for Error {
    fn from(error: RouteError) -> Self {
        Error(format!("a routing decision was refused: {error}"))
    }
}

impl From<SharedError> for Error {
    fn from(error: SharedError) -> Self {
        Error(format!("a change to shared state was refused: {error}"))
    }
}

impl From<SecretError> for Error {
    fn from(error: SecretError) -> Self {
        match error {
            SecretError::Head(error) => Error(format!("cannot put a secret: {error}")),
            other => Error(format!("cannot use a secret: {other}")),
        }
    }
}

impl From<CallError> for Error {
    fn from(error: CallError) -> Self {
        Error(format!("a call to a cluster failed: {error}"))
    }
}

/// One mistake in a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// JSON pointer to the culprit, "" for the whole document.
    pub at: String,
    /// What was found, and what was wanted.
    pub message: String,
}

impl ConfigError {
    /// A mistake at a place, such as `/routes/0/match`.
    pub fn at(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        ConfigError {
            at: pointer.into(),
            message: message.into(),
        }
    }

    /// A mistake of the whole document.
    pub fn whole(message: impl Into<String>) -> Self {
        ConfigError::at("", message)
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at.as_str() {
            "" => f.write_str(&self.message),
            at => write!(f, "{at}: {}", self.message),
        }
    }
}

impl std::error::Error for ConfigError {}

/// Every mistake of a configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl ConfigErrors {
    /// No mistake yet.
    pub fn new() -> Self {
        ConfigErrors::default()
    }

    /// Add a mistake.
    pub fn push(&mut self, error: ConfigError) {
        self.0.push(error);
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The mistakes in order.
    pub fn iter(&self) -> std::slice::Iter<'_, ConfigError> {
        self.0.iter()
    }

    /// `Ok` when there is none, so that `errors.into_result()?` ends a check.
    pub fn into_result(self) -> Result<(), Self> {
        if self.is_empty() { Ok(()) } else { Err(self) }
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

impl From<ConfigError> for ConfigErrors {
    fn from(error: ConfigError) -> Self {
        ConfigErrors(vec![error])
    }
}

impl From<MetricError> for ConfigErrors {
    fn from(error: MetricError) -> Self {
        ConfigError::whole(format!("cannot define a metric: {error}")).into()
    }
}

impl FromIterator<ConfigError> for ConfigErrors {
    fn from_iter<I: IntoIterator<Item = ConfigError>>(errors: I) -> Self {
        ConfigErrors(errors.into_iter().collect())
    }
}

impl Extend<ConfigError> for ConfigErrors {
    fn extend<I: IntoIterator<Item = ConfigError>>(&mut self, errors: I) {
        self.0.extend(errors);
    }
}

impl IntoIterator for ConfigErrors {
    type Item = ConfigError;
    type IntoIter = std::vec::IntoIter<ConfigError>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a ConfigErrors {
    type Item = &'a ConfigError;
    type IntoIter = std::slice::Iter<'a, ConfigError>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
