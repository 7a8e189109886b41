//! What the store of an instance holds: all that host functions know.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use wasmtime::Trap;

use super::budget::{Clock, CpuBudget};
use super::engine::MAX_TABLE_ELEMENTS;
use super::fault::{FilterFault, LimitBroken};
use super::field::Field;
use super::granted::Granted;
use super::host::http_client::UnderWay;
use super::interest::Interest;
use super::journal::Journal;
use super::lenience::Forgiven;
use super::log::LogBudget;
use super::names::Names;
use super::ticker;
use super::view::{Spent, View};
use super::wasi::Wasi;
use crate::config::{FilterLimits, Name};
use crate::stats::FilterStats;
use crate::stats::PerWorker;
use crate::stats::guest::GuestMetrics;

/// The data of a store.
pub struct HostState {
    pub owner: Arc<Owner>,
    pub worker: usize,
    /// What each configuration declared; empty until a worker has the instance.
    pub interests: Arc<[Interest]>,
    pub wasi: Wasi,
    pub memory: MemoryLimit,
    pub budget: CpuBudget,
    pub clock: Clock,
    pub log: LogBudget,
    pub journal: Journal,
    /// What the guest warned about in `create`.
    pub remarks: Vec<Remark>,
    /// Fields that the guest read or changed before.
    pub request_fields: Names<Field>,
    pub response_fields: Names<Field>,
    pub changed_fields: Names<HeaderName>,
    pub call: Call,
    /// Calls under way, of the phase that is called.
    pub calls: UnderWay,
}

/// A warning about a configuration that was accepted: a line of the level `warn`
/// or `error` whose field `config_at` is a JSON pointer into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    pub at: String,
    pub message: String,
}

/// The filter that an instance belongs to; the same for all its instances.
pub struct Owner {
    pub name: Name,
    pub limits: FilterLimits,
    pub metrics: Arc<GuestMetrics>,
    pub stats: Arc<PerWorker<FilterStats>>,
    /// Clusters that it may call.
    pub call: Vec<Name>,
    pub granted: Granted,
    /// Of CPU time.
    pub forgiven: PerWorker<Forgiven>,
}

impl Owner {
    /// For a component that is not yet anybody's filter.
    pub fn nobody() -> Self {
        Self {
            name: "(describe)".into(),
            limits: FilterLimits {
                max_component_bytes: 0,
                cpu: Duration::from_millis(3),
                create_cpu: Duration::from_secs(1),
                hand_over: Duration::ZERO,
                memory_bytes: 256 << 20,
                max_instances: 1,
                max_waiting: 0,
                max_wait: Duration::ZERO,
                max_overruns: 1,
                overrun_window: Duration::ZERO,
                pause: Duration::ZERO,
                max_host_calls: 0,
                max_delay: Duration::ZERO,
                max_buffer_bytes: 0,
                max_reply_bytes: 0,
                max_output_bytes: 0,
                max_log_lines: 16,
                max_log_bytes: 1024,
                max_series: 0,
                max_attribute_bytes: 0,
                max_state_bytes: 0,
                max_calls: 0,
                call_timeout: Duration::ZERO,
                max_call_time: Duration::ZERO,
                max_call_bytes: 0,
                max_shared_bytes: 0,
                max_shared_entry_bytes: 0,
                job_cpu: Duration::ZERO,
                job_time: Duration::ZERO,
                first_run: Duration::ZERO,
            },
            metrics: Arc::new(GuestMetrics::new(1, 0)),
            stats: Arc::new(PerWorker::new(1, FilterStats::default)),
            call: Vec::new(),
            granted: Granted::default(),
            forgiven: PerWorker::new(1, Forgiven::default),
        }
    }
}

/// The call under way.
#[derive(Default)]
pub struct Call {
    pub phase: Phase,
    /// There while a phase runs.
    pub view: Option<Box<View>>,
    /// The filter's place in the chain.
    pub place: usize,
    /// The number of the configuration in use.
    pub config: usize,
    /// What this filter has used of its budgets of the exchange, this call
    /// included.
    pub spent: Spent,
    /// Calls into the host before this call.
    pub host_calls_before: u32,
    /// CPU time that the thread used for others while this call waited.
    pub away: Duration,
    /// How much longer this filter may hold this exchange.
    pub delay_left: Duration,
    /// Whether the phase can wait for calls.
    pub may_wait: bool,
}

/// In which part of its life the guest is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Phase {
    /// `describe`, `create`, `wants`: there is no exchange.
    #[default]
    Outside,
    Request,
    RequestBody,
    RequestTrailers,
    Response,
    ResponseBody,
    ResponseTrailers,
    /// A body passes through it.
    Transform,
    Done,
    /// A connection, before anything on it is understood.
    Connection,
    /// A run of a job, away from every exchange.
    Job,
}

/// Asked whenever a memory or table wants to grow.
#[derive(Debug)]
pub struct MemoryLimit {
    max_bytes: usize,
    /// A component has one memory.
    bytes: usize,
    /// Before it grew last.
    bytes_before: usize,
    /// A growth was refused since the call began.
    pub has_refused: bool,
}

impl Phase {
    /// Its place among the phases that are counted.
    pub fn index(self) -> usize {
        match self {
            // The first and the last are not counted.
            Phase::Outside | Phase::Request | Phase::Job => 0,
            Phase::RequestBody => 1,
            Phase::RequestTrailers => 2,
            Phase::Response => 3,
            Phase::ResponseBody => 4,
            Phase::ResponseTrailers => 5,
            Phase::Transform => 6,
            Phase::Done => 7,
            Phase::Connection => 8,
        }
    }

    /// Whether it is called for an exchange, which has budgets of its own.
    pub fn is_of_exchange(self) -> bool {
        !matches!(self, Phase::Outside | Phase::Job)
    }

    /// Whether the request has not been sent, so that it can be changed.
    pub fn holds_request(self) -> bool {
        matches!(self, Phase::Request | Phase::RequestBody)
    }

    /// Whether it decides where something goes.
    pub fn decides(self) -> bool {
        self.holds_request() || self == Phase::Connection
    }

    /// Whether there is an answer that has not been sent.
    pub fn holds_response(self) -> bool {
        matches!(self, Phase::Response | Phase::ResponseBody)
    }

    /// Whether it is the phase of trailers.
    pub fn has_trailers(self) -> bool {
        matches!(self, Phase::RequestTrailers | Phase::ResponseTrailers)
    }
}

impl MemoryLimit {
    pub fn new(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            bytes: 0,
            bytes_before: 0,
            has_refused: false,
        }
    }

    /// The memory that there is.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl wasmtime::ResourceLimiter for MemoryLimit {
    fn memory_growing(
        &mut self,
        _current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let fits = desired <= self.max_bytes && maximum.is_none_or(|maximum| desired <= maximum);
        self.has_refused |= !fits;
        if fits {
            self.bytes_before = std::mem::replace(&mut self.bytes, desired);
        }
        Ok(fits)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.bytes = self.bytes_before;
        Ok(())
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let fits = desired <= MAX_TABLE_ELEMENTS;
        self.has_refused |= !fits;
        Ok(fits)
    }
}

impl HostState {
    pub fn new(owner: Arc<Owner>, worker: usize) -> Self {
        Self {
            worker,
            interests: Arc::default(),
            wasi: Wasi::new(),
            memory: MemoryLimit::new(owner.limits.memory_bytes),
            budget: CpuBudget::default(),
            clock: Clock::default(),
            log: LogBudget::default(),
            journal: Journal::default(),
            remarks: Vec::new(),
            request_fields: Names::default(),
            response_fields: Names::default(),
            changed_fields: Names::default(),
            call: Call::default(),
            calls: UnderWay::default(),
            owner,
        }
    }

    /// The exchange, with the journal for what is changed in it.
    pub fn exchange(&mut self) -> wasmtime::Result<(&mut View, &mut Journal)> {
        match self.call.view.as_deref_mut() {
            Some(view) => Ok((view, &mut self.journal)),
            None => Err(wasmtime::Error::msg(
                "there is no exchange in `describe`, `create` and `wants`",
            )),
        }
    }

    /// A call begins that may use so much CPU time.
    pub fn begin_budget(&mut self, limit: Duration) {
        let epoch = ticker::epochs();
        let now = self.clock.about_now(epoch);
        let forgivable = self.owner.forgiven.of(self.worker).begin(limit);
        self.budget.start(limit, forgivable, epoch, now);
    }

    /// The call is over, and what it used since the last epoch is judged.
    pub fn end_budget(&mut self) -> wasmtime::Result<()> {
        if self.budget.is_short(ticker::epochs()) {
            return Ok(());
        }
        match self.budget.end(self.clock.now()) {
            Ok(forgiven) => {
                self.owner.forgiven.of(self.worker).add(forgiven);
                Ok(())
            }
            Err(_) => Err(Trap::Interrupt.into()),
        }
    }

    /// Whether the guest kept to the calls into the host that it may make for one
    /// exchange.
    ///
    /// Looked at when an epoch ends and when the call does, so that a call into the
    /// host pays for nothing but an addition. What a guest did beyond its limit until
    /// then is taken back with the rest.
    pub fn check_host_calls(&self) -> wasmtime::Result<()> {
        let max = self.owner.limits.max_host_calls;
        if self.call.phase.is_of_exchange() && self.call.spent.host_calls > max {
            let what = format!("more than {max} calls into the host for one exchange");
            return Err(budget_broken(FilterFault::HostCalls, what));
        }
        Ok(())
    }

    /// The exchange, to read.
    pub fn view(&self) -> wasmtime::Result<&View> {
        self.call.view.as_deref().ok_or_else(|| {
            wasmtime::Error::msg("there is no exchange in `describe`, `create` and `wants`")
        })
    }
}

/// Counts a call into the host, on the way of every one of them.
pub fn counted(state: &mut HostState) -> &mut HostState {
    let calls = &mut state.call.spent.host_calls;
    *calls = calls.saturating_add(1);
    state
}

/// Ends the call with [`FilterFault::OutputLimit`].
pub fn limit_broken(what: impl Into<String>) -> wasmtime::Error {
    budget_broken(FilterFault::OutputLimit, what)
}

/// Ends the call with this fault.
pub fn budget_broken(fault: FilterFault, what: impl Into<String>) -> wasmtime::Error {
    let what = what.into();
    wasmtime::Error::new(LimitBroken { fault, what })
}
