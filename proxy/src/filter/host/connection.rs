//! `connection`: facts about a connection, and where it goes.

use wasmtime::Result;

use super::HostState;
use super::exchange::attribute;
use crate::filter::bindings::connection::lockgate::filter::connection;
use crate::filter::bindings::lockgate::filter::exchange;
use crate::filter::bindings::lockgate::filter::types::RouteError;

impl connection::Host for HostState {
    fn client_address(&mut self) -> Result<String> {
        Ok(self.view()?.client_address.to_string())
    }

    fn attribute(&mut self, name: String) -> Result<Option<String>> {
        let view = self.view()?;
        let own = view.connection.as_ref();
        Ok(
            match own.and_then(|connection| connection.attribute(&name)) {
                Some(own) => Some(own),
                None => attribute(view, &name),
            },
        )
    }

    fn set_attribute(&mut self, name: String, value: String) -> Result<()> {
        exchange::Host::set_attribute(self, name, value)
    }

    fn route_to(&mut self, cluster: String) -> Result<Result<(), RouteError>> {
        let connection = self.view()?.connection.as_ref();
        match connection.is_some_and(|connection| connection.is_opaque) {
            true => exchange::Host::route_to(self, cluster),
            false => Ok(Err(RouteError::Unsupported)),
        }
    }

    fn set_hash_key(&mut self, key: Vec<u8>) -> Result<Result<(), RouteError>> {
        let connection = self.view()?.connection.as_ref();
        match connection.is_some_and(|connection| connection.is_opaque) {
            true => exchange::Host::set_hash_key(self, key),
            false => Ok(Err(RouteError::Unsupported)),
        }
    }
}
