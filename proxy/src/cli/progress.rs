//! What a command that loads components tells while it does, on standard error.

use std::io;

use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// Shows what is pulled, and what the cache has to do with it. Such a command has no
/// log otherwise: what it finds is its output.
pub fn show() {
    let lines = fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(false)
        .with_target(false)
        .with_level(false)
        .without_time();
    let components = Targets::new().with_target("lockgate::components", tracing::Level::INFO);
    // One that is there already, in tests, may stay.
    let _ = tracing_subscriber::registry()
        .with(lines.with_filter(components))
        .try_init();
}
