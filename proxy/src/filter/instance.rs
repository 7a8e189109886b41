//! One instance of a component in a store of its own, and the calls into it.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use wasmtime::component::{ComponentNamedList, Lift, Lower, ResourceAny, TypedFunc};
use wasmtime::{Engine, PoolConcurrencyLimitError, Store, Trap, UpdateDeadline};

use super::bindings::Filter;
use super::bindings::connection::Tcp;
use super::bindings::connection::exports::lockgate::filter::connection_filter;
use super::bindings::exports::lockgate::filter::http_filter;
use super::bindings::exports::lockgate::filter::http_filter::{BodyVerdict, Buffered, Verdict};
use super::bindings::lockgate::filter::types::{ConfigError, Manifest as RawManifest};
use super::budget::{Tick, thread_cpu_time};
use super::fault::{Failure, FilterFault, LimitBroken};
use super::granted::GrantedSecrets;
use super::interest::Interest;
use super::module::{GuestPre, Module, Waits};
use super::presence::Presence;
use super::state::{Call, HostState, Owner, Phase, Remark};
use super::ticker;
use super::view::View;
use super::{log, wasi};

/// Bytes that one call into the host, or one answer of the guest, may carry beyond the
/// largest thing that its limits let it give.
const MORE_TRANSFER_BYTES: usize = 1 << 20;
/// At least: a `state` or a call's body is no answer.
const MIN_TRANSFER_BYTES: usize = 16 << 20;
/// Of what is told of a connection that was refused.
const MAX_REASON_BYTES: usize = 1024;
/// Of the error when it is more, which has no type of its own.
const TRANSFER_EXHAUSTED: &str = "fuel allocated for hostcalls has been exhausted";
/// Handles that a guest may hold at once; the host pays for each.
const MAX_HANDLES: usize = 16 << 10;

/// What a component says about itself, asked in an instance for just that.
pub fn describe(pre: &GuestPre) -> Result<RawManifest, Failure> {
    let owner = Arc::new(Owner::nobody());
    let cpu = owner.limits.create_cpu;
    Instance::start(pre, Waits::Never, owner, 0, cpu)?.describe()
}

/// A component at work. A call that ends badly leaves it unusable.
pub struct Instance {
    store: Store<HostState>,
    guest: Guest,
    /// By configuration; made when first needed.
    handles: Vec<Option<ResourceAny>>,
    waits: Waits,
    /// What it may use of the processor for each of `create` and `wants`.
    outside_cpu: Duration,
    /// There once a worker has it.
    presence: Option<Presence>,
}

/// What it exports, by the kind of its filter.
pub(super) enum Guest {
    Http(Filter),
    Connection(Tcp),
}

impl Guest {
    fn http(&self) -> Result<&http_filter::Guest, Failure> {
        match self {
            Guest::Http(filter) => Ok(filter.lockgate_filter_http_filter()),
            Guest::Connection(_) => Err(Self::of_the_other()),
        }
    }

    fn connection(&self) -> Result<&connection_filter::Guest, Failure> {
        match self {
            Guest::Connection(filter) => Ok(filter.lockgate_filter_connection_filter()),
            Guest::Http(_) => Err(Self::of_the_other()),
        }
    }

    /// Configurations with a filter in the wrong place are refused.
    fn of_the_other() -> Failure {
        Failure::new(FilterFault::Create, "it is a filter of the other kind")
    }
}

/// What a call leaves.
pub struct Left {
    pub view: Box<View>,
    /// How often it called into the host.
    pub host_calls: u32,
    /// CPU time that the thread used for others while it waited.
    pub away: Duration,
}

impl Instance {
    /// Outside of exchanges it may use so much of the processor at once.
    pub fn make(
        module: &Module,
        owner: Arc<Owner>,
        worker: usize,
        outside_cpu: Duration,
    ) -> Result<Self, Failure> {
        let (pre, waits) = module.pre(!owner.call.is_empty());
        Self::start(pre, waits, owner, worker, outside_cpu)
    }

    fn start(
        pre: &GuestPre,
        waits: Waits,
        owner: Arc<Owner>,
        worker: usize,
        outside_cpu: Duration,
    ) -> Result<Self, Failure> {
        let mut store = store(pre.engine(), owner, worker);
        store.epoch_deadline_callback(|mut context| {
            ticker::is_felt();
            let state = context.data_mut();
            state.check_host_calls()?;
            Ok(match state.budget.tick(thread_cpu_time()) {
                Tick::GoOn => UpdateDeadline::Continue(1),
                Tick::Over => UpdateDeadline::Interrupt,
            })
        });
        // A component's own start functions run here.
        begin(&mut store, outside_cpu);
        let guest = instantiate(pre, waits, &mut store).map_err(|error| failure(&store, &error))?;
        Ok(Self {
            store,
            guest,
            handles: Vec::new(),
            waits,
            outside_cpu,
            presence: None,
        })
    }

    /// From now on it works and counts for this worker.
    pub fn adopt(&mut self, worker: usize, interests: Arc<[Interest]>) {
        let state = self.store.data_mut();
        state.worker = worker;
        state.interests = interests;
        let stats = state.owner.stats.clone();
        self.presence = Some(Presence::new(stats, worker, state.memory.bytes()));
    }

    fn describe(&mut self) -> Result<RawManifest, Failure> {
        self.begin_outside();
        let func = match &self.guest {
            Guest::Http(filter) => filter.lockgate_filter_http_filter().func_describe(),
            Guest::Connection(filter) => {
                let guest = filter.lockgate_filter_connection_filter();
                guest.func_describe()
            }
        };
        let described = run(&mut self.store, self.waits, func, ());
        self.end(described).map(|(manifest,)| manifest)
    }

    /// Gives the guest a configuration, which it may refuse. What it accepted
    /// answers to this number.
    pub fn create(&mut self, config: usize, json: &str) -> Result<Vec<ConfigError>, Failure> {
        self.begin_outside();
        let created = match &self.guest {
            Guest::Http(filter) => {
                let guest = filter.lockgate_filter_http_filter().filter();
                run(&mut self.store, self.waits, guest.func_create(), (json,))
            }
            Guest::Connection(filter) => {
                let guest = filter.lockgate_filter_connection_filter().filter();
                run(&mut self.store, self.waits, guest.func_create(), (json,))
            }
        };
        match self.end(created)?.0 {
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

    /// What it wants, or what is wrong with that.
    pub fn wants(&mut self, config: usize) -> Result<Result<Interest, Vec<String>>, Failure> {
        let handle = self.created(config)?;
        self.begin_outside();
        match &self.guest {
            Guest::Http(filter) => {
                let func = filter.lockgate_filter_http_filter().filter().func_wants();
                let wanted = run(&mut self.store, self.waits, func, (handle,));
                self.end(wanted).map(|(raw,)| Interest::check(raw))
            }
            Guest::Connection(filter) => {
                let guest = filter.lockgate_filter_connection_filter();
                let func = guest.filter().func_wants();
                let wanted = run(&mut self.store, self.waits, func, (handle,));
                self.end(wanted)
                    .map(|(raw,)| Ok(Interest::of_connections(raw)))
            }
        }
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

    pub async fn on_request(
        &mut self,
        config: usize,
        fields: &Vec<u8>,
    ) -> Result<Verdict, Failure> {
        let handle = self.created(config)?;
        self.begin_phase();
        let guest = self.guest.http()?.filter();
        let func = guest.func_on_request();
        let verdict = run_waiting(&mut self.store, self.waits, func, (handle, fields)).await;
        self.end(verdict)?.0.map_err(|message| self.said(message))
    }

    pub async fn on_response(
        &mut self,
        config: usize,
        fields: &Vec<u8>,
    ) -> Result<Verdict, Failure> {
        let handle = self.created(config)?;
        self.begin_phase();
        let guest = self.guest.http()?.filter();
        let func = guest.func_on_response();
        let verdict = run_waiting(&mut self.store, self.waits, func, (handle, fields)).await;
        self.end(verdict)?.0.map_err(|message| self.said(message))
    }

    pub async fn on_request_body(
        &mut self,
        config: usize,
        body: &Buffered,
    ) -> Result<BodyVerdict, Failure> {
        let handle = self.created(config)?;
        self.begin_phase();
        let guest = self.guest.http()?.filter();
        let func = guest.func_on_request_body();
        let verdict = run_waiting(&mut self.store, self.waits, func, (handle, body)).await;
        self.end(verdict)?.0.map_err(|message| self.said(message))
    }

    pub async fn on_response_body(
        &mut self,
        config: usize,
        body: &Buffered,
    ) -> Result<BodyVerdict, Failure> {
        let handle = self.created(config)?;
        self.begin_phase();
        let guest = self.guest.http()?.filter();
        let func = guest.func_on_response_body();
        let verdict = run_waiting(&mut self.store, self.waits, func, (handle, body)).await;
        self.end(verdict)?.0.map_err(|message| self.said(message))
    }

    pub fn on_request_trailers(&mut self, config: usize) -> Result<(), Failure> {
        let handle = self.created(config)?;
        self.begin_phase();
        let guest = self.guest.http()?.filter();
        let func = guest.func_on_request_trailers();
        let done = run(&mut self.store, self.waits, func, (handle,));
        self.end(done)?.0.map_err(|message| self.said(message))
    }

    pub fn on_response_trailers(&mut self, config: usize) -> Result<(), Failure> {
        let handle = self.created(config)?;
        self.begin_phase();
        let guest = self.guest.http()?.filter();
        let func = guest.func_on_response_trailers();
        let done = run(&mut self.store, self.waits, func, (handle,));
        self.end(done)?.0.map_err(|message| self.said(message))
    }

    /// Passes a piece of a body through a transform.
    pub fn push(&mut self, transform: ResourceAny, chunk: &[u8]) -> Result<Vec<u8>, Failure> {
        self.begin_phase();
        let guest = self.guest.http()?.transform();
        let func = guest.func_push();
        let given = run(&mut self.store, self.waits, func, (transform, chunk));
        self.end(given)?.0.map_err(|message| self.said(message))
    }

    /// Tells a transform that the body is over, and lets it go.
    pub fn finish(&mut self, transform: ResourceAny) -> Result<Vec<u8>, Failure> {
        self.begin_phase();
        let guest = self.guest.http()?.transform();
        let func = guest.func_finish();
        let given = run(&mut self.store, self.waits, func, (transform,));
        let given = self.end(given)?.0.map_err(|message| self.said(message))?;
        self.let_go(transform)?;
        Ok(given)
    }

    /// Frees a transform that is not used any more.
    pub fn let_go(&mut self, transform: ResourceAny) -> Result<(), Failure> {
        self.begin_phase();
        let dropped = match self.waits {
            Waits::Sometimes => at_once(transform.resource_drop_async(&mut self.store)),
            Waits::Never => transform.resource_drop(&mut self.store),
        };
        self.end(dropped)
    }

    /// The reason of a refusal, where it refuses the connection.
    pub async fn on_connection(
        &mut self,
        config: usize,
        preview: &[u8],
    ) -> Result<Option<String>, Failure> {
        let handle = self.created(config)?;
        self.begin_phase();
        let guest = self.guest.connection()?.filter();
        let func = guest.func_on_connection();
        let verdict = run_waiting(&mut self.store, self.waits, func, (handle, preview)).await;
        match self.end(verdict)?.0 {
            Ok(connection_filter::Verdict::Next) => Ok(None),
            Ok(connection_filter::Verdict::Deny(reason)) => {
                let reason = self.secrets().mask(&reason);
                Ok(Some(log::clean(&reason, MAX_REASON_BYTES)))
            }
            Err(message) => Err(self.said(message)),
        }
    }

    pub fn on_done(&mut self, config: usize) -> Result<(), Failure> {
        let handle = self.created(config)?;
        self.begin_phase();
        let func = match &self.guest {
            Guest::Http(filter) => filter.lockgate_filter_http_filter().filter().func_on_done(),
            Guest::Connection(filter) => {
                let guest = filter.lockgate_filter_connection_filter();
                guest.filter().func_on_done()
            }
        };
        let done = run(&mut self.store, self.waits, func, (handle,));
        self.end(done)
    }

    /// Lends the exchange for one call.
    pub fn enter(&mut self, call: Call) {
        self.store.data_mut().call = call;
    }

    /// Takes the exchange back, with or without what the call did to it.
    pub fn leave(&mut self, keep_changes: bool) -> Left {
        let state = self.store.data_mut();
        let call = std::mem::take(&mut state.call);
        let mut view = call.view.expect("only `enter` and `leave` move it");
        let host_calls = call.spent.host_calls - call.host_calls_before;
        if call.phase != Phase::Transform && !call.spent.is_nothing() {
            view.note_spent(call.spent);
        }
        state.calls.clear();
        match keep_changes {
            true => state.journal.commit(),
            false => state.journal.roll_back(&mut view),
        }
        if let Some(presence) = &mut self.presence {
            presence.update(state.memory.bytes());
        }
        Left {
            view,
            host_calls,
            away: call.away,
        }
    }

    fn begin_phase(&mut self) {
        let cpu = self.store.data().owner.limits.cpu;
        begin(&mut self.store, cpu);
    }

    fn begin_outside(&mut self) {
        begin(&mut self.store, self.outside_cpu);
    }

    /// The secrets that its filter may use.
    pub fn secrets(&self) -> &GrantedSecrets {
        &self.store.data().owner.granted.secrets
    }

    fn end<T>(&mut self, outcome: wasmtime::Result<T>) -> Result<T, Failure> {
        end(&mut self.store, outcome)
    }

    /// The `err` of a phase.
    fn said(&self, message: String) -> Failure {
        said(&self.store, FilterFault::Error, &message)
    }
}

/// Ends a call, however it went.
pub(super) fn end<T>(
    store: &mut Store<HostState>,
    outcome: wasmtime::Result<T>,
) -> Result<T, Failure> {
    let state = store.data_mut();
    wasi::flush(state);
    log::finish(state);
    let in_time = state.end_budget();
    let outcome = state.check_host_calls().and(outcome);
    let outcome = outcome.and_then(|value| in_time.map(|()| value));
    outcome.map_err(|error| failure(store, &error))
}

/// What the guest said of its own failure, without what it may not tell.
pub(super) fn said(store: &Store<HostState>, fault: FilterFault, message: &str) -> Failure {
    let message = store.data().owner.granted.secrets.mask(message);
    Failure::new(fault, log::clean(&message, 1024))
}

/// What one call into the host, or one answer of the guest, may carry.
fn transfer_bytes(owner: &Owner) -> usize {
    let limits = &owner.limits;
    let largest = limits.max_reply_bytes.max(limits.max_output_bytes);
    (largest + MORE_TRANSFER_BYTES).max(MIN_TRANSFER_BYTES)
}

/// A store for one instance, under the limits of its filter but that of time.
pub(super) fn store(engine: &Engine, owner: Arc<Owner>, worker: usize) -> Store<HostState> {
    let transfer = transfer_bytes(&owner);
    let mut store = Store::new(engine, HostState::new(owner, worker));
    store.limiter(|state| &mut state.memory);
    store.set_hostcall_fuel(transfer);
    store.set_max_component_handles(MAX_HANDLES);
    store
}

/// Calls the guest, which may wait in the middle if it can at all. Only then it
/// runs on a stack of its own. Dropped while it waits, the instance must not be
/// called again.
async fn run_waiting<P, R>(
    store: &mut Store<HostState>,
    waits: Waits,
    func: TypedFunc<P, R>,
    params: P,
) -> wasmtime::Result<R>
where
    P: ComponentNamedList + Lower,
    R: ComponentNamedList + Lift + 'static,
{
    match waits {
        Waits::Sometimes => Box::pin(func.call_async(store, params)).await,
        Waits::Never => func.call(store, params),
    }
}

/// Calls the guest, for what has nothing to wait for.
fn run<P, R>(
    store: &mut Store<HostState>,
    waits: Waits,
    func: TypedFunc<P, R>,
    params: P,
) -> wasmtime::Result<R>
where
    P: ComponentNamedList + Lower,
    R: ComponentNamedList + Lift + 'static,
{
    match waits {
        Waits::Sometimes => at_once(func.call_async(store, params)),
        Waits::Never => func.call(store, params),
    }
}

fn instantiate(
    pre: &GuestPre,
    waits: Waits,
    store: &mut Store<HostState>,
) -> wasmtime::Result<Guest> {
    if waits == Waits::Never {
        return match pre {
            GuestPre::Http(pre) => pre.instantiate(store).map(Guest::Http),
            GuestPre::Connection(pre) => pre.instantiate(store).map(Guest::Connection),
        };
    }
    let instance = at_once(pre.instance_pre().instantiate_async(&mut *store))?;
    match pre {
        GuestPre::Http(_) => Filter::new(store, &instance).map(Guest::Http),
        GuestPre::Connection(_) => Tcp::new(store, &instance).map(Guest::Connection),
    }
}

/// What runs on a stack of its own only because other calls may have to wait.
fn at_once<T>(work: impl Future<Output = wasmtime::Result<T>>) -> wasmtime::Result<T> {
    let mut context = Context::from_waker(Waker::noop());
    match pin!(work).poll(&mut context) {
        Poll::Ready(done) => done,
        Poll::Pending => Err(wasmtime::Error::msg("it waits where nothing can come")),
    }
}

/// Begins a call with this budget.
pub(super) fn begin(store: &mut Store<HostState>, cpu: Duration) {
    ticker::begins();
    store.set_epoch_deadline(1);
    let state = store.data_mut();
    state.begin_budget(cpu);
    state.log.start(state.owner.limits.max_log_lines);
    state.memory.has_refused = false;
}

/// Gives the failure of a call its name.
pub(super) fn failure(store: &Store<HostState>, error: &wasmtime::Error) -> Failure {
    let trap = error.downcast_ref::<Trap>();
    let broken = error.downcast_ref::<LimitBroken>();
    let fault = match trap {
        None if broken.is_some() => broken.map_or(FilterFault::Trap, |broken| broken.fault),
        Some(Trap::Interrupt) => FilterFault::Overrun,
        Some(Trap::StackOverflow) => FilterFault::Stack,
        // Of instances, or of stacks for calls that wait.
        _ if error.is::<PoolConcurrencyLimitError>() => FilterFault::NoInstance,
        _ if store.data().memory.has_refused => FilterFault::Memory,
        None if error.root_cause().to_string().contains(TRANSFER_EXHAUSTED) => {
            FilterFault::OutputLimit
        }
        Some(_) | None => FilterFault::Trap,
    };
    let cause = match fault {
        FilterFault::Overrun => store.data().budget.told(),
        FilterFault::OutputLimit if broken.is_none() => format!(
            "more than {} bytes at once, beyond max_output_bytes and max_reply_bytes",
            transfer_bytes(&store.data().owner)
        ),
        _ => error.root_cause().to_string(),
    };
    Failure::new(fault, log::clean(&cause, 1024))
}
