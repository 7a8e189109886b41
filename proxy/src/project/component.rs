//! Making a component of a core module that carries its world.

use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wit_component::ComponentEncoder;

use super::BuildError;

/// What the core module imports of the old WASI, `printf` of a C library for
/// example, is met by an adapter; one that is not needed leaves nothing behind.
pub(super) fn of_core(core: &[u8]) -> Result<Vec<u8>, BuildError> {
    encode(core).map_err(|error| {
        BuildError::BadProject(format!("cannot make a component of the module: {error:#}"))
    })
}

fn encode(core: &[u8]) -> anyhow::Result<Vec<u8>> {
    ComponentEncoder::default()
        .validate(true)
        .module(core)?
        .adapter(
            WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME,
            WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
        )?
        .encode()
}
