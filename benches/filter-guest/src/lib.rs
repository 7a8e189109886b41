//! A filter that does one thing, named by its configuration, and nothing else.

use std::hint::black_box;

use exports::lockgate::filter::http_filter::*;
use lockgate::filter::request;
use lockgate::filter::types::ConfigError;

wit_bindgen::generate!({ path: "../../wit", world: "filter" });

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
}

/// Bodies are not served yet; the world wants the resource.
struct NoTransform;

impl Guest for Component {
    type Filter = Does;
    type Transform = NoTransform;

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
            Does::Nothing | Does::Get | Does::BothPhases => vec![],
            Does::TwoFields | Does::Set | Does::SetTwice => {
                vec!["x-api-key".into(), "accept".into()]
            }
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

fn set(name: &str) -> Result<(), String> {
    request::set(name, b"ann").map_err(|error| format!("{error:?}"))
}

impl GuestTransform for NoTransform {
    fn push(&self, chunk: Vec<u8>) -> Result<Vec<u8>, String> {
        Ok(chunk)
    }

    fn finish(&self) -> Result<Vec<u8>, String> {
        Ok(vec![])
    }
}

export!(Component);
