//! From the configuration as it is written to routes that work.
//!
//! Takes the shapes of `config`, gives routes or every mistake at once, each
//! with its place. Nothing later checks again.

mod action;
mod condition;

use std::collections::HashMap;

use crate::config::{Config, RouteConfig};
use crate::mistakes::{Mistake, Mistakes, Place};
use crate::pattern::Pattern;
use crate::route::Route;

/// What all expressions together may take, in each instance.
const MAX_PATTERN_BYTES: usize = 16 << 20;
/// Names go into logs and labels of metrics.
const MAX_NAME_BYTES: usize = 128;

/// Check a configuration.
pub fn check(config: &Config) -> Result<Vec<Route>, Vec<Mistake>> {
    let mut checker = Checker::default();
    let place = Place::ROOT.key("routes");
    let routes: Vec<_> = (config.routes.iter().enumerate())
        .filter_map(|(index, route)| checker.route(route, index, &place.item(index)))
        .collect();
    match checker.mistakes.into_list() {
        mistakes if mistakes.is_empty() => Ok(routes),
        mistakes => Err(mistakes),
    }
}

#[derive(Default)]
struct Checker<'a> {
    mistakes: Mistakes,
    /// The names so far, and which route has them.
    names: HashMap<&'a str, usize>,
    /// What the expressions so far take.
    pattern_bytes: usize,
}

impl<'a> Checker<'a> {
    /// All parts are looked at even where one is wrong.
    fn route(&mut self, config: &'a RouteConfig, index: usize, place: &Place) -> Option<Route> {
        let name = self.name(&config.name, index, &place.key("name"));
        let conditions = self.conditions(&config.condition, &place.key("match"));
        let action = self.action(config, &conditions.path, place);
        Some(Route {
            name: name?,
            conditions,
            action: action?,
        })
    }

    fn name(&mut self, name: &'a str, index: usize, place: &Place) -> Option<Box<str>> {
        if name.is_empty() || name.len() > MAX_NAME_BYTES || name.chars().any(char::is_control) {
            let message = format!("wanted a name of 1 to {MAX_NAME_BYTES} bytes in one line");
            self.mistakes.add(place, message);
            return None;
        }
        if let Some(first) = self.names.get(name) {
            let message = format!("`/routes/{first}` has the name `{name}` already");
            self.mistakes.add(place, message);
            return None;
        }
        self.names.insert(name, index);
        Some(name.into())
    }

    fn pattern(&mut self, source: &str, place: &Place) -> Option<Box<Pattern>> {
        let pattern = self.mistakes.take(place, Pattern::new(source))?;
        let before = self.pattern_bytes;
        self.pattern_bytes += pattern.memory();
        // Said once, where the limit is passed.
        if before <= MAX_PATTERN_BYTES && self.pattern_bytes > MAX_PATTERN_BYTES {
            let message = format!(
                "the regular expressions up to here take more than {} MiB",
                MAX_PATTERN_BYTES >> 20
            );
            self.mistakes.add(place, message);
        }
        Some(Box::new(pattern))
    }
}

#[cfg(test)]
mod tests;
