//! Later versions of `lockgate:rate-limit`, as somebody would make them: its own
//! sources, but that `form` keeps counts in another form, and hands over.

#[path = "../../../../../filters/rate-limit/src/answer.rs"]
mod answer;
#[path = "../../../../../filters/rate-limit/src/check.rs"]
mod check;
#[path = "../../../../../filters/rate-limit/src/config.rs"]
mod config;
#[path = "../../../../../filters/rate-limit/src/filter.rs"]
mod filter;
mod form;
#[path = "../../../../../filters/rate-limit/src/gcra.rs"]
mod gcra;
#[path = "../../../../../filters/rate-limit/src/key.rs"]
mod key;
#[path = "../../../../../filters/rate-limit/src/ledger.rs"]
mod ledger;
#[path = "../../../../../filters/rate-limit/src/limit.rs"]
mod limit;

pub use config::Config;
pub use filter::RateLimit;

lockgate_sdk::export!(
    RateLimit,
    name = "lockgate:rate-limit",
    hand_over = form::Form
);
