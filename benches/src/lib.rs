//! What the benches share: a configuration as one worker has it, its filters
//! around one exchange, without sockets.
//!
//! The road to it is that of `lockgate run`: YAML, checked, built to a snapshot,
//! components compiled by the real host.

pub mod guest;

use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::BytesMut;
use http::{HeaderMap, HeaderValue, StatusCode};
use lockgate::components::Components;
use lockgate::config::{self, Listener};
use lockgate::filter::{
    Collected, Decisions, EngineOptions, FilterEngine, Flow, HeadLimits, Lendable, Participants,
    View,
};
use lockgate::http::h1::{HeadScanner, parse_request};
use lockgate::http::request_id::Hex;
use lockgate::http::{ParsedRequest, RequestHead, ResponseHead, Role, TargetForm};
use lockgate::listener::Inherited;
use lockgate::shipped::SHIPPED;
use lockgate::snapshot::{Builder, Past, Snapshot, Sockets, WorkerSnapshot};
use lockgate::stats::Stats;

// That of the binary, so that these figures are its figures.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What a browser asks: twelve fields, half a kilobyte.
pub const BROWSER_REQUEST: &[u8] = b"GET /catalogue/garden/chairs?sort=price&page=2 HTTP/1.1\r\n\
    Host: shop.example.com\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
    Accept-Language: en-GB,en;q=0.5\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Referer: https://shop.example.com/catalogue/garden\r\n\
    Cookie: session=3f1c0b6a9d8e4f72; theme=dark\r\n\
    X-Api-Key: correct-horse-battery-staple\r\n\
    Sec-Fetch-Dest: document\r\n\
    Sec-Fetch-Mode: navigate\r\n\
    Sec-Fetch-Site: same-origin\r\n\
    Priority: u=0, i\r\n\r\n";

/// A listener `web` with this chain over these `filters:`, and a cluster `origin`
/// that nobody connects to.
pub fn configuration(chain: &str, filters: &str) -> String {
    format!(
        "listeners: [{{ name: web, address: '127.0.0.1:0', filters: [{chain}] }}]\n\
         filters:\n{filters}\n\
         clusters: [{{ name: origin, endpoints: ['127.0.0.1:9'] }}]\n"
    )
}

/// A listener with everything that a configuration leaves to its defaults.
pub fn listener() -> Listener {
    let text = configuration("", "  {}");
    load(&text).listeners.remove(0)
}

/// Reads one request head whole.
pub fn parse(bytes: &[u8], listener: &Listener) -> ParsedRequest {
    let mut scanner = HeadScanner::default();
    let mut buffer = BytesMut::from(bytes);
    parse_request(
        &mut buffer,
        &mut scanner,
        &listener.limits,
        &listener.path,
        Role::of(listener),
    )
    .expect("the request is good")
    .expect("the request is whole")
}

/// An answer as an origin gives it: eight fields.
pub fn answer() -> ResponseHead {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("content-type", "text/html; charset=utf-8"),
        ("content-length", "1024"),
        ("date", "Tue, 03 Mar 2026 12:00:00 GMT"),
        ("server", "origin"),
        ("etag", "\"5f3c-1a2b\""),
        ("cache-control", "private, max-age=0"),
        ("vary", "accept-encoding"),
        ("x-request-id", "0190d5b2-7c3e-7f00-9d5e-3f1c0b6a9d8e"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    ResponseHead {
        status: StatusCode::OK,
        headers,
    }
}

/// The filters of a configuration's listener on one worker, and an exchange.
pub struct Bench {
    snapshot: Rc<WorkerSnapshot>,
    view: Lendable,
}

impl Bench {
    /// Builds everything.
    pub fn new(configuration: &str) -> Self {
        // Few, so that they fit into the address space that valgrind has.
        let options = EngineOptions {
            max_instances: 8,
            ..EngineOptions::default()
        };
        let engine = FilterEngine::start(options).expect("the engine starts");
        Self::of(configuration, Arc::new(build(configuration, &engine, 1)))
    }

    /// Of what was built of this configuration.
    pub fn of(configuration: &str, snapshot: Arc<Snapshot>) -> Self {
        let view = view(&load(configuration).listeners[0]);
        let snapshot = WorkerSnapshot::new(snapshot, None, 0);
        snapshot.warm();
        Self {
            snapshot,
            view: Lendable::new(view),
        }
    }

    /// All phases of one exchange, which no filter ends. What the filters decide
    /// is forgotten first; fields that they set stay, and are set again.
    pub fn exchange(&mut self) {
        let chain = &self.snapshot.listeners[0].chain;
        self.view.decisions = Decisions::default();
        self.view.attributes.clear();
        self.view.states.clear();
        self.view.spent.clear();
        let mut taken = Participants::default();
        let request = at_once(chain.on_request(&mut self.view, &mut taken));
        assert!(matches!(request, Flow::Next), "{request:?}");
        let response = at_once(chain.on_response(&mut self.view, &mut taken));
        assert!(matches!(response, Flow::Next), "{response:?}");
        chain.on_done(&mut self.view, &mut taken);
    }

    /// The request phase with a body that the filter collects, and takes as it is.
    pub fn collected(&mut self, body: &mut Collected) {
        let chain = &self.snapshot.listeners[0].chain;
        let mut taken = Participants::default();
        let asked = at_once(chain.on_request(&mut self.view, &mut taken));
        assert!(matches!(asked, Flow::Collect(_)), "{asked:?}");
        let kept = at_once(chain.on_request_body(&mut self.view, &mut taken, body));
        assert!(matches!(kept, Flow::Next), "{kept:?}");
    }

    /// The request phase with a body that passes through the filter in these pieces.
    pub fn transformed(&mut self, piece: &[u8], pieces: usize) {
        let chain = &self.snapshot.listeners[0].chain;
        let mut taken = Participants::default();
        let asked = at_once(chain.on_request(&mut self.view, &mut taken));
        let Flow::Transform(mut transform) = asked else {
            panic!("{asked:?}");
        };
        for _ in 0..pieces {
            let given = transform.push(piece, &mut self.view);
            assert_eq!(given.map(|given| given.len()).ok(), Some(piece.len()));
        }
        assert!(transform.finish(&mut self.view).is_ok());
    }

    /// What the filters see and leave.
    pub fn view(&mut self) -> &mut View {
        &mut self.view
    }
}

/// Builds a configuration for so many workers. Panics on one that `lockgate check`
/// would refuse, with what it would say.
pub fn build(configuration: &str, engine: &Arc<FilterEngine>, workers: usize) -> Snapshot {
    let builder = Builder {
        engine,
        components: &Components::new(None),
        stats: &Stats::new(workers),
        shipped: SHIPPED,
        workers,
        sockets: Sockets::Leave,
        inherited: &Inherited::default(),
        state: None,
        past: &Past::default(),
        lock: None,
        strict: true,
    };
    let built = builder.build(Arc::new(load(configuration)), None);
    let built = built.unwrap_or_else(|mistakes| panic!("{mistakes:#?}"));
    built.snapshot
}

fn load(configuration: &str) -> config::Config {
    match config::load_text(configuration, "bench.yaml", &|_| None) {
        Ok(loaded) => loaded.config,
        Err(mistakes) => panic!("{mistakes}"),
    }
}

/// The browser's request, answered already, so that both phases can be run.
fn view(listener: &Listener) -> View {
    let request: RequestHead = parse(BROWSER_REQUEST, listener).head;
    View {
        request,
        response: Some(answer()),
        trailers: None,
        is_local: false,
        client_address: [192, 0, 2, 7].into(),
        listener: listener.name.clone(),
        form: TargetForm::Origin,
        tls: None,
        introduction: None,
        original_destination: None,
        request_id: HeaderValue::from_static("0190d5b2-7c3e-7f00-9d5e-3f1c0b6a9d8e"),
        trace_id: Hex::of(0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c),
        started: Instant::now(),
        request_bytes: 0,
        response_bytes: 0,
        upstream: None,
        decisions: Decisions::default(),
        attributes: Vec::new(),
        connection: None,
        states: Vec::new(),
        spent: Default::default(),
        told: None,
        found: None,
        head_limits: HeadLimits {
            max_bytes: listener.limits.max_head_bytes,
            max_fields: listener.limits.max_headers,
        },
        takes_hash_key: false,
        takes_subset: false,
        calls: None,
    }
}

/// The outcome of a future that waits for nothing: filters wait only for delays.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => panic!("no filter here asks for a delay"),
    }
}
