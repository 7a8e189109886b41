//! Secrets that the operator grants by name, to use or to see. They change without
//! a reload, so ask anew for each exchange: what `create` makes of one stays as it
//! was until the next reload that concerns the filter.
//!
//! Most filters need not see one: they compare with it, sign with it or put it
//! into a request, and it never enters their memory.
//!
//! The operator must grant each (`grants: { secrets: [upstream-token] }`, or
//! `reveal` for one to be seen). A component that imports this interface is loaded
//! without any grant, and then every call is [`SecretError::Denied`]. So a filter
//! whose configuration names a secret had better ask in `create`:
//! `matches(name, b"")` is `Denied` exactly where the grant is missing, and
//! `lockgate check` tells the mistake that is made of it with its place.
//!
//! ```
//! use lockgate_sdk::prelude::*;
//! use lockgate_sdk::secrets;
//!
//! fn on_request(exchange: &Exchange) -> Result<Verdict, Error> {
//!     let request = exchange.request();
//!     let key = request.header("x-api-key").unwrap_or_default();
//!     if !secrets::matches("edge-key", key)? {
//!         return Ok(Reply::text(401, "who are you?\n").into());
//!     }
//!     secrets::put(&request, "authorization", "Bearer ", "upstream-token")?;
//!     Ok(Verdict::Next)
//! }
//! ```

use std::fmt;

use crate::{HeadError, Request, host};

/// Whether these bytes are the secret, in a time that does not tell where they
/// differ.
pub fn matches(name: &str, candidate: impl AsRef<[u8]>) -> Result<bool, SecretError> {
    host::secrets::matches(name, candidate.as_ref())
}

/// Set a field of the request to `prefix` and then the secret of this name. This
/// filter and later ones read an empty value; the upstream gets the whole.
pub fn put(
    request: &Request<'_>,
    field: &str,
    prefix: &str,
    secret: &str,
) -> Result<(), SecretError> {
    request.prefetch.forget(field);
    host::secrets::put(field, prefix, secret)
}

/// The HMAC-SHA-256 of the data with the secret as its key: 32 bytes.
pub fn sign(name: &str, data: impl AsRef<[u8]>) -> Result<Vec<u8>, SecretError> {
    host::secrets::sign(name, data.as_ref())
}

/// The bytes themselves, if they were granted to be seen.
pub fn reveal(name: &str) -> Result<Vec<u8>, SecretError> {
    host::secrets::reveal(name)
}

/// Why a secret could not be used.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SecretError {
    /// Not configured, or not granted; for [`reveal`], granted for use only.
    Denied,
    /// The field was refused.
    Head(HeadError),
    /// What later versions may report.
    Other(String),
}

impl fmt::Display for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SecretError::Denied => "the secret is not configured, or not granted for that",
            SecretError::Head(_) => "the field was refused",
            SecretError::Other(message) => message,
        })
    }
}

impl std::error::Error for SecretError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            SecretError::Head(error) => Some(error),
            SecretError::Denied | SecretError::Other(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
