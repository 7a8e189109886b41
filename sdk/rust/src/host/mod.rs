//! The proxy as the SDK calls it, one function for each of the contract: the
//! component's bindings on wasm32, elsewhere a simulated host that belongs to
//! the thread. Nothing outside this folder may name either.

#[cfg(target_arch = "wasm32")]
mod component;
#[cfg(target_arch = "wasm32")]
pub(crate) use component::{
    connection, exchange, http_client, log, metrics, now, random, request, response, secrets,
    shared, trailers,
};

#[cfg(not(target_arch = "wasm32"))]
pub(crate) mod simulated;
/// A connection is simulated as an exchange is: it knows the same of who connects.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use simulated::exchange as connection;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use simulated::{
    exchange, http_client, log, metrics, now, random, request, response, secrets, shared, trailers,
};
