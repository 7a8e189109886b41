//! Counts requests, and keeps the count in a form of which there are four: tests
//! change [`FORM`] in the bytes of the component, and so make other versions of it.

wit_bindgen::generate!({
    path: "../../../../wit",
    inline: "package guest:handed;
        world handed {
            include lockgate:filter/filter@0.1.0;
            import lockgate:filter/shared@0.1.0;
            export lockgate:filter/hand-over@0.1.0;
        }",
    world: "guest:handed/handed",
    pub_export_macro: true,
    generate_all,
});

use exports::lockgate::filter::hand_over::{self, Stored};
use exports::lockgate::filter::http_filter::{
    BodyVerdict, Buffered, Filter as FilterHandle, Guest, GuestFilter, GuestTransform, Interest,
    Manifest, Phases, Reply, Verdict,
};
use lockgate::filter::shared;
use lockgate::filter::types::ConfigError;

/// The last byte is the form's number.
static FORM: [u8; 15] = *b"lockgate-form:0";

/// One that counts in no form that there is.
const UNKNOWN: u32 = 7;

/// Where the count is kept.
const KEY: &str = "count";

struct Component;

fn form() -> u32 {
    // Read from memory, where a test may have put another.
    let digit = unsafe { core::ptr::read_volatile(&raw const FORM[14]) };
    u32::from(digit - b'0')
}

/// The count in the form of a version.
fn encode(form: u32, count: i64) -> Stored {
    match form {
        0 => Stored::Counter(count),
        1 => Stored::Counter(count * 10),
        2 => Stored::Bytes(count.to_string().into_bytes()),
        _ => Stored::Bytes(format!("n={count}").into_bytes()),
    }
}

fn decode(form: u32, stored: Stored) -> Result<i64, String> {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).map_err(|error| error.to_string());
    let number = |text: &str| text.parse().map_err(|_| format!("`{text}` is no number"));
    match (form, stored) {
        (0, Stored::Counter(count)) => Ok(count),
        (1, Stored::Counter(count)) => Ok(count / 10),
        (2, Stored::Bytes(bytes)) => number(&text(bytes)?),
        (3, Stored::Bytes(bytes)) => number(text(bytes)?.trim_start_matches("n=")),
        (form, _) => Err(format!("an entry that is not of the form {form}")),
    }
}

fn count() -> Result<i64, String> {
    let failed = |error: shared::SharedError| format!("{error:?}");
    match form() {
        0 => shared::add(KEY, 1, None).map_err(failed),
        1 => Ok(shared::add(KEY, 10, None).map_err(failed)? / 10),
        form => {
            let entry = shared::get(KEY);
            let version = entry.as_ref().map_or(0, |entry| entry.version);
            let known = entry.map(|entry| decode(form, Stored::Bytes(entry.value)));
            let count = known.transpose()?.unwrap_or(0) + 1;
            let Stored::Bytes(value) = encode(form, count) else {
                return Err("no bytes".into());
            };
            shared::replace(KEY, version, &value, None).map_err(failed)?;
            Ok(count)
        }
    }
}

impl hand_over::Guest for Component {
    fn format() -> u32 {
        form()
    }

    fn migrate(from: u32, key: String, value: Stored) -> Result<Option<Stored>, String> {
        if form() == UNKNOWN {
            return Err(format!("`{key}` is of the form {from}, which is too old"));
        }
        Ok(Some(encode(form(), decode(from, value)?)))
    }
}

impl Guest for Component {
    type Filter = Filter;
    type Transform = Unused;

    fn describe() -> Manifest {
        Manifest {
            name: "handed".into(),
            version: "0.1.0".into(),
            config_schema: None,
        }
    }
}

struct Filter;

impl GuestFilter for Filter {
    fn create(_: String) -> Result<FilterHandle, Vec<ConfigError>> {
        Ok(FilterHandle::new(Filter))
    }

    fn wants(&self) -> Interest {
        Interest {
            phases: Phases::REQUEST,
            request_fields: Vec::new(),
            response_fields: Vec::new(),
            clusters: Vec::new(),
            retries: Vec::new(),
            routes: Vec::new(),
        }
    }

    fn on_request(&self, _: Vec<u8>) -> Result<Verdict, String> {
        Ok(Verdict::Respond(Reply {
            status: 200,
            headers: Vec::new(),
            body: format!("{}:{}", form(), count()?).into_bytes(),
        }))
    }

    fn on_request_body(&self, _: Buffered) -> Result<BodyVerdict, String> {
        Ok(BodyVerdict::Keep)
    }

    fn on_request_trailers(&self) -> Result<(), String> {
        Ok(())
    }

    fn on_response(&self, _: Vec<u8>) -> Result<Verdict, String> {
        Ok(Verdict::Next)
    }

    fn on_response_body(&self, _: Buffered) -> Result<BodyVerdict, String> {
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
