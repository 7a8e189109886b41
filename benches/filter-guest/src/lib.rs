//! A filter that does one thing, named by its configuration, and nothing else.

use std::hint::black_box;

use exports::lockgate::filter::http_filter::*;
use lockgate::filter::request;
use lockgate::filter::types::ConfigError;

// With a feature, what it is for is imported, and so what calls cost changes.
#[cfg(not(any(feature = "calls", feature = "shared")))]
wit_bindgen::generate!({ path: "../../wit", world: "filter" });
#[cfg(any(feature = "calls", feature = "shared"))]
wit_bindgen::generate!({ path: "../../wit", world: "filter-full" });

struct Component;

enum Does {
    Nothing,
    /// Is handed two fields.
    TwoFields,
    /// Reads a field that was not handed over.
    Get,
    /// Is handed two fields and sets one.
    Set,
    SetTwice,
    /// Nothing, but in the response as well.
    BothPhases,
    /// Collects the body and keeps it.
    Buffer,
    /// Passes the body through as it is.
    Transform,
    Trap,
    #[cfg(feature = "calls")]
    Call,
    #[cfg(feature = "shared")]
    Add,
}

struct PassOn;

impl Guest for Component {
    type Filter = Does;
    type Transform = PassOn;

    fn describe() -> Manifest {
        Manifest {
            name: "bench".into(),
            version: "0.1.0".into(),
            config_schema: None,
        }
    }
}

impl GuestFilter for Does {
    /// The configuration is a text in JSON.
    fn create(config: String) -> Result<Filter, Vec<ConfigError>> {
        Ok(Filter::new(match config.trim_matches('"') {
            "empty" => Does::Nothing,
            "two fields" => Does::TwoFields,
            "get" => Does::Get,
            "set" => Does::Set,
            "set twice" => Does::SetTwice,
            "both phases" => Does::BothPhases,
            "buffer" => Does::Buffer,
            "transform" => Does::Transform,
            "trap" => Does::Trap,
            #[cfg(feature = "calls")]
            "call" => Does::Call,
            #[cfg(feature = "shared")]
            "add" => Does::Add,
            _ => {
                let message = "none of what it can do".into();
                return Err(vec![ConfigError {
                    at: String::new(),
                    message,
                }]);
            }
        }))
    }

    fn wants(&self) -> Interest {
        let request_fields = match self {
            Does::TwoFields | Does::Set | Does::SetTwice => {
                vec!["x-api-key".into(), "accept".into()]
            }
            _ => vec![],
        };
        let phases = match self {
            Does::BothPhases => Phases::REQUEST | Phases::RESPONSE,
            _ => Phases::REQUEST,
        };
        Interest {
            phases,
            request_fields,
            response_fields: vec![],
            clusters: vec![],
            retries: vec![],
            routes: vec![],
        }
    }

    fn on_request(&self, fields: Vec<u8>) -> Result<Verdict, String> {
        black_box(fields);
        match self {
            Does::Nothing | Does::TwoFields | Does::BothPhases => {}
            Does::Get => {
                black_box(request::get("user-agent"));
            }
            Does::Set => set("x-one")?,
            Does::SetTwice => {
                set("x-one")?;
                set("x-two")?;
            }
            Does::Buffer => {
                return Ok(Verdict::Buffer(Buffering {
                    limit: 1 << 20,
                    overflow: Overflow::Reject,
                }));
            }
            Does::Transform => return Ok(Verdict::Transform(Transform::new(PassOn))),
            Does::Trap => core::arch::wasm32::unreachable(),
            #[cfg(feature = "calls")]
            Does::Call => call()?,
            #[cfg(feature = "shared")]
            Does::Add => {
                black_box(lockgate::filter::shared::add("a counter", 1, None))
                    .map_err(|error| format!("{error:?}"))?;
            }
        }
        Ok(Verdict::Next)
    }

    fn on_response(&self, _fields: Vec<u8>) -> Result<Verdict, String> {
        Ok(Verdict::Next)
    }

    fn on_request_body(&self, _body: Buffered) -> Result<BodyVerdict, String> {
        Ok(BodyVerdict::Keep)
    }

    fn on_request_trailers(&self) -> Result<(), String> {
        Ok(())
    }

    fn on_response_body(&self, _body: Buffered) -> Result<BodyVerdict, String> {
        Ok(BodyVerdict::Keep)
    }

    fn on_response_trailers(&self) -> Result<(), String> {
        Ok(())
    }

    fn on_done(&self) {}
}

#[cfg(feature = "calls")]
fn call() -> Result<(), String> {
    use lockgate::filter::http_client::{Call, Outgoing};
    let outgoing = Outgoing {
        method: "GET".into(),
        path: "/".into(),
        authority: None,
        headers: vec![],
        secrets: vec![],
        body: vec![],
        timeout: None,
    };
    let answer = Call::wait(Call::start("origin", &outgoing));
    answer.map(drop).map_err(|error| format!("{error:?}"))
}

fn set(name: &str) -> Result<(), String> {
    request::set(name, b"ann").map_err(|error| format!("{error:?}"))
}

impl GuestTransform for PassOn {
    fn push(&self, chunk: Vec<u8>) -> Result<Vec<u8>, String> {
        Ok(chunk)
    }

    fn finish(&self) -> Result<Vec<u8>, String> {
        Ok(vec![])
    }
}

export!(Component);
