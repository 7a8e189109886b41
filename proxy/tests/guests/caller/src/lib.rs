//! A filter that makes the calls that its configuration says, in the phase that
//! it says, and leaves what came of each in `x-call` of the message.

wit_bindgen::generate!({
    path: "../../../../wit",
    world: "filter-full",
    pub_export_macro: true,
});

use exports::lockgate::filter::http_filter::{
    BodyVerdict, Buffered, Buffering, Guest, GuestFilter, GuestTransform, Interest, Manifest,
    Overflow, Phases, Verdict,
};
use lockgate::filter::http_client::{Call, Outgoing};
use lockgate::filter::types::{ConfigError, SecretField};
use lockgate::filter::{exchange, request, response};
use serde::Deserialize;

struct Component;

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct Filter {
    /// `request`, `request-body`, `response` or `done`.
    phase: String,
    cluster: String,
    /// All under way at once; their answers are waited for in this order.
    paths: Vec<String>,
    method: Option<String>,
    body: String,
    /// Sent in `authorization`.
    secret: Option<String>,
    timeout_ms: Option<u64>,
    /// What becomes of the calls: `wait`, `drop`, `forget` or `trap`; `one by one`,
    /// which waits for each before the next; or `again`, which calls and waits
    /// without end.
    then: String,
}

impl Filter {
    fn call(&self) -> Vec<String> {
        while self.then == "again" {
            Call::wait(self.start(&self.paths[0])).ok();
        }
        if self.then == "one by one" {
            let wait = |path: &String| Call::wait(self.start(path)).ok();
            self.paths.iter().for_each(|path| drop(wait(path)));
        }
        let calls: Vec<Call> = self.paths.iter().map(|path| self.start(path)).collect();
        match &*self.then {
            "drop" => return vec!["dropped".into()],
            "forget" => {
                std::mem::forget(calls);
                return vec!["forgotten".into()];
            }
            _ => {}
        }
        let told = calls.into_iter().map(|call| match Call::wait(call) {
            Ok(answer) => {
                let body = String::from_utf8_lossy(&answer.body).into_owned();
                format!("{} {body}", answer.status)
            }
            Err(error) => format!("{error:?}"),
        });
        let told: Vec<_> = told.collect();
        if self.then == "trap" {
            request::set("x-half", b"done").ok();
            core::arch::wasm32::unreachable();
        }
        told
    }

    fn start(&self, path: &str) -> Call {
        let outgoing = Outgoing {
            method: self.method.clone().unwrap_or("GET".into()),
            path: path.into(),
            authority: None,
            headers: vec![("x-called-by".into(), b"caller".to_vec())],
            secrets: self.secret.iter().map(authorization).collect(),
            body: self.body.clone().into_bytes(),
            timeout: self.timeout_ms.map(|time| time * 1_000_000),
        };
        Call::start(&self.cluster, &outgoing)
    }
}

fn authorization(secret: &String) -> SecretField {
    SecretField {
        field: "authorization".into(),
        prefix: "Bearer ".into(),
        secret: secret.clone(),
    }
}

impl Guest for Component {
    type Filter = Filter;
    type Transform = Unused;

    fn describe() -> Manifest {
        Manifest {
            name: "caller".into(),
            version: "0.1.0".into(),
            config_schema: None,
        }
    }
}

impl GuestFilter for Filter {
    fn create(
        config: String,
    ) -> Result<exports::lockgate::filter::http_filter::Filter, Vec<ConfigError>> {
        let filter: Filter = serde_json::from_str(&config).map_err(|error| {
            vec![ConfigError {
                at: String::new(),
                message: error.to_string(),
            }]
        })?;
        if filter.phase == "create" {
            let told = filter.call().join(", ");
            return Err(vec![ConfigError {
                at: "/phase".into(),
                message: told,
            }]);
        }
        Ok(exports::lockgate::filter::http_filter::Filter::new(filter))
    }

    fn wants(&self) -> Interest {
        Interest {
            phases: Phases::REQUEST | Phases::RESPONSE | Phases::DONE,
            request_fields: Vec::new(),
            response_fields: Vec::new(),
            clusters: Vec::new(),
            retries: Vec::new(),
            routes: Vec::new(),
        }
    }

    fn on_request(&self, _fields: Vec<u8>) -> Result<Verdict, String> {
        match &*self.phase {
            "request" => {
                for told in self.call() {
                    request::append("x-call", told.as_bytes()).ok();
                }
            }
            "request-body" => {
                return Ok(Verdict::Buffer(Buffering {
                    limit: 1000,
                    overflow: Overflow::Reject,
                }));
            }
            _ => {}
        }
        Ok(Verdict::Next)
    }

    fn on_request_body(&self, _body: Buffered) -> Result<BodyVerdict, String> {
        for told in self.call() {
            request::append("x-call", told.as_bytes()).ok();
        }
        Ok(BodyVerdict::Keep)
    }

    fn on_request_trailers(&self) -> Result<(), String> {
        Ok(())
    }

    fn on_response(&self, _fields: Vec<u8>) -> Result<Verdict, String> {
        if self.phase == "response" {
            for told in self.call() {
                response::append("x-call", told.as_bytes()).ok();
            }
        }
        Ok(Verdict::Next)
    }

    fn on_response_body(&self, _body: Buffered) -> Result<BodyVerdict, String> {
        Ok(BodyVerdict::Keep)
    }

    fn on_response_trailers(&self) -> Result<(), String> {
        Ok(())
    }

    fn on_done(&self) {
        if self.phase == "done" {
            exchange::set_attribute("told", &self.call().join(", "));
        }
    }
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
