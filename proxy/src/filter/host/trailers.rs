//! `trailers`: the fields behind the body whose phase it is.

use http::HeaderMap;
use wasmtime::Result;

use super::HostState;
use crate::filter::bindings::lockgate::filter::trailers;
use crate::filter::bindings::lockgate::filter::types::HeadError;
use crate::filter::field;
use crate::filter::head_rules;
use crate::filter::journal::{self, Journal, Undo};
use crate::filter::view::HeadLimits;

impl HostState {
    /// The trailers of the phase under way, if it is one of trailers.
    fn trailers(&self) -> Result<Option<&HeaderMap>> {
        let trailers = self.view()?.trailers.as_ref();
        Ok(trailers.filter(|_| self.call.phase.has_trailers()))
    }

    fn change_trailers(
        &mut self,
        change: impl FnOnce(&mut HeaderMap, &mut Journal, HeadLimits) -> Result<(), HeadError>,
    ) -> Result<Result<(), HeadError>> {
        let phase = self.call.phase;
        let (view, journal) = self.exchange()?;
        let limits = view.head_limits;
        Ok(match &mut view.trailers {
            Some(trailers) if phase.has_trailers() => change(trailers, journal, limits),
            Some(_) | None => Err(HeadError::TooLate),
        })
    }
}

impl trailers::Host for HostState {
    fn get(&mut self, name: String) -> Result<Option<Vec<u8>>> {
        let value = self.trailers()?.and_then(|trailers| trailers.get(&name));
        Ok(value.map(|value| field::readable(value).to_vec()))
    }

    fn set(&mut self, name: String, value: Vec<u8>) -> Result<Result<(), HeadError>> {
        self.change_trailers(|trailers, journal, limits| {
            let (name, value) = (head_rules::name(&name)?, head_rules::value(value)?);
            head_rules::fits(trailers, &name, &value, limits)?;
            let before = journal::set(trailers, name.clone(), value);
            journal.note(Undo::Trailer(name, before));
            Ok(())
        })
    }

    fn remove(&mut self, name: String) -> Result<Result<(), HeadError>> {
        self.change_trailers(|trailers, journal, _| {
            let name = head_rules::name(&name)?;
            let before = journal::remove(trailers, &name);
            journal.note(Undo::Trailer(name, before));
            Ok(())
        })
    }

    fn entries(&mut self) -> Result<Vec<(String, Vec<u8>)>> {
        let trailers = self.trailers()?;
        Ok(trailers.map(super::entries).unwrap_or_default())
    }
}
