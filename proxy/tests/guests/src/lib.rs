//! A filter that does what its configuration says, however bad: it traps,
//! loops, floods, lies. Each phase is a list of steps, and a step is a text of
//! words: `request.set x-a 1`. The last outcome of a step that may be refused
//! is left as the attribute `outcome`.

mod bodies;
mod steps;

wit_bindgen::generate!({
    path: "../../../wit",
    world: "filter",
    pub_export_macro: true,
});

use exports::lockgate::filter::http_filter::{
    BodyVerdict, Buffered, Guest, GuestFilter, Interest, Manifest, Phases, Verdict,
};
use lockgate::filter::types::ConfigError;
use serde::Deserialize;

struct Component;

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct Config {
    create: Vec<String>,
    wants: Wants,
    request: Vec<String>,
    request_body: Vec<String>,
    request_trailers: Vec<String>,
    response: Vec<String>,
    response_body: Vec<String>,
    response_trailers: Vec<String>,
    done: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct Wants {
    steps: Vec<String>,
    phases: Vec<String>,
    request_fields: Vec<String>,
    response_fields: Vec<String>,
    clusters: Vec<String>,
    retries: Vec<String>,
    routes: Vec<String>,
}

struct Filter(Config);

impl Guest for Component {
    type Filter = Filter;
    type Transform = bodies::Steps;

    fn describe() -> Manifest {
        Manifest {
            name: "guest".into(),
            version: "0.1.0".into(),
            config_schema: Some(r#"{"type":"object"}"#.into()),
        }
    }
}

impl GuestFilter for Filter {
    fn create(
        config: String,
    ) -> Result<exports::lockgate::filter::http_filter::Filter, Vec<ConfigError>> {
        let mistake = |at: &str, message: String| {
            vec![ConfigError {
                at: at.into(),
                message,
            }]
        };
        let config: Config =
            serde_json::from_str(&config).map_err(|error| mistake("", error.to_string()))?;
        match steps::run(&config.create, &[]) {
            Ok(_) => Ok(exports::lockgate::filter::http_filter::Filter::new(Filter(
                config,
            ))),
            Err(message) => Err(mistake("/create", message)),
        }
    }

    fn wants(&self) -> Interest {
        let wants = &self.0.wants;
        let _ = steps::run(&wants.steps, &[]);
        Interest {
            phases: wants
                .phases
                .iter()
                .map(|name| phase(name))
                .fold(Phases::empty(), |a, b| a | b),
            request_fields: wants.request_fields.clone(),
            response_fields: wants.response_fields.clone(),
            clusters: wants.clusters.clone(),
            retries: wants.retries.clone(),
            routes: wants.routes.clone(),
        }
    }

    fn on_request(&self, fields: Vec<u8>) -> Result<Verdict, String> {
        steps::run(&self.0.request, &fields)
    }

    fn on_request_body(&self, body: Buffered) -> Result<BodyVerdict, String> {
        steps::run_body(&self.0.request_body, &body)
    }

    fn on_request_trailers(&self) -> Result<(), String> {
        steps::run(&self.0.request_trailers, &[]).map(drop)
    }

    fn on_response(&self, fields: Vec<u8>) -> Result<Verdict, String> {
        steps::run(&self.0.response, &fields)
    }

    fn on_response_body(&self, body: Buffered) -> Result<BodyVerdict, String> {
        steps::run_body(&self.0.response_body, &body)
    }

    fn on_response_trailers(&self) -> Result<(), String> {
        steps::run(&self.0.response_trailers, &[]).map(drop)
    }

    fn on_done(&self) {
        let _ = steps::run(&self.0.done, &[]);
    }
}

fn phase(name: &str) -> Phases {
    match name {
        "request" => Phases::REQUEST,
        "request-trailers" => Phases::REQUEST_TRAILERS,
        "response" => Phases::RESPONSE,
        "response-trailers" => Phases::RESPONSE_TRAILERS,
        "done" => Phases::DONE,
        _ => panic!("no phase `{name}`"),
    }
}

export!(Component);
