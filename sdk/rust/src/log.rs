//! Structured logs. The proxy adds the filter, the route and the trace id.
//!
//! ```
//! use lockgate_sdk::log;
//!
//! let tries = 3;
//! log::info!("refused after {tries} tries", client = "192.0.2.1", status = 403);
//! ```
//!
//! Nothing is formatted when the proxy would not keep a message of that level.

use std::fmt::{Arguments, Display};

use crate::host;

pub use crate::{
    __log_debug as debug, __log_error as error, __log_info as info, __log_trace as trace,
    __log_warn as warn,
};

/// How much a message matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// About single exchanges.
    Trace,
    /// For whoever looks for a mistake.
    Debug,
    /// Rare, and normal.
    Info,
    /// Survived, but not normal.
    Warn,
    /// Needs a human.
    Error,
}

/// Whether a message of this level would be kept. Costs a call to the proxy;
/// the macros ask it.
pub fn enabled(level: Level) -> bool {
    host::log::enabled(level)
}

/// What the macros expand to.
#[doc(hidden)]
pub fn write(level: Level, message: Arguments<'_>, fields: &[(&str, &dyn Display)]) {
    let fields: Vec<_> = fields
        .iter()
        .map(|(name, value)| (*name, value.to_string()))
        .collect();
    match message.as_str() {
        Some(message) => host::log::log(level, message, &fields),
        None => host::log::log(level, &message.to_string(), &fields),
    }
}

#[doc(hidden)]
#[macro_export]
macro_rules! __log {
    ($level:expr, $message:literal $(, $name:ident = $value:expr)* $(,)?) => {
        if $crate::log::enabled($level) {
            $crate::log::write(
                $level,
                ::std::format_args!($message),
                &[$((::std::stringify!($name), &$value as &dyn ::std::fmt::Display)),*],
            );
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __log_trace {
    ($($rest:tt)*) => { $crate::__log!($crate::log::Level::Trace, $($rest)*) };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __log_debug {
    ($($rest:tt)*) => { $crate::__log!($crate::log::Level::Debug, $($rest)*) };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __log_info {
    ($($rest:tt)*) => { $crate::__log!($crate::log::Level::Info, $($rest)*) };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __log_warn {
    ($($rest:tt)*) => { $crate::__log!($crate::log::Level::Warn, $($rest)*) };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __log_error {
    ($($rest:tt)*) => { $crate::__log!($crate::log::Level::Error, $($rest)*) };
}
