//! The host's side of the contract, one file for each interface.
//!
//! Functions take what the guest gave and the exchange of the call under way;
//! they change the exchange, noting in the journal how to undo it. They must
//! never panic, block, or keep anything of an exchange once its call is over.

mod connection;
mod exchange;
mod hot;
pub mod http_client;
mod log;
pub mod metrics;
mod request;
mod response;
mod runtime;
mod secrets;
mod shared;
mod trailers;

use wasmtime::Engine;
use wasmtime::component::{HasSelf, Linker};

use super::bindings::Filter;
use super::bindings::connection::Tcp;
use super::bindings::granted::Granted;
use super::bindings::lockgate::filter::types::{self, HeadError};
use super::field;
use super::head_rules::Refusal;
use super::state::{HostState, counted};
use super::wasi;

/// Everything that a filter may import, in two ways.
pub struct Linkers {
    /// For filters that may call no cluster.
    pub plain: Linker<HostState>,
    /// For those that may.
    pub calling: Linker<HostState>,
}

impl Linkers {
    pub fn new(engine: &Engine) -> wasmtime::Result<Self> {
        let mut calling = Linker::new(engine);
        add_to_linker(&mut calling)?;
        let mut plain = calling.clone();
        http_client::without_waits(&mut plain)?;
        Ok(Self { plain, calling })
    }
}

fn add_to_linker(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    wasi::add_to_linker(linker)?;
    Filter::add_to_linker::<HostState, HasSelf<HostState>>(linker, counted)?;
    Tcp::add_to_linker::<HostState, HasSelf<HostState>>(linker, counted)?;
    Granted::add_to_linker::<HostState, HasSelf<HostState>>(linker, counted)?;
    hot::add_to_linker(linker)
}

impl types::Host for HostState {}

impl From<Refusal> for HeadError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Invalid => HeadError::Invalid,
            Refusal::Forbidden => HeadError::Forbidden,
            Refusal::TooLarge => HeadError::TooLarge,
        }
    }
}

/// All fields in wire order, copied.
fn entries(headers: &http::HeaderMap) -> Vec<(String, Vec<u8>)> {
    let copy = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        (name.as_str().to_owned(), field::readable(value).to_vec())
    };
    headers.iter().map(copy).collect()
}
