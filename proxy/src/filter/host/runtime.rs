//! `host`: time and chance.

use std::time::SystemTime;

use wasmtime::Result;

use super::HostState;
use crate::filter::bindings::lockgate::filter::host;

impl host::Host for HostState {
    fn now(&mut self) -> Result<u64> {
        let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        Ok(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }

    fn random(&mut self) -> Result<u64> {
        Ok(fastrand::u64(..))
    }
}
