//! One instance of a component in a store of its own, and the calls into it.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::ResourceAny;
use wasmtime::{Store, Trap, UpdateDeadline};

use super::bindings::exports::lockgate::filter::http_filter::{
    BodyVerdict, Buffered, Interest as RawInterest, Manifest as RawManifest, Verdict,
};
use super::bindings::lockgate::filter::types::ConfigError;
use super::bindings::{Filter, FilterPre};
use super::budget::{Tick, thread_cpu_time};
use super::fault::{Failure, FilterFault, LimitBroken};
use super::interest::Interest;
use super::state::{Call, HostState, Owner, Remark};
use super::view::View;
use super::{log, wasi};

/// Bytes that one call into the host, or one answer of the guest, may carry.
const MAX_TRANSFER_BYTES: usize = 16 << 20;
/// Handles that a guest may hold at once; the host pays for each.
const MAX_HANDLES: usize = 16 << 10;

/// What a component says about itself, asked in an instance for just that.
pub fn describe(pre: &FilterPre<HostState>) -> Result<RawManifest, Failure> {
    Instance::make(pre, Arc::new(Owner::nobody()), 0)?.describe()
}

/// A component at work. A call that ends badly leaves it unusable.
pub struct Instance {
    store: Store<HostState>,
    filter: Filter,
    /// By configuration; made when first needed.
    handles: Vec<Option<ResourceAny>>,
}

impl Instance {
    pub fn make(
        pre: &FilterPre<HostState>,
        owner: Arc<Owner>,
        worker: usize,
    ) -> Result<Self, Failure> {
        let create_cpu = owner.limits.create_cpu;
        let mut store = Store::new(pre.engine(), HostState::new(owner, worker));
        store.limiter(|state| &mut state.memory);
        store.epoch_deadline_callback(|mut context| {
            Ok(match context.data_mut().budget.tick(thread_cpu_time()) {
                Tick::GoOn => UpdateDeadline::Continue(1),
                Tick::Over => UpdateDeadline::Interrupt,
            })
        });
        store.set_hostcall_fuel(MAX_TRANSFER_BYTES);
        store.set_max_component_handles(MAX_HANDLES);
        // A component's own start functions run here.
        begin(&mut store, create_cpu);
        let filter = pre.instantiate(&mut store).map_err(|error| {
            let is_cap = error.is::<wasmtime::PoolConcurrencyLimitError>();
            match failure(&store, &error) {
                Failure {
                    fault: FilterFault::Trap,
                    detail,
                } if is_cap => Failure::new(FilterFault::NoInstance, detail),
                failure => failure,
            }
        })?;
        Ok(Self {
            store,
            filter,
            handles: Vec::new(),
        })
    }

    /// From now on it works and counts for this worker.
    pub fn adopt(&mut self, worker: usize, interests: Arc<[Interest]>) {
        let state = self.store.data_mut();
        state.worker = worker;
        state.interests = interests;
    }

    fn describe(&mut self) -> Result<RawManifest, Failure> {
        self.begin_outside();
        let guest = self.filter.lockgate_filter_http_filter();
        let described = guest.call_describe(&mut self.store);
        self.end(described)
    }

    /// Gives the guest a configuration, which it may refuse. What it accepted
    /// answers to this number.
    pub fn create(&mut self, config: usize, json: &str) -> Result<Vec<ConfigError>, Failure> {
        self.begin_outside();
        let guest = self.filter.lockgate_filter_http_filter().filter();
        let created = guest.call_create(&mut self.store, json);
        match self.end(created)? {
            Ok(handle) => {
                self.handles
                    .resize(self.handles.len().max(config + 1), None);
                self.handles[config] = Some(handle);
                Ok(Vec::new())
            }
            Err(mistakes) if mistakes.is_empty() => Ok(vec![ConfigError {
                at: String::new(),
                message: "refused without a reason".into(),
            }]),
            Err(mistakes) => Ok(mistakes),
        }
    }

    pub fn wants(&mut self, config: usize) -> Result<RawInterest, Failure> {
        let handle = self.created(config)?;
        self.begin_outside();
        let guest = self.filter.lockgate_filter_http_filter().filter();
        let wanted = guest.call_wants(&mut self.store, handle);
        self.end(wanted)
    }

    /// What the guest warned about since this was last asked.
    pub fn take_remarks(&mut self) -> Vec<Remark> {
        std::mem::take(&mut self.store.data_mut().remarks)
    }

    /// Whether it has this configuration.
    pub fn has(&self, config: usize) -> bool {
        self.handles.get(config).is_some_and(Option::is_some)
    }

    fn created(&self, config: usize) -> Result<ResourceAny, Failure> {
        let handle = self.handles.get(config).copied().flatten();
        handle.ok_or_else(|| Failure::new(FilterFault::Create, "there is no such configuration"))
    }

    pub fn on_request(&mut self, config: usize, fields: &Vec<u8>) -> Result<Verdict, Failure> {
        let handle = self.created(config)?;
        self.begin_phase();
        let guest = self.filter.lockgate_filter_http_filter().filter();
        let verdict = guest.call_on_request(&mut self.store, handle, fields);
        self.end(verdict)?.map_err(said)
    }

    pub fn on_response(&mut self, config: usize, fields: &Vec<u8>) -> Result<Verdict, Failure> {
        let handle = self.created(config)?;
        self.begin_phase();
        let guest = self.filter.lockgate_filter_http_filter().filter();
        let verdict = guest.call_on_response(&mut self.store, handle, fields);
        self.end(verdict)?.map_err(said)
    }

    pub fn on_request_body(
        &mut self,
        config: usize,
        body: &Buffered,
    ) -> Result<BodyVerdict, Failure> {
        let handle = self.created(config)?;
        self.begin_phase();
        let guest = self.filter.lockgate_filter_http_filter().filter();
        let verdict = guest.call_on_request_body(&mut self.store, handle, body);
        self.end(verdict)?.map_err(said)
    }

    pub fn on_response_body(
        &mut self,
        config: usize,
        body: &Buffered,
    ) -> Result<BodyVerdict, Failure> {
        let handle = self.created(config)?;
        self.begin_phase();
        let guest = self.filter.lockgate_filter_http_filter().filter();
        let verdict = guest.call_on_response_body(&mut self.store, handle, body);
        self.end(verdict)?.map_err(said)
    }

    pub fn on_request_trailers(&mut self, config: usize) -> Result<(), Failure> {
        let handle = self.created(config)?;
        self.begin_phase();
        let guest = self.filter.lockgate_filter_http_filter().filter();
        let done = guest.call_on_request_trailers(&mut self.store, handle);
        self.end(done)?.map_err(said)
    }

    pub fn on_response_trailers(&mut self, config: usize) -> Result<(), Failure> {
        let handle = self.created(config)?;
        self.begin_phase();
        let guest = self.filter.lockgate_filter_http_filter().filter();
        let done = guest.call_on_response_trailers(&mut self.store, handle);
        self.end(done)?.map_err(said)
    }

    /// Passes a piece of a body through a transform.
    pub fn push(&mut self, transform: ResourceAny, chunk: &[u8]) -> Result<Vec<u8>, Failure> {
        self.begin_phase();
        let guest = self.filter.lockgate_filter_http_filter().transform();
        let given = guest.call_push(&mut self.store, transform, chunk);
        self.end(given)?.map_err(said)
    }

    /// Tells a transform that the body is over, and lets it go.
    pub fn finish(&mut self, transform: ResourceAny) -> Result<Vec<u8>, Failure> {
        self.begin_phase();
        let guest = self.filter.lockgate_filter_http_filter().transform();
        let given = guest.call_finish(&mut self.store, transform);
        let given = self.end(given)?.map_err(said)?;
        self.let_go(transform)?;
        Ok(given)
    }

    /// Frees a transform that is not used any more.
    pub fn let_go(&mut self, transform: ResourceAny) -> Result<(), Failure> {
        self.begin_phase();
        let dropped = transform.resource_drop(&mut self.store);
        self.end(dropped)
    }

    pub fn on_done(&mut self, config: usize) -> Result<(), Failure> {
        let handle = self.created(config)?;
        self.begin_phase();
        let guest = self.filter.lockgate_filter_http_filter().filter();
        let done = guest.call_on_done(&mut self.store, handle);
        self.end(done)
    }

    /// Lends the exchange for one call.
    pub fn enter(&mut self, call: Call) {
        self.store.data_mut().call = call;
    }

    /// Takes the exchange back, with or without what the call did to it.
    pub fn leave(&mut self, keep_changes: bool) -> Box<View> {
        let state = self.store.data_mut();
        let call = std::mem::take(&mut state.call);
        let mut view = call.view.expect("only `enter` and `leave` move it");
        match keep_changes {
            true => state.journal.commit(),
            false => state.journal.roll_back(&mut view),
        }
        view
    }

    fn begin_phase(&mut self) {
        let cpu = self.store.data().owner.limits.cpu;
        begin(&mut self.store, cpu);
    }

    fn begin_outside(&mut self) {
        let cpu = self.store.data().owner.limits.create_cpu;
        begin(&mut self.store, cpu);
    }

    fn end<T>(&mut self, outcome: wasmtime::Result<T>) -> Result<T, Failure> {
        let state = self.store.data_mut();
        wasi::flush(state);
        log::finish(state);
        outcome.map_err(|error| failure(&self.store, &error))
    }
}

fn begin(store: &mut Store<HostState>, cpu: Duration) {
    store.set_epoch_deadline(1);
    let state = store.data_mut();
    state.budget.start(cpu);
    state.log.start(state.owner.limits.max_log_lines);
    state.memory.has_refused = false;
}

/// The `err` of a phase.
fn said(message: String) -> Failure {
    Failure::new(FilterFault::Error, log::clean(&message, 1024))
}

/// Gives the failure of a call its name.
fn failure(store: &Store<HostState>, error: &wasmtime::Error) -> Failure {
    let cause = error.root_cause().to_string();
    let trap = error.downcast_ref::<Trap>();
    let fault = match trap {
        Some(Trap::Interrupt) => FilterFault::Overrun,
        Some(Trap::StackOverflow) => FilterFault::Stack,
        _ if error.is::<LimitBroken>() => FilterFault::OutputLimit,
        _ if store.data().memory.has_refused => FilterFault::Memory,
        Some(_) | None => FilterFault::Trap,
    };
    Failure::new(fault, log::clean(&cause, 1024))
}
