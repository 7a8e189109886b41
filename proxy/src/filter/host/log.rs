//! `log`: lines of a filter.

use wasmtime::Result;

use super::HostState;
use crate::filter::bindings::lockgate::filter::log::{self, Level};
use crate::filter::log as lines;

impl log::Host for HostState {
    fn enabled(&mut self, level: Level) -> Result<bool> {
        Ok(lines::is_wanted(self, level_of(level)))
    }

    fn log(&mut self, level: Level, message: String, fields: Vec<(String, String)>) -> Result<()> {
        lines::emit(self, level_of(level), &message, &fields);
        Ok(())
    }
}

fn level_of(level: Level) -> tracing::Level {
    match level {
        Level::Trace => tracing::Level::TRACE,
        Level::Debug => tracing::Level::DEBUG,
        Level::Info => tracing::Level::INFO,
        Level::Warn => tracing::Level::WARN,
        Level::Error => tracing::Level::ERROR,
    }
}
