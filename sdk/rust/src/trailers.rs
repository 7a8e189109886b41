//! The trailers of the message whose trailer phase it is.

use std::borrow::Cow;
use std::marker::PhantomData;

use crate::request::into_str;
use crate::{HeadError, host};

/// The trailers of the request in `on_request_trailers`, and of the response in
/// `on_response_trailers`. In any other phase there are none, and changes are
/// [`HeadError::TooLate`].
#[derive(Clone, Copy)]
pub struct Trailers<'a> {
    pub(crate) exchange: PhantomData<&'a ()>,
}

impl<'a> Trailers<'a> {
    /// The first value of a field.
    pub fn header(&self, name: &str) -> Option<Cow<'a, [u8]>> {
        host::trailers::get(name).map(Cow::Owned)
    }

    /// The first value of a field, if it is UTF-8.
    pub fn header_str(&self, name: &str) -> Option<Cow<'a, str>> {
        into_str(self.header(name)?)
    }

    /// Copy all fields, in wire order.
    pub fn entries(&self) -> Vec<(String, Vec<u8>)> {
        host::trailers::entries()
    }

    /// Replace all values of a field with this one, or add it.
    pub fn set_header(&self, name: &str, value: impl AsRef<[u8]>) -> Result<(), HeadError> {
        host::trailers::set(name, value.as_ref())
    }

    /// Remove every value of a field. Absent fields are fine.
    pub fn remove_header(&self, name: &str) -> Result<(), HeadError> {
        host::trailers::remove(name)
    }
}
