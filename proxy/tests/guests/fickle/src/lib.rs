//! Logs what is called outside of exchanges, and never describes itself twice alike.

wit_bindgen::generate!({
    path: "../../../../wit",
    world: "filter",
    pub_export_macro: true,
});

use exports::lockgate::filter::http_filter::{
    BodyVerdict, Buffered, Filter as FilterHandle, Guest, GuestFilter, GuestTransform, Interest,
    Manifest, Phases, Verdict,
};
use lockgate::filter::types::ConfigError;
use lockgate::filter::{host, log};

struct Component;
struct Fickle;
struct Unused;

fn tell(what: &str) {
    log::log(log::Level::Info, &format!("fickle: {what}"), &[]);
}

impl Guest for Component {
    type Filter = Fickle;
    type Transform = Unused;

    fn describe() -> Manifest {
        tell("described");
        Manifest {
            name: format!("fickle-{}", host::random()),
            version: "0.1.0".into(),
            config_schema: None,
        }
    }
}

impl GuestFilter for Fickle {
    fn create(_config: String) -> Result<FilterHandle, Vec<ConfigError>> {
        tell("created");
        Ok(FilterHandle::new(Fickle))
    }

    fn wants(&self) -> Interest {
        tell("asked");
        Interest {
            phases: Phases::empty(),
            request_fields: Vec::new(),
            response_fields: Vec::new(),
            clusters: Vec::new(),
            retries: Vec::new(),
            routes: Vec::new(),
        }
    }

    fn on_request(&self, _fields: Vec<u8>) -> Result<Verdict, String> {
        Ok(Verdict::Next)
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

impl GuestTransform for Unused {
    fn push(&self, chunk: Vec<u8>) -> Result<Vec<u8>, String> {
        Ok(chunk)
    }

    fn finish(&self) -> Result<Vec<u8>, String> {
        Ok(Vec::new())
    }
}

export!(Component);
