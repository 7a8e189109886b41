//! What a filter shares, in the form in which one version of it keeps it.
//!
//! A version is built with the store that it will have. Where what there is has another
//! form, that store is filled only when it is known that the version goes on: one that
//! does not must cost nothing, and its failing must stop nobody.

use std::cell::OnceCell;
use std::rc::Rc;
use std::sync::Arc;

use super::version::Version;
use super::{Builder, Snapshot};
use crate::config;
use crate::filter::{LoadedFilter, Module, NotTakenOver, hand_over};
use crate::shared::{self, Store};

/// Where a version shares.
pub(super) struct Space {
    pub(super) store: Arc<Store>,
    pub(super) owed: Option<Rc<Owed>>,
}

/// Entries that are still to be brought into the form of a version. Those that share a
/// store have this in common.
pub(super) struct Owed {
    from: Arc<Store>,
    from_format: u32,
    to: Arc<Store>,
    taken_over: OnceCell<Result<(), NotTakenOver>>,
}

impl Owed {
    /// By this version, unless another one has tried before: what that left would be
    /// counted twice. Blocks while the guest runs.
    pub(super) fn take_over(&self, version: &LoadedFilter) -> Result<(), NotTakenOver> {
        let (module, filter) = (version.module(), version.block());
        let take_over = || hand_over(module, filter, (&self.from, self.from_format), &self.to);
        self.taken_over.get_or_init(take_over).clone()
    }
}

impl From<Arc<Store>> for Space {
    fn from(store: Arc<Store>) -> Self {
        Self { store, owed: None }
    }
}

impl Builder<'_> {
    /// What the filter shared so far, under the limits that it has until this
    /// configuration is published, and in the form of this version of it.
    pub(super) fn space(
        &self,
        filter: &config::Filter,
        module: &Module,
        before: Option<&Snapshot>,
        beside: Option<&Version>,
    ) -> Space {
        let format = module.format();
        let beside = beside.and_then(|beside| {
            let loaded = beside.known.good()?;
            let store = loaded.shared()?.clone();
            let owed = beside.owed.clone();
            (loaded.module().format() == format).then_some(Space { store, owed })
        });
        if let Some(beside) = beside {
            return beside;
        }
        let serving = before.and_then(|before| before.filter(&filter.name));
        let serving = serving.map(|serving| (serving.shared(), serving.module().format()));
        // What is newer than what serves is made of it anew; to what is older the
        // filter goes back.
        let is_newer = serving.is_some_and(|(_, serving)| format > serving);
        let known = self.stats.shared.find(&filter.name, format);
        if let Some(known) = known.filter(|_| !is_newer) {
            return known.into();
        }
        let new = || Arc::new(Store::new(shared_limits(filter)));
        match serving.and_then(|(shared, format)| Some((shared?, format))) {
            None => new().into(),
            Some((same, serving)) if serving == format => same.clone().into(),
            Some((from, from_format)) => {
                let store = new();
                let owed = Owed {
                    from: from.clone(),
                    from_format,
                    to: store.clone(),
                    taken_over: OnceCell::new(),
                };
                Space {
                    store,
                    owed: Some(Rc::new(owed)),
                }
            }
        }
    }
}

/// What the instances of a filter may share.
pub fn shared_limits(filter: &config::Filter) -> shared::Limits {
    shared::Limits {
        max_bytes: filter.limits.max_shared_bytes,
        max_entry_bytes: filter.limits.max_shared_entry_bytes,
    }
}
