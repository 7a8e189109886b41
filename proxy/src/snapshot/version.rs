//! One version of a filter: how much is known of it, where its component came from, and
//! what it has to do before it may serve.

use std::rc::Rc;
use std::sync::Arc;

use super::filters::{Origin, about_component};
use super::space::Owed;
use crate::config::{Config, Mistake, Name};
use crate::filter::{Configured, LoadedFilter};

/// A filter, and how much is known of what it wants.
pub enum Known {
    Good(Arc<LoadedFilter>),
    /// Its schema found mistakes, and it is good with something else in their place.
    Mended(Arc<LoadedFilter>),
    /// Good in these configurations only.
    Refused(Name, Vec<Configured>),
    /// It has no component that could be asked.
    Mute(Name),
}

impl Known {
    pub fn name(&self) -> &Name {
        match self {
            Known::Good(loaded) | Known::Mended(loaded) => loaded.name(),
            Known::Refused(name, _) | Known::Mute(name) => name,
        }
    }

    pub fn good(&self) -> Option<&Arc<LoadedFilter>> {
        match self {
            Known::Good(loaded) => Some(loaded),
            Known::Mended(_) | Known::Refused(..) | Known::Mute(_) => None,
        }
    }

    /// One that has a component, however good its configuration.
    pub fn loaded(&self) -> Option<&Arc<LoadedFilter>> {
        match self {
            Known::Good(loaded) | Known::Mended(loaded) => Some(loaded),
            Known::Refused(..) | Known::Mute(_) => None,
        }
    }

    /// The configurations that it took.
    pub fn configs(&self) -> &[Configured] {
        match self {
            Known::Good(loaded) | Known::Mended(loaded) => loaded.configs(),
            Known::Refused(_, configs) => configs,
            Known::Mute(_) => &[],
        }
    }
}

/// One version of a filter.
pub(super) struct Version {
    pub(super) known: Known,
    pub(super) origin: Origin,
    /// What is to be done before it may serve.
    pub(super) owed: Option<Rc<Owed>>,
}

/// One that may serve, once it has taken over what it owes.
pub(super) struct Ready {
    pub(super) filter: Arc<LoadedFilter>,
    pub(super) origin: Origin,
    owed: Option<Rc<Owed>>,
}

impl Version {
    pub(super) fn ready(&self) -> Option<Ready> {
        Some(Ready {
            filter: self.known.good()?.clone(),
            origin: self.origin.clone(),
            owed: self.owed.clone(),
        })
    }
}

impl Ready {
    /// Takes over what is shared in another form. Blocks while the guest runs.
    pub(super) fn take_over(&self, config: &Config) -> Result<(), Mistake> {
        let Some(owed) = &self.owed else {
            return Ok(());
        };
        owed.take_over(&self.filter).map_err(|error| {
            let filter = self.filter.block();
            let found = format!("`{}`, which {error}", filter.component);
            let wanted = "a version that goes on with what is shared";
            about_component(config, filter, found, wanted)
        })
    }
}
