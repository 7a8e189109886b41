//! `trailers`: linked, because some languages import the whole world, and
//! empty, because no trailer phase is served yet.

use wasmtime::Result;

use super::HostState;
use crate::filter::bindings::lockgate::filter::trailers;
use crate::filter::bindings::lockgate::filter::types::HeadError;

impl trailers::Host for HostState {
    fn get(&mut self, _name: String) -> Result<Option<Vec<u8>>> {
        Ok(None)
    }

    fn set(&mut self, _name: String, _value: Vec<u8>) -> Result<Result<(), HeadError>> {
        Ok(Err(HeadError::TooLate))
    }

    fn remove(&mut self, _name: String) -> Result<Result<(), HeadError>> {
        Ok(Err(HeadError::TooLate))
    }

    fn entries(&mut self) -> Result<Vec<(String, Vec<u8>)>> {
        Ok(Vec::new())
    }
}
