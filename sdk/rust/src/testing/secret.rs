//! Secrets, as a test grants them and as a filter puts them.

/// What a filter may do with a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grant {
    /// Compare, sign and put it.
    Use,
    /// See it, too.
    Reveal,
}

/// A field of the request that [`secrets::put`](crate::secrets::put) set, which the
/// filter reads as empty, or of a [call](crate::http_client::Call::secret).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PutSecret {
    /// Its name, in lower case.
    pub field: String,
    /// What stands before the secret.
    pub prefix: String,
    /// The name of the secret.
    pub secret: String,
    /// What the upstream or the cluster gets.
    pub value: Vec<u8>,
}
