//! The filter host against a guest that does what it is told, however bad.

mod budgets;
mod chain;
mod compiler;
mod contract;
#[path = "../../../tests/guests/component.rs"]
pub mod guests;
mod handwritten;
mod heads;
mod library;
mod loading;
mod rollback;
mod secrets;

use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde_json::{Value, json};

use super::view::HeadLimits;
use super::*;
use crate::config::{
    ComponentSource, Filter, FilterConfig, FilterLimits, Grants, Isolation, OnBad, OnError,
    Probation, RouteConfig,
};
use crate::digest::Digest;
use crate::http::request_id::Hex;
use crate::http::{RequestHead, ResponseHead, TargetForm};
use crate::stats::guest::GuestMetrics;
use crate::stats::{FilterStats, PerWorker};

/// One engine for all tests, as there is one for a process.
fn engine() -> &'static FilterEngine {
    static ENGINE: OnceLock<Arc<FilterEngine>> = OnceLock::new();
    ENGINE.get_or_init(|| FilterEngine::start(EngineOptions::default()).unwrap())
}

fn module() -> Arc<Module> {
    static MODULE: OnceLock<Arc<Module>> = OnceLock::new();
    MODULE
        .get_or_init(|| {
            engine()
                .load(
                    Digest::of(guests::component()),
                    guests::component(),
                    Pace::Full,
                )
                .unwrap()
        })
        .clone()
}

fn limits() -> FilterLimits {
    FilterLimits {
        max_component_bytes: 1 << 20,
        cpu: Duration::from_millis(20),
        create_cpu: Duration::from_millis(500),
        hand_over: Duration::from_secs(10),
        memory_bytes: 16 << 20,
        max_instances: 4,
        max_waiting: 2,
        max_wait: Duration::from_secs(60),
        max_overruns: 3,
        overrun_window: Duration::from_secs(60),
        pause: Duration::from_secs(600),
        max_host_calls: 100_000,
        max_delay: Duration::from_millis(5),
        max_buffer_bytes: 1 << 20,
        max_reply_bytes: 10_000,
        max_output_bytes: 10_000,
        max_log_lines: 10,
        max_log_bytes: 1000,
        max_series: 10,
        max_attribute_bytes: 4096,
        max_state_bytes: 64,
        max_calls: 2,
        call_timeout: Duration::from_secs(5),
        max_call_time: Duration::from_secs(5),
        max_call_bytes: 1 << 10,
        max_shared_bytes: 1 << 20,
        max_shared_entry_bytes: 1 << 10,
        job_cpu: Duration::from_millis(50),
        job_time: Duration::from_secs(60),
        first_run: Duration::ZERO,
    }
}

/// An entry of `filters:` with the guest as its component.
fn entry(name: &str, config: Value) -> Filter {
    Filter {
        name: name.into(),
        component: ComponentSource::File("guest.wasm".into()),
        trust: Vec::new(),
        on_error: OnError::Deny,
        on_bad: OnBad::Refuse,
        probation: Probation {
            time: Duration::ZERO,
            min_calls: 0,
            min_faults: 1,
            fault_percent: 1,
        },
        isolation: Isolation::Shared,
        limits: limits(),
        grants: Grants::default(),
        config: configured(config, &format!("/filters/{name}/config")),
        routes: Vec::new(),
        canary: None,
        shadow: None,
        checks: Vec::new(),
        pointer: format!("/filters/{name}"),
    }
}

fn configured(value: Value, pointer: &str) -> FilterConfig {
    FilterConfig {
        value,
        pointer: pointer.to_owned(),
        texts: Vec::new(),
    }
}

fn build(filter: &Filter) -> Result<Arc<LoadedFilter>, Vec<BuildError>> {
    build_of(module(), filter)
}

fn build_of(module: Arc<Module>, filter: &Filter) -> Result<Arc<LoadedFilter>, Vec<BuildError>> {
    let stats = Arc::new(PerWorker::new(1, FilterStats::default));
    let metrics = Arc::new(GuestMetrics::new(1, filter.limits.max_series));
    LoadedFilter::build(
        module,
        filter.clone(),
        filter,
        stats,
        metrics,
        Granted::default(),
        1,
    )
    .map_err(|refused| refused.errors)
}

/// A chain on one worker and the exchange in it.
struct Bench {
    filters: Vec<Rc<WorkerFilter>>,
    chain: WorkerChain,
    view: Lendable,
    taken: Participants,
    runtime: tokio::runtime::Runtime,
}

impl Bench {
    fn new(entries: &[Filter]) -> Self {
        Self::of(entries.iter().map(|entry| build(entry).unwrap()))
    }

    fn of(loaded: impl IntoIterator<Item = Arc<LoadedFilter>>) -> Self {
        let worker = |loaded| WorkerFilter::new(loaded, 0);
        let filters: Vec<_> = loaded.into_iter().map(worker).collect();
        filters.iter().for_each(|filter| filter.warm());
        Self {
            chain: WorkerChain::new(filters.iter().cloned().map(Place::from).collect()),
            filters,
            view: Lendable::new(view()),
            taken: Participants::default(),
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .build()
                .unwrap(),
        }
    }

    /// One filter whose `on-request` takes these steps.
    fn request(steps: &[&str]) -> Self {
        Self::new(&[entry("guest", on_request(steps))])
    }

    fn on_request(&mut self) -> Flow {
        let phase = self.chain.on_request(&mut self.view, &mut self.taken);
        self.runtime.block_on(phase)
    }

    fn on_response(&mut self) -> Flow {
        let phase = self.chain.on_response(&mut self.view, &mut self.taken);
        self.runtime.block_on(phase)
    }

    fn on_done(&mut self) {
        self.chain.on_done(&mut self.view, &mut self.taken);
    }

    fn answer(&mut self, status: u16) {
        self.view.response = Some(ResponseHead {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::new(),
        });
    }

    /// A new exchange through the same chain.
    fn again(&mut self) {
        self.view = Lendable::new(view());
        self.taken = Participants::default();
    }

    fn attribute(&self, name: &str) -> Option<&str> {
        let known = self.view.attributes.iter().find(|(known, _)| known == name);
        known.map(|(_, value)| value.as_str())
    }

    fn request_field(&self, name: &str) -> Vec<&str> {
        let values = self.view.request.headers.get_all(name).iter();
        values.map(|value| value.to_str().unwrap()).collect()
    }

    fn faults(&self, fault: FilterFault) -> u64 {
        self.filters[0].stats().faults(fault as usize).get()
    }

    fn lost(&self) -> u64 {
        self.filters[0].stats().instances_lost.get()
    }
}

/// Configuration with steps for `on-request` alone.
fn on_request(steps: &[&str]) -> Value {
    json!({ "request": steps, "wants": { "phases": ["request"] } })
}

fn view() -> View {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("user-agent", "test/1"),
        ("accept", "text/html"),
        ("accept", "text/plain"),
        ("x-api-key", "secret"),
        ("x-odd", ""),
    ] {
        headers.append(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    View {
        request: RequestHead {
            method: Method::GET,
            scheme: Scheme::HTTP,
            authority: Some(Authority::from_static("example.test")),
            path: PathAndQuery::from_static("/a?b=c"),
            headers,
        },
        response: None,
        trailers: None,
        is_local: false,
        tls: None,
        client_address: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)),
        listener: "web".into(),
        form: TargetForm::Origin,
        introduction: None,
        original_destination: None,
        request_id: HeaderValue::from_static("id-1"),
        trace_id: Hex::of(0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c),
        started: Instant::now(),
        request_bytes: 3,
        response_bytes: 5,
        upstream: None,
        decisions: Decisions::default(),
        attributes: Vec::new(),
        connection: None,
        states: Vec::new(),
        spent: Default::default(),
        told: None,
        found: None,
        head_limits: HeadLimits {
            max_bytes: 8192,
            max_fields: 16,
        },
        takes_hash_key: true,
        takes_subset: true,
        calls: None,
    }
}

/// The failure that a flow tells of.
fn failure(flow: Flow) -> FilterFailed {
    match flow {
        Flow::Fail(failed) => failed,
        other => panic!("no failure: {other:?}"),
    }
}
