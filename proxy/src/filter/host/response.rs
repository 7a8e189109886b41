//! `response`: the head of the answer, once there is one. A linker has `get`
//! and `set` of `hot.rs` in place of those here.

use http::HeaderName;
use wasmtime::Result;

use super::HostState;
use crate::filter::bindings::lockgate::filter::response;
use crate::filter::bindings::lockgate::filter::types::HeadError;
use crate::filter::field::Field;
use crate::filter::head_rules;
use crate::filter::journal::{self, Journal, Undo};
use crate::filter::view::HeadLimits;
use crate::http::ResponseHead;

type Change = Result<Result<(), HeadError>>;

impl HostState {
    /// Changes the answer, where there is one that can be changed.
    pub(super) fn change_response(
        &mut self,
        change: impl FnOnce(&mut ResponseHead, &mut Journal, HeadLimits) -> Result<(), HeadError>,
    ) -> Change {
        let phase = self.call.phase;
        let (view, journal) = self.exchange()?;
        let limits = view.head_limits;
        Ok(match &mut view.response {
            Some(response) if phase.holds_response() => change(response, journal, limits),
            Some(_) | None => Err(HeadError::TooLate),
        })
    }

    /// The first value of a field of the answer.
    pub(super) fn response_value(&self, field: &Field) -> Result<Option<Vec<u8>>> {
        let head = self.view()?.response.as_ref();
        let value = head.and_then(|head| field.in_response(head).next());
        Ok(value.map(<[u8]>::to_vec))
    }
}

/// Replaces a field of the answer.
pub(super) fn set(
    response: &mut ResponseHead,
    journal: &mut Journal,
    limits: HeadLimits,
    name: HeaderName,
    value: Vec<u8>,
) -> Result<(), HeadError> {
    let value = head_rules::value(value)?;
    head_rules::fits(&response.headers, &name, &value, limits)?;
    let before = journal::set(&mut response.headers, name.clone(), value);
    journal.note(Undo::ResponseField(name, before));
    Ok(())
}

impl response::Host for HostState {
    fn status(&mut self) -> Result<Option<u16>> {
        let response = self.view()?.response.as_ref();
        Ok(response.map(|response| response.status.as_u16()))
    }

    fn is_local(&mut self) -> Result<bool> {
        let view = self.view()?;
        Ok(view.is_local && view.response.is_some())
    }

    fn set_status(&mut self, status: u16) -> Change {
        self.change_response(|response, journal, _| {
            let status = head_rules::changed_status(response.status, status)?;
            let before = std::mem::replace(&mut response.status, status);
            journal.note(Undo::Status(before));
            Ok(())
        })
    }

    fn get(&mut self, name: String) -> Result<Option<Vec<u8>>> {
        match Field::of_response(&name) {
            Some(field) => self.response_value(&field),
            None => Ok(None),
        }
    }

    fn get_all(&mut self, name: String) -> Result<Vec<Vec<u8>>> {
        let Some(head) = &self.view()?.response else {
            return Ok(Vec::new());
        };
        let field = Field::of_response(&name);
        let values = field.iter().flat_map(|field| field.in_response(head));
        Ok(values.map(<[u8]>::to_vec).collect())
    }

    fn set(&mut self, name: String, value: Vec<u8>) -> Change {
        self.change_response(|response, journal, limits| {
            set(response, journal, limits, head_rules::name(&name)?, value)
        })
    }

    fn append(&mut self, name: String, value: Vec<u8>) -> Change {
        self.change_response(|response, journal, limits| {
            let (name, value) = (head_rules::name(&name)?, head_rules::value(value)?);
            head_rules::fits_beside(&response.headers, &name, &value, limits)?;
            let before = journal::append(&mut response.headers, name.clone(), value);
            journal.note(Undo::ResponseField(name, before));
            Ok(())
        })
    }

    fn remove(&mut self, name: String) -> Change {
        self.change_response(|response, journal, _| {
            let name = head_rules::name(&name)?;
            let before = journal::remove(&mut response.headers, &name);
            journal.note(Undo::ResponseField(name, before));
            Ok(())
        })
    }

    fn entries(&mut self) -> Result<Vec<(String, Vec<u8>)>> {
        let response = self.view()?.response.as_ref();
        Ok(response
            .map(|response| super::entries(&response.headers))
            .unwrap_or_default())
    }
}
