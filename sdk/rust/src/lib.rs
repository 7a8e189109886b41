//! Write [Lockgate](https://github.com/lockgate/lockgate) filters in Rust.
//!
//! A filter is a struct with its configuration, the trait [`Filter`] and one
//! line that exports it. `cargo build --release --target wasm32-wasip2` makes
//! the component; `cargo test` runs the filter natively, against the simulated
//! proxy of [`testing`].
//!
//! ```
//! use lockgate_sdk::prelude::*;
//!
//! /// What the operator configures.
//! #[derive(Deserialize, JsonSchema)]
//! #[serde(deny_unknown_fields)]
//! struct Config {
//!     /// The request field to set.
//!     header: String,
//! }
//!
//! struct Stamp {
//!     config: Config,
//! }
//!
//! impl Filter for Stamp {
//!     type Config = Config;
//!
//!     fn create(config: Config) -> Result<Self, ConfigErrors> {
//!         Ok(Stamp { config })
//!     }
//!
//!     fn wants(&self) -> Wants {
//!         Wants::request()
//!     }
//!
//!     fn on_request(&self, exchange: &Exchange) -> Result<Verdict, Error> {
//!         exchange.request().set_header(&self.config.header, "seen")?;
//!         Ok(Verdict::Next)
//!     }
//! }
//!
//! lockgate_sdk::export!(Stamp);
//! ```
//!
//! Of the contract `lockgate:filter@0.1.0` this version covers what Lockgate
//! 0.1 serves: heads, bodies and trailers, [`shared`] state, [`secrets`], calls to
//! clusters ([`http_client`]), work between exchanges ([`Job`]), versions that
//! share in another form ([`HandOver`]), and filters of connections
//! ([`ConnectionFilter`]).

#![deny(missing_docs, unsafe_code)]

pub mod authority;
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
#[allow(missing_docs, unsafe_code, reason = "generated")]
pub mod bindings;
mod body;
mod config;
mod connection;
pub mod duration;
mod error;
mod exchange;
mod export;
pub mod field;
mod filter;
mod hand_over;
mod host;
pub mod http_client;
mod job;
pub mod log;
pub mod matching;
pub mod metrics;
pub mod network;
mod prefetch;
pub mod random;
mod request;
mod response;
pub mod secrets;
pub mod shared;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
pub mod time;
mod trailers;
mod wants;

pub use body::{Body, BodyVerdict, Overflow, Transform};
pub use config::{given, schema};
pub use connection::{Admission, Connection, ConnectionFilter, ConnectionWants};
pub use error::{ConfigError, ConfigErrors, Error, HeadError, MetricError, RouteError};
pub use exchange::{Exchange, Timeout};
pub use export::{Exported, ExportedConnection};
pub use filter::{Filter, Reply, Verdict};
pub use hand_over::{HandOver, Stored};
pub use job::{Job, Rest};
pub use request::Request;
pub use response::Response;
pub use trailers::Trailers;
pub use wants::Wants;

// For the macro `export!` and for filters that need the very same versions.
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub use export::component::{Component, ConnectionComponent, HandOverComponent, JobComponent};
pub use {schemars, serde, serde_json};

/// What nearly every filter uses.
pub mod prelude {
    pub use std::borrow::Cow;
    pub use std::time::Duration;

    pub use crate::{
        Body, BodyVerdict, ConfigError, ConfigErrors, Error, Exchange, Filter, HeadError, Reply,
        Request, Response, RouteError, Timeout, Trailers, Transform, Verdict, Wants, log,
    };
    pub use schemars::JsonSchema;
    pub use serde::Deserialize;
}

#[cfg(any(doc, doctest))]
#[doc = include_str!("../docs/writing-filters.md")]
pub mod guide {}

/// Compiles what the README shows.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
