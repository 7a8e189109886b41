//! The request of the exchange.

use std::borrow::Cow;

use crate::prefetch::Prefetch;
use crate::{HeadError, host};

/// The request of the exchange for which the filter is being called. Readable
/// in every phase, writable in `on_request` and `on_request_body`.
///
/// A field that [`Wants::request_field`](crate::Wants::request_field) asked for
/// is at hand in `on_request` and costs nothing to read; any other costs one
/// call to the proxy. Names are matched without regard to case.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    pub(crate) prefetch: &'a Prefetch<'a>,
}

impl<'a> Request<'a> {
    /// The method, such as `GET`.
    pub fn method(&self) -> Cow<'a, str> {
        self.pseudo(":method", host::request::method)
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> Cow<'a, str> {
        self.pseudo(":scheme", host::request::scheme)
    }

    /// The host, with a port if the client gave one.
    pub fn authority(&self) -> Cow<'a, str> {
        self.pseudo(":authority", host::request::authority)
    }

    /// Path and query, still percent-encoded.
    pub fn path(&self) -> Cow<'a, str> {
        self.pseudo(":path", host::request::path)
    }

    /// The first value of a field, or of a pseudo-field such as `:path`.
    pub fn header(&self, name: &str) -> Option<Cow<'a, [u8]>> {
        match self.prefetch.values(name) {
            Some(mut values) => values.next().map(Cow::Borrowed),
            None => host::request::get(name).map(Cow::Owned),
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
            None => owned(host::request::get_all(name)),
        }
    }

    /// Copy all fields, in wire order. Costs a copy of the head.
    pub fn entries(&self) -> Vec<(String, Vec<u8>)> {
        host::request::entries()
    }

    /// Replace all values of a field with this one.
    pub fn set_header(&self, name: &str, value: impl AsRef<[u8]>) -> Result<(), HeadError> {
        self.prefetch.forget(name);
        host::request::set(name, value.as_ref())
    }

    /// Add one more value.
    pub fn append_header(&self, name: &str, value: impl AsRef<[u8]>) -> Result<(), HeadError> {
        self.prefetch.forget(name);
        host::request::append(name, value.as_ref())
    }

    /// Remove every value of a field. Absent fields are fine.
    pub fn remove_header(&self, name: &str) -> Result<(), HeadError> {
        self.prefetch.forget(name);
        host::request::remove(name)
    }

    /// Set the method.
    pub fn set_method(&self, method: &str) -> Result<(), HeadError> {
        self.prefetch.forget(":method");
        host::request::set_method(method)
    }

    /// Set the authority, and with it the `Host` that the upstream sees.
    pub fn set_authority(&self, authority: &str) -> Result<(), HeadError> {
        // Two names of one thing.
        self.prefetch.forget(":authority");
        self.prefetch.forget("host");
        host::request::set_authority(authority)
    }

    /// Set path and query, percent-encoded.
    pub fn set_path(&self, path_with_query: &str) -> Result<(), HeadError> {
        self.prefetch.forget(":path");
        host::request::set_path(path_with_query)
    }

    fn pseudo(&self, name: &str, ask: fn() -> String) -> Cow<'a, str> {
        match self
            .prefetch
            .values(name)
            .and_then(|mut values| values.next())
        {
            Some(value) => String::from_utf8_lossy(value),
            None => Cow::Owned(ask()),
        }
    }
}

/// `None` when it is not UTF-8.
pub(crate) fn into_str(value: Cow<'_, [u8]>) -> Option<Cow<'_, str>> {
    match value {
        Cow::Borrowed(bytes) => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
        Cow::Owned(bytes) => String::from_utf8(bytes).ok().map(Cow::Owned),
    }
}

pub(crate) fn owned<'a>(values: Vec<Vec<u8>>) -> Vec<Cow<'a, [u8]>> {
    values.into_iter().map(Cow::Owned).collect()
}
