//! The versions of filters that were there before this one.

use std::sync::Arc;

use crate::config::Name;
use crate::filter::LoadedFilter;
use crate::state::{Decision, Good, Records};

/// What is known of versions when the next ones are built.
#[derive(Clone, Default)]
pub struct Past {
    pub records: Records,
    /// Good versions that are in memory. All others have to be built once more.
    pub good: Vec<Arc<LoadedFilter>>,
}

impl Past {
    pub(super) fn loaded(&self, filter: &Name) -> Option<&Arc<LoadedFilter>> {
        self.good.iter().find(|good| good.name() == filter)
    }

    pub(super) fn recorded(&self, filter: &Name) -> Option<&Good> {
        self.records.filters.get(filter)?.good.as_ref()
    }

    /// What was decided about these two versions, if anything, where the file says what it
    /// said then.
    pub(super) fn decided(
        &self,
        stable: &LoadedFilter,
        canary: &LoadedFilter,
        block: &str,
    ) -> Option<&Decision> {
        let record = self.records.filters.get(stable.name())?;
        let settled = record.decision.as_ref()?;
        let decision = &settled.decision;
        let is_same = decision.stable == stable.identity() && decision.canary == canary.identity();
        (is_same && settled.block == block).then_some(decision)
    }

    /// Why a version failed on its probation, if it did.
    pub(super) fn failed(&self, filter: &LoadedFilter) -> Option<&str> {
        let record = self.records.filters.get(filter.name())?;
        let mut failed = record.failed.iter();
        let failed = failed.find(|failed| failed.identity == filter.identity())?;
        Some(&failed.why)
    }
}
