//! A filter whose job takes the steps of its configuration, and which answers a
//! request for `/KEY` with what is shared by that key.

wit_bindgen::generate!({
    path: "../../../../wit",
    inline: "package guest:job;
        world job {
            include lockgate:filter/filter-full@0.1.0;
            export lockgate:filter/background@0.1.0;
        }",
    world: "guest:job/job",
    pub_export_macro: true,
    generate_all,
});

use std::cell::RefCell;

use exports::lockgate::filter::background;
use exports::lockgate::filter::http_filter::{
    BodyVerdict, Buffered, Filter as FilterHandle, Guest, GuestFilter, GuestTransform, Interest,
    Manifest, Phases, Reply, Verdict,
};
use lockgate::filter::http_client::{Call, Outgoing};
use lockgate::filter::log::Level;
use lockgate::filter::metrics::{Kind, Metric};
use lockgate::filter::types::{ConfigError, SecretField};
use lockgate::filter::{exchange, host, log, request, response, secrets, shared, trailers};
use serde::Deserialize;

struct Component;

#[derive(Deserialize, Default, Clone)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// Told apart by it, in the shared counter `runs NAME`.
    name: String,
    /// The job refuses the configuration.
    refused: bool,
    /// The steps of each run; the last ones are repeated.
    runs: Vec<Vec<String>>,
}

impl Guest for Component {
    type Filter = Filter;
    type Transform = Unused;

    fn describe() -> Manifest {
        Manifest {
            name: "job".into(),
            version: "0.1.0".into(),
            config_schema: None,
        }
    }
}

impl background::Guest for Component {
    type Job = Job;
}

/// The job of one configuration.
struct Job {
    config: Config,
    /// What is never given back.
    hoard: RefCell<Vec<Vec<u8>>>,
}

impl background::GuestJob for Job {
    fn create(config: String) -> Result<background::Job, String> {
        let config: Config = serde_json::from_str(&config).map_err(|error| error.to_string())?;
        match config.refused {
            true => Err("not this one".into()),
            false => Ok(background::Job::new(Job {
                config,
                hoard: RefCell::default(),
            })),
        }
    }

    fn run(&self) -> Result<Option<u64>, String> {
        let counter = format!("runs {}", self.config.name);
        let run = shared::add(&counter, 1, None).map_err(|error| format!("{error:?}"))?;
        let runs = &self.config.runs;
        let steps = runs.get(run as usize - 1).or(runs.last());
        for step in steps.into_iter().flatten() {
            let (verb, rest) = step.split_once(' ').unwrap_or((step, ""));
            match verb {
                "rest" => return Ok(Some(rest.parse::<u64>().unwrap() * 1_000_000)),
                "done" => return Ok(None),
                "fail" => return Err(rest.into()),
                _ => self.take(verb, rest),
            }
        }
        Ok(Some(3_600_000_000_000))
    }
}

impl Job {
    fn take(&self, verb: &str, rest: &str) {
        match verb {
            "set" => {
                let (key, value) = rest.split_once(' ').unwrap();
                tell(key, value);
            }
            // With a key of so many bytes.
            "long-key" => {
                let key = "k".repeat(rest.parse().unwrap());
                let made = [
                    shared::set(&key, b"v", None).err(),
                    shared::replace(&key, 0, b"v", None).err(),
                    shared::add(&key, 1, None).err(),
                ];
                tell("told", &format!("{made:?} {:?}", shared::get(&key)));
            }
            "call" => {
                let call = Call::start("asked", &asking(rest));
                let told = match Call::wait(call) {
                    Ok(answer) => {
                        let body = String::from_utf8_lossy(&answer.body).into_owned();
                        format!("{} {body}", answer.status)
                    }
                    Err(error) => format!("{error:?}"),
                };
                tell("told", &told);
            }
            "calls" => {
                let calls: Vec<_> = (0..100)
                    .map(|_| Call::start("asked", &asking(rest)))
                    .collect();
                let ended = calls.into_iter().map(|call| match Call::wait(call) {
                    Ok(_) => "answered".to_owned(),
                    Err(error) => format!("{error:?}"),
                });
                let mut ended: Vec<_> = ended.collect();
                ended.sort();
                ended.dedup();
                tell("told", &ended.join(", "));
            }
            "loop" => loop {
                std::hint::black_box(());
            },
            "trap" => core::arch::wasm32::unreachable(),
            "allocate" => loop {
                self.hoard.borrow_mut().push(vec![1; 1 << 20]);
            },
            "clutter" => clutter(),
            "exchange" => tell("told", &no_exchange()),
            "secret" => tell("told", &of_secret(rest)),
            "log" => (0..1_000).for_each(|_| log::log(Level::Info, rest, &[])),
            "count" => {
                let metric = Metric::define(Kind::Counter, "worked", "Runs.", &[]).unwrap();
                metric.update(1.0, &[]);
            }
            other => panic!("no such step: {other}"),
        }
    }
}

fn tell(key: &str, value: &str) {
    shared::set(key, value.as_bytes(), None).unwrap();
}

fn asking(path: &str) -> Outgoing {
    Outgoing {
        method: "GET".into(),
        path: path.into(),
        authority: None,
        headers: Vec::new(),
        secrets: Vec::new(),
        body: Vec::new(),
        timeout: None,
    }
}

/// Leaves more on the exchange that is not there than one may have.
fn clutter() {
    loop {
        exchange::set_attribute("a", &"x".repeat(1 << 20));
        exchange::set_state(&[1; 1 << 20]);
        exchange::delay(1_000_000_000);
    }
}

/// Everything about an exchange, asked where there is none.
fn no_exchange() -> String {
    exchange::set_attribute("seen", "yes");
    exchange::set_state(b"kept");
    exchange::delay(1_000_000_000);
    exchange::set_timeout(exchange::Timeout::Total, 1);
    let put = SecretField {
        field: "authorization".into(),
        prefix: String::new(),
        secret: "token".into(),
    };
    let told = [
        format!("{} {}", request::method(), request::path()),
        format!("{:?}", request::get("host")),
        format!("{:?}", request::set("x-a", b"1")),
        format!("{:?}", request::set_path("/b")),
        format!("{}", request::entries().len()),
        format!("{:?}", response::get("x-a")),
        format!("{:?}", response::set_status(500)),
        format!("{:?}", trailers::get("x-a")),
        format!("{:?}", trailers::set("x-a", b"1")),
        format!("{:?}", exchange::attribute("job.seen")),
        format!("{:?}", exchange::attribute("listener.name")),
        format!("{}", exchange::state().len()),
        format!("{:?}", exchange::route_to("asked")),
        format!("{:?}", exchange::set_route("a")),
        format!("{:?}", exchange::mirror_to("asked", &[])),
        format!("{}", exchange::client_address()),
        format!("{:?}", secrets::put(&put)),
    ];
    assert!(host::now() > 0);
    told.join("; ")
}

fn of_secret(name: &str) -> String {
    let matches = secrets::matches(name, b"a token");
    let revealed = secrets::reveal(name).map(|bytes| String::from_utf8(bytes).unwrap());
    let signed = secrets::sign(name, b"data").map(|bytes| bytes.len());
    format!("{matches:?} {signed:?} {revealed:?}")
}

/// The filter beside the job.
struct Filter;

impl GuestFilter for Filter {
    fn create(config: String) -> Result<FilterHandle, Vec<ConfigError>> {
        let config: Result<Config, _> = serde_json::from_str(&config);
        match config {
            Ok(_) => Ok(FilterHandle::new(Filter)),
            Err(error) => Err(vec![ConfigError {
                at: String::new(),
                message: error.to_string(),
            }]),
        }
    }

    fn wants(&self) -> Interest {
        Interest {
            phases: Phases::REQUEST,
            request_fields: Vec::new(),
            response_fields: Vec::new(),
            clusters: vec!["asked".into()],
            retries: Vec::new(),
            routes: vec!["a".into()],
        }
    }

    fn on_request(&self, _fields: Vec<u8>) -> Result<Verdict, String> {
        let path = request::path();
        let key = path[1..].replace('+', " ");
        let (status, body) = match shared::get(&key) {
            Some(entry) => (200, entry.value),
            None => (404, Vec::new()),
        };
        Ok(Verdict::Respond(Reply {
            status,
            headers: Vec::new(),
            body,
        }))
    }

    fn on_request_body(&self, _body: Buffered) -> Result<BodyVerdict, String> {
        Ok(BodyVerdict::Keep)
    }

    fn on_request_trailers(&self) -> Result<(), String> {
        Ok(())
    }

    fn on_response(&self, _fields: Vec<u8>) -> Result<Verdict, String> {
        Ok(Verdict::Next)
    }

    fn on_response_body(&self, _body: Buffered) -> Result<BodyVerdict, String> {
        Ok(BodyVerdict::Keep)
    }

    fn on_response_trailers(&self) -> Result<(), String> {
        Ok(())
    }

    fn on_done(&self) {}
}

struct Unused;

impl GuestTransform for Unused {
    fn push(&self, chunk: Vec<u8>) -> Result<Vec<u8>, String> {
        Ok(chunk)
    }

    fn finish(&self) -> Result<Vec<u8>, String> {
        Ok(Vec::new())
    }
}

export!(Component);
