//! The shipped filter `lockgate:router`: decides where a request goes.
//!
//! `config` is what the operator writes, `check` makes routes of it, `index`
//! finds the first that takes a request, and this file does what it says.

mod check;
mod config;
mod edits;
mod host;
mod index;
mod matching;
mod mistakes;
mod path;
mod pattern;
mod reach;
mod redirect;
mod rewrite;
mod route;
mod router;
mod split;
mod template;
mod value;

pub use config::Config;
pub use router::Router;

lockgate_sdk::export!(Router, name = "lockgate:router");

#[cfg(test)]
mod tests;
