//! `lockgate:authz`: who may do what.
//!
//! `config` is what the operator writes and `check` makes the `Authz` of it, with `text`
//! for what stands in conditions; `filter` lets it act. A `rule` has conditions; `pattern`
//! is what texts are compared with, `subject` is who a request is from, and `audit` writes
//! down what was denied.

mod audit;
mod check;
mod condition;
mod config;
mod filter;
mod pattern;
mod rule;
mod subject;
#[cfg(test)]
mod tests;
mod text;

pub use config::Config;
pub use filter::Authz;

lockgate_sdk::export!(Authz, name = "lockgate:authz");
