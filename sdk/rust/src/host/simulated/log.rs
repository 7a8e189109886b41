//! The interface `log`.

use super::with;
use crate::log::Level;
use crate::testing::LogLine;

pub(crate) fn enabled(level: Level) -> bool {
    with(|simulated| level >= simulated.level)
}

pub(crate) fn log(level: Level, message: &str, fields: &[(&str, String)]) {
    with(|simulated| {
        simulated.logs.push(LogLine {
            level,
            message: message.to_owned(),
            fields: fields
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect(),
        });
    });
}
