//! A filter that does with secrets what its configuration says: each phase is a list
//! of steps, and a step is a text of words, `put authorization token key`. What came
//! of each is left in the attribute `outcome`, separated by `; `. The other guest has
//! no secrets, because what a component imports it imports for every test.

wit_bindgen::generate!({
    path: "../../../../wit",
    inline: "package test:secrets;
        world guest {
            include lockgate:filter/filter@0.1.0;
            import lockgate:filter/secrets@0.1.0;
        }",
    world: "test:secrets/guest",
    pub_export_macro: true,
    generate_all,
});

use exports::lockgate::filter::http_filter::{
    BodyVerdict, Buffered, Guest, GuestFilter, GuestTransform, Interest, Manifest, Phases, Verdict,
};
use lockgate::filter::types::{ConfigError, SecretField};
use lockgate::filter::{exchange, log, metrics, request, secrets};
use serde::Deserialize;

struct Component;

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct Filter {
    /// Fields that come with the request.
    fields: Vec<String>,
    create: Vec<String>,
    request: Vec<String>,
    response: Vec<String>,
}

struct NoTransform;

impl Guest for Component {
    type Filter = Filter;
    type Transform = NoTransform;

    fn describe() -> Manifest {
        Manifest {
            name: "secrets-guest".into(),
            version: "0.1.0".into(),
            config_schema: Some(r#"{"type":"object"}"#.into()),
        }
    }
}

impl GuestFilter for Filter {
    fn create(
        config: String,
    ) -> Result<exports::lockgate::filter::http_filter::Filter, Vec<ConfigError>> {
        let filter: Filter = serde_json::from_str(&config).expect("a test's configuration");
        if !filter.create.is_empty() {
            let message = outcomes(&filter.create, &[]);
            let at = match filter
                .create
                .last()
                .and_then(|step| step.strip_prefix("at "))
            {
                Some(secret) => format!("/{}", revealed(secret)),
                None => String::new(),
            };
            return Err(vec![ConfigError { at, message }]);
        }
        Ok(exports::lockgate::filter::http_filter::Filter::new(filter))
    }

    fn wants(&self) -> Interest {
        Interest {
            phases: Phases::REQUEST | Phases::RESPONSE,
            request_fields: self.fields.clone(),
            response_fields: Vec::new(),
            clusters: Vec::new(),
            retries: Vec::new(),
            routes: Vec::new(),
        }
    }

    fn on_request(&self, fields: Vec<u8>) -> Result<Verdict, String> {
        run(&self.request, &fields)
    }

    fn on_request_body(&self, _: Buffered) -> Result<BodyVerdict, String> {
        Ok(BodyVerdict::Keep)
    }

    fn on_request_trailers(&self) -> Result<(), String> {
        Ok(())
    }

    fn on_response(&self, fields: Vec<u8>) -> Result<Verdict, String> {
        run(&self.response, &fields)
    }

    fn on_response_body(&self, _: Buffered) -> Result<BodyVerdict, String> {
        Ok(BodyVerdict::Keep)
    }

    fn on_response_trailers(&self) -> Result<(), String> {
        Ok(())
    }

    fn on_done(&self) {}
}

impl GuestTransform for NoTransform {
    fn push(&self, chunk: Vec<u8>) -> Result<Vec<u8>, String> {
        Ok(chunk)
    }

    fn finish(&self) -> Result<Vec<u8>, String> {
        Ok(Vec::new())
    }
}

fn run(steps: &[String], fields: &[u8]) -> Result<Verdict, String> {
    if !steps.is_empty() {
        exchange::set_attribute("outcome", &outcomes(steps, fields));
    }
    match steps.last().and_then(|step| step.strip_prefix("fail ")) {
        Some(secret) => Err(format!("failed with {}", revealed(secret))),
        None => Ok(Verdict::Next),
    }
}

fn outcomes(steps: &[String], fields: &[u8]) -> String {
    let outcomes: Vec<_> = steps.iter().map(|step| outcome(step, fields)).collect();
    outcomes.join("; ")
}

fn outcome(step: &str, fields: &[u8]) -> String {
    let words: Vec<_> = step.split(' ').collect();
    match words.as_slice() {
        ["matches", secret, candidate] => told(secrets::matches(secret, candidate.as_bytes())),
        ["put", field, prefix, secret] => told(secrets::put(&SecretField {
            field: field.to_string(),
            prefix: prefix.to_string(),
            secret: secret.to_string(),
        })),
        ["sign", secret, data] => told(secrets::sign(secret, data.as_bytes()).map(hex)),
        ["reveal", secret] => told(secrets::reveal(secret).map(hex)),
        // In the fields of the request, where the origin sees it.
        ["show", field, secret] => told(request::set(field, revealed(secret).as_bytes())),
        ["append", field, value] => told(request::append(field, value.as_bytes())),
        // For the origin to tell what was read.
        ["copy", from, to] => {
            let read = request::get(from).unwrap_or_else(|| b"nothing".to_vec());
            told(request::set(to, &read))
        }
        ["remove", field] => told(request::remove(field)),
        ["read", field] => format!("{:?}", request::get(field).map(text)),
        ["read-all", field] => {
            let values = request::get_all(field).into_iter();
            format!("{:?}", values.map(text).collect::<Vec<_>>())
        }
        ["entries", field] => {
            let entries = request::entries().into_iter();
            let values = entries.filter(|(name, _)| name == field);
            format!(
                "{:?}",
                values.map(|(_, value)| text(value)).collect::<Vec<_>>()
            )
        }
        ["prefetched"] => format!("{fields:?}"),
        ["log", secret] => {
            let field = ("secret".to_owned(), revealed(secret));
            let message = format!("it is {}", revealed(secret));
            log::log(log::Level::Warn, &message, &[field]);
            "logged".to_owned()
        }
        ["print", secret] => {
            println!("printed: {}", revealed(secret));
            eprintln!("printed: {}", revealed(secret));
            "printed".to_owned()
        }
        ["count", secret] => {
            let (kind, help) = (
                metrics::Kind::Counter,
                format!("it is {}", revealed(secret)),
            );
            let seen = metrics::Metric::define(kind, "seen", &help, &["what".to_owned()]);
            seen.expect("a good definition")
                .update(1.0, &[revealed(secret)]);
            "counted".to_owned()
        }
        ["name", secret] => {
            exchange::set_attribute(&revealed(secret), "named");
            "named".to_owned()
        }
        ["at", _] => "refused".to_owned(),
        ["tell", secret] => format!("it is {}", revealed(secret)),
        ["fail", _] => "failed".to_owned(),
        other => panic!("no step {other:?}"),
    }
}

fn told<T: std::fmt::Debug, E: std::fmt::Debug>(outcome: Result<T, E>) -> String {
    match outcome {
        Ok(value) => format!("{value:?}"),
        Err(error) => format!("{error:?}"),
    }
}

fn revealed(secret: &str) -> String {
    text(secrets::reveal(secret).expect("it may be seen"))
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("tests have texts")
}

fn hex(bytes: Vec<u8>) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

export!(Component);
