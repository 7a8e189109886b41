//! Which version of a filter an exchange sees.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;
use std::sync::Arc;

use super::interest::Interest;
use super::pool::WorkerFilter;
use super::shadow::Shadow;
use super::view::View;
use crate::config::Sticky;

/// A filter's place in a chain, with every version that may stand there.
pub struct Place {
    pub stable: Rc<WorkerFilter>,
    pub canary: Option<WorkerCanary>,
    /// Compared with the stable one.
    pub shadow: Option<Arc<Shadow>>,
}

/// A version that serves a share of the exchanges.
pub struct WorkerCanary {
    pub filter: Rc<WorkerFilter>,
    /// Of 10,000 exchanges.
    pub share: u16,
    pub sticky_by: Sticky,
}

/// The version that an exchange has seen first, and sees to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Version {
    #[default]
    Stable,
    Canary,
}

impl From<Rc<WorkerFilter>> for Place {
    fn from(stable: Rc<WorkerFilter>) -> Self {
        Self {
            stable,
            canary: None,
            shadow: None,
        }
    }
}

impl Place {
    pub(super) fn filter(&self, version: Version) -> &Rc<WorkerFilter> {
        match (version, &self.canary) {
            (Version::Canary, Some(canary)) => &canary.filter,
            (Version::Canary | Version::Stable, _) => &self.stable,
        }
    }

    pub(super) fn pick(&self, view: &View) -> Version {
        match &self.canary {
            Some(canary) if canary.takes(view) => Version::Canary,
            Some(_) | None => Version::Stable,
        }
    }

    /// What any version wants to see.
    pub(super) fn interests(&self) -> impl Iterator<Item = &Interest> {
        let canary = self.canary.as_ref().map(|canary| &canary.filter);
        let serving = std::iter::once(&self.stable).chain(canary);
        let serving = serving.flat_map(|filter| filter.interests());
        let shadow = self
            .shadow
            .iter()
            .flat_map(|shadow| shadow.filter().configs());
        serving.chain(shadow.map(|config| &config.interest))
    }
}

impl WorkerCanary {
    /// Equal keys are answered alike by every worker.
    fn takes(&self, view: &View) -> bool {
        let name = self.filter.loaded().name();
        let place = match &self.sticky_by {
            Sticky::Chance => Some(fastrand::u16(..10_000)),
            Sticky::Address => Some(place_of(name, view.client_address)),
            Sticky::Header(field) => {
                let value = view.request.headers.get(field.as_str());
                value.map(|value| place_of(name, value.as_bytes()))
            }
            Sticky::Attribute(wanted) => {
                let mut attributes = view.attributes.iter();
                let known = attributes.find(|(known, _)| known == wanted);
                known.map(|(_, value)| place_of(name, value.as_str()))
            }
        };
        place.is_some_and(|place| place < self.share)
    }
}

/// One of 10,000 places, another for each filter.
fn place_of(filter: &str, key: impl Hash) -> u16 {
    let mut hasher = DefaultHasher::new();
    filter.hash(&mut hasher);
    key.hash(&mut hasher);
    (hasher.finish() % 10_000) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_spread_evenly_and_stay_where_they_are() {
        let within = |share| (0..10_000_u32).filter(move |key| place_of("auth", key) < share);
        let count = within(500).count();
        assert!((400..600).contains(&count), "{count} of 10,000");
        assert!(within(500).eq(within(500)));
        // Who sees the canary of one filter is not who sees that of another.
        let of_both = within(500)
            .filter(|key| place_of("router", key) < 500)
            .count();
        assert!(of_both < 60, "{of_both}");
        // A larger share only adds to a smaller one.
        assert!(within(500).all(|key| place_of("auth", key) < 1000));
    }
}
