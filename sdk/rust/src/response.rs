//! The response of the exchange.

use std::borrow::Cow;

use crate::prefetch::Prefetch;
use crate::request::{into_str, owned};
use crate::{HeadError, host};

/// The response of the exchange. Readable and writable in `on_response` and
/// `on_response_body`, readable in later phases; before there is one, changes
/// are [`HeadError::TooLate`].
#[derive(Clone, Copy)]
pub struct Response<'a> {
    pub(crate) prefetch: &'a Prefetch<'a>,
}

impl<'a> Response<'a> {
    /// `None` until there is a response.
    pub fn status(&self) -> Option<u16> {
        match self.prefetch.values(":status") {
            Some(mut values) => std::str::from_utf8(values.next()?).ok()?.parse().ok(),
            None => host::response::status(),
        }
    }

    /// Whether the proxy or a filter made this answer, not the upstream.
    pub fn is_local(&self) -> bool {
        host::response::is_local()
    }

    /// Set the status.
    pub fn set_status(&self, status: u16) -> Result<(), HeadError> {
        self.prefetch.forget(":status");
        host::response::set_status(status)
    }

    /// The first value of a field, or of `:status`.
    pub fn header(&self, name: &str) -> Option<Cow<'a, [u8]>> {
        match self.prefetch.values(name) {
            Some(mut values) => values.next().map(Cow::Borrowed),
            None => host::response::get(name).map(Cow::Owned),
        }
    }

    /// The first value of a field, if it is UTF-8.
    pub fn header_str(&self, name: &str) -> Option<Cow<'a, str>> {
        into_str(self.header(name)?)
    }

    /// Every value of a field, in order.
    pub fn headers(&self, name: &str) -> Vec<Cow<'a, [u8]>> {
        match self.prefetch.values(name) {
            Some(values) => values.map(Cow::Borrowed).collect(),
            None => owned(host::response::get_all(name)),
        }
    }

    /// Copy all fields, in wire order. Costs a copy of the head.
    pub fn entries(&self) -> Vec<(String, Vec<u8>)> {
        host::response::entries()
    }

    /// Replace all values of a field with this one.
    pub fn set_header(&self, name: &str, value: impl AsRef<[u8]>) -> Result<(), HeadError> {
        self.prefetch.forget(name);
        host::response::set(name, value.as_ref())
    }

    /// Add one more value.
    pub fn append_header(&self, name: &str, value: impl AsRef<[u8]>) -> Result<(), HeadError> {
        self.prefetch.forget(name);
        host::response::append(name, value.as_ref())
    }

    /// Remove every value of a field. Absent fields are fine.
    pub fn remove_header(&self, name: &str) -> Result<(), HeadError> {
        self.prefetch.forget(name);
        host::response::remove(name)
    }
}
