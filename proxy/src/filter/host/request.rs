//! `request`: the head of the request, to read always and to change in its
//! own phase. A linker has `get` and `set` of `hot.rs` in place of
//! those here.

use http::{HeaderName, HeaderValue};
use wasmtime::Result;

use super::HostState;
use crate::filter::bindings::lockgate::filter::request;
use crate::filter::bindings::lockgate::filter::types::HeadError;
use crate::filter::field::Field;
use crate::filter::head_rules;
use crate::filter::journal::{self, Journal, Undo};
use crate::filter::view::View;

type Change = Result<Result<(), HeadError>>;

impl HostState {
    /// Changes the request, where that is possible now.
    pub(super) fn change_request(
        &mut self,
        change: impl FnOnce(&mut View, &mut Journal) -> Result<(), HeadError>,
    ) -> Change {
        let phase = self.call.phase;
        let (view, journal) = self.exchange()?;
        Ok(match phase.holds_request() {
            true => change(view, journal),
            false => Err(HeadError::TooLate),
        })
    }

    /// The first value of a field of the request.
    pub(super) fn request_value(&self, field: &Field) -> Result<Option<Vec<u8>>> {
        let head = &self.view()?.request;
        Ok(field.in_request(head).next().map(<[u8]>::to_vec))
    }
}

/// Replaces a field of the request.
pub(super) fn set(
    view: &mut View,
    journal: &mut Journal,
    name: HeaderName,
    value: HeaderValue,
) -> Result<(), HeadError> {
    let headers = &mut view.request.headers;
    head_rules::fits(headers, &name, &value, view.head_limits)?;
    let before = journal::set(headers, name.clone(), value);
    journal.note(Undo::RequestField(name, before));
    Ok(())
}

impl request::Host for HostState {
    fn method(&mut self) -> Result<String> {
        Ok(self.view()?.request.method.as_str().to_owned())
    }

    fn set_method(&mut self, method: String) -> Change {
        self.change_request(|view, journal| {
            let method = head_rules::method(&method)?;
            let before = std::mem::replace(&mut view.request.method, method);
            journal.note(Undo::Method(before));
            Ok(())
        })
    }

    fn scheme(&mut self) -> Result<String> {
        Ok(self.view()?.request.scheme.as_str().to_owned())
    }

    fn authority(&mut self) -> Result<String> {
        let authority = &self.view()?.request.authority;
        Ok(authority
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default())
    }

    fn set_authority(&mut self, authority: String) -> Change {
        self.change_request(|view, journal| {
            let authority = head_rules::authority(&authority)?;
            if authority.as_str().len() > view.head_limits.max_bytes {
                return Err(HeadError::TooLarge);
            }
            let before = view.request.authority.replace(authority);
            journal.note(Undo::Authority(before));
            Ok(())
        })
    }

    fn path(&mut self) -> Result<String> {
        Ok(self.view()?.request.path.as_str().to_owned())
    }

    fn set_path(&mut self, path_with_query: String) -> Change {
        self.change_request(|view, journal| {
            if path_with_query.len() > view.head_limits.max_bytes {
                return Err(HeadError::TooLarge);
            }
            let path = head_rules::path(&path_with_query)?;
            let before = std::mem::replace(&mut view.request.path, path);
            journal.note(Undo::Path(before));
            Ok(())
        })
    }

    fn get(&mut self, name: String) -> Result<Option<Vec<u8>>> {
        match Field::of_request(&name) {
            Some(field) => self.request_value(&field),
            None => Ok(None),
        }
    }

    fn get_all(&mut self, name: String) -> Result<Vec<Vec<u8>>> {
        let head = &self.view()?.request;
        let field = Field::of_request(&name);
        let values = field.iter().flat_map(|field| field.in_request(head));
        Ok(values.map(<[u8]>::to_vec).collect())
    }

    fn set(&mut self, name: String, value: Vec<u8>) -> Change {
        self.change_request(|view, journal| {
            let (name, value) = (head_rules::name(&name)?, head_rules::value(value)?);
            set(view, journal, name, value)
        })
    }

    fn append(&mut self, name: String, value: Vec<u8>) -> Change {
        self.change_request(|view, journal| {
            let (name, value) = (head_rules::name(&name)?, head_rules::value(value)?);
            let headers = &mut view.request.headers;
            head_rules::fits_beside(headers, &name, &value, view.head_limits)?;
            let before = journal::append(headers, name.clone(), value);
            journal.note(Undo::RequestField(name, before));
            Ok(())
        })
    }

    fn remove(&mut self, name: String) -> Change {
        self.change_request(|view, journal| {
            let name = head_rules::name(&name)?;
            let before = journal::remove(&mut view.request.headers, &name);
            journal.note(Undo::RequestField(name, before));
            Ok(())
        })
    }

    fn entries(&mut self) -> Result<Vec<(String, Vec<u8>)>> {
        Ok(super::entries(&self.view()?.request.headers))
    }
}
