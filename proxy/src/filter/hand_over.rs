//! Bringing what a filter shares into the form in which another version keeps it.

use std::sync::Arc;
use std::time::Instant;

use wasmtime::UpdateDeadline;

use super::bindings::hand_over::exports::lockgate::filter::hand_over::Stored;
use super::bindings::hand_over::{HandOver, HandOverPre};
use super::budget::{Tick, thread_cpu_time};
use super::fault::Failure;
use super::instance::{begin, end, failure, store};
use super::log;
use super::module::Module;
use super::state::{HostState, Owner};
use super::ticker;
use crate::config::Filter;
use crate::shared::{Copied, SharedError, Store, Value};

/// Why a version cannot go on with what the version before it shared.
#[derive(Debug, Clone, thiserror::Error)]
pub enum NotTakenOver {
    #[error("shares in the form {to} and cannot read the form {from}: it has no `hand-over`")]
    Unable { from: u32, to: u32 },
    #[error("cannot take over what is shared in the form {from}: {reason}")]
    Refused { from: u32, reason: String },
    #[error("failed in `hand-over.migrate`: {0}")]
    Failed(Failure),
    #[error("could not take over all {entries} shared entries within {limit:?}")]
    Late {
        entries: usize,
        limit: std::time::Duration,
    },
    #[error("makes a shared entry that is {0}")]
    Unfit(SharedError),
}

/// The form in which a component shares. Runs it.
pub(super) fn format(pre: &HandOverPre<HostState>) -> Result<u32, Failure> {
    At::work(pre, Owner::nobody())?.format()
}

/// Puts everything that `from` holds now into `to`, in the form of this module. `from`
/// stays as it is, and others may change it meanwhile. Blocks while the guest runs.
pub fn hand_over(
    module: &Module,
    filter: &Filter,
    (from, from_format): (&Store, u32),
    to: &Store,
) -> Result<(), NotTakenOver> {
    let unable = || NotTakenOver::Unable {
        from: from_format,
        to: module.format(),
    };
    let pre = module.hand_over().ok_or_else(unable)?;
    let owner = Owner {
        name: filter.name.clone(),
        limits: filter.limits.clone(),
        ..Owner::nobody()
    };
    let limit = filter.limits.hand_over;
    let started = Instant::now();
    let mut guest = At::work(pre, owner).map_err(NotTakenOver::Failed)?;
    let entries = from.copies(started);
    for entry in &entries {
        if started.elapsed() > limit {
            let entries = entries.len();
            return Err(NotTakenOver::Late { entries, limit });
        }
        let migrated = guest
            .migrate(from_format, entry)
            .map_err(NotTakenOver::Failed)?;
        let value = migrated.map_err(|reason| NotTakenOver::Refused {
            from: from_format,
            reason: log::clean(&reason, 1024),
        })?;
        if let Some(value) = value {
            let entry = Copied {
                value,
                ..entry.clone()
            };
            to.take(&entry, started).map_err(NotTakenOver::Unfit)?;
        }
    }
    Ok(())
}

/// An instance at work.
struct At {
    store: wasmtime::Store<HostState>,
    guest: HandOver,
}

impl At {
    fn work(pre: &HandOverPre<HostState>, owner: Owner) -> Result<Self, Failure> {
        let create_cpu = owner.limits.create_cpu;
        let mut store = store(pre.engine(), Arc::new(owner), 0);
        store.epoch_deadline_callback(|mut context| {
            ticker::is_felt();
            let state = context.data_mut();
            Ok(match state.budget.tick(thread_cpu_time()) {
                Tick::GoOn => UpdateDeadline::Continue(1),
                Tick::Over => UpdateDeadline::Interrupt,
            })
        });
        begin(&mut store, create_cpu);
        let guest = pre
            .instantiate(&mut store)
            .map_err(|error| failure(&store, &error))?;
        Ok(Self { store, guest })
    }

    fn format(&mut self) -> Result<u32, Failure> {
        self.begin();
        let func = self.guest.lockgate_filter_hand_over().func_format();
        let called = func.call(&mut self.store, ());
        end(&mut self.store, called).map(|(format,)| format)
    }

    fn migrate(
        &mut self,
        from: u32,
        entry: &Copied,
    ) -> Result<Result<Option<Value>, String>, Failure> {
        self.begin();
        let stored = match &entry.value {
            Value::Bytes(bytes) => Stored::Bytes(bytes.to_vec()),
            Value::Counter(count) => Stored::Counter(*count),
        };
        let func = self.guest.lockgate_filter_hand_over().func_migrate();
        let called = func.call(&mut self.store, (from, &entry.key, &stored));
        let (migrated,) = end(&mut self.store, called)?;
        Ok(migrated.map(|stored| {
            stored.map(|stored| match stored {
                Stored::Bytes(bytes) => Value::Bytes(bytes.into()),
                Stored::Counter(count) => Value::Counter(count),
            })
        }))
    }

    fn begin(&mut self) {
        let cpu = self.store.data().owner.limits.create_cpu;
        begin(&mut self.store, cpu);
    }
}
