//! Test a filter natively, without WebAssembly and without a proxy.
//!
//! A [`Harness`] holds one filter with its configuration, and plays one
//! exchange at a time through it. It keeps to the contract: fields that were
//! asked for arrive packed, a failed call is rolled back, clusters and routes
//! must be declared. Time stands still and chance repeats until told otherwise.
//!
//! ```
//! use lockgate_sdk::prelude::*;
//! use lockgate_sdk::testing::{self, Harness};
//!
//! struct Teapot;
//!
//! impl Filter for Teapot {
//!     type Config = ();
//!     fn create(_: ()) -> Result<Self, ConfigErrors> {
//!         Ok(Teapot)
//!     }
//!     fn wants(&self) -> Wants {
//!         Wants::request().request_field(":path")
//!     }
//!     fn on_request(&self, exchange: &Exchange) -> Result<Verdict, Error> {
//!         match &*exchange.request().path() {
//!             "/coffee" => Ok(Reply::text(418, "short and stout\n").into()),
//!             _ => Ok(Verdict::Next),
//!         }
//!     }
//! }
//!
//! let mut harness = Harness::<Teapot>::new(serde_json::Value::Null).unwrap();
//! let outcome = harness.request(testing::Exchange::get("/coffee"));
//! assert_eq!(outcome.reply().status, 418);
//! ```
//!
//! After a head, [`Harness::request_body`] and its like play the body as the
//! filter's verdict asked, and tell its [`Fate`].
//!
//! [`shared`](crate::shared) works in a test as it does in a filter: whatever the
//! test sets there, another instance might have left. [`Harness::set_now`] lets
//! its entries expire, [`Harness::set_rival`] lets another instance come first.
//!
//! [`Harness::answer_calls`] plays the clusters that the filter calls, and
//! [`Outcome::calls`] tells what they got.
//!
//! [`Harness::job`] gives the filter's [`Job`](crate::Job), to be run by hand, and
//! [`Harness::hand_over`] brings what is shared into the form of this version.
//!
//! A [`Gate`] is the same for a [`ConnectionFilter`](crate::ConnectionFilter).

mod body;
mod call;
mod exchange;
mod gate;
mod harness;
mod job;
mod outcome;
mod schema;
mod secret;
mod sent;
#[cfg(test)]
mod tests;

pub use body::Fate;
pub use exchange::Exchange;
pub use gate::{Admitted, Gate};
pub use harness::Harness;
pub use job::JobHarness;
pub use outcome::{Head, LogLine, Mirror, Outcome};
pub use schema::{undescribed_keys, undocumented_keys};
pub use secret::{Grant, PutSecret};
pub use sent::SentCall;
