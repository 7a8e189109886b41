//! Every way of being hostile that there is a guest for, each with what makes it so.
//! They are three components: `guest.wasm`, `caller.wasm` and `table.wasm`.

use serde_json::{Value, json};

const GET: &str = "GET /NAME HTTP/1.1\r\nhost: a\r\n\r\n";
/// With a body and trailers.
const POST: &str = "POST /NAME HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\
    trailer: x-end\r\n\r\n4\r\nbody\r\n0\r\nx-end: 1\r\n\r\n";
/// Whose body does not end.
const ENDLESS: &str = "POST /NAME HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n\
    4\r\nbody\r\n";

/// One way of being hostile.
pub struct Guest {
    pub name: &'static str,
    /// Its entry, but for the routes; the configuration is that of its route alone.
    pub entry: Value,
    request: &'static str,
    /// It does not fail: it only takes what it can get.
    pub is_patient: bool,
}

impl Guest {
    /// What makes it do harm.
    pub fn request(&self) -> String {
        self.request.replace("NAME", self.name)
    }
}

fn guest(name: &'static str, component: &str, config: Value, request: &'static str) -> Guest {
    let entry = json!({ "component": component, "config": config });
    Guest {
        name,
        entry,
        request,
        is_patient: false,
    }
}

fn patient(guest: Guest) -> Guest {
    Guest {
        is_patient: true,
        ..guest
    }
}

/// In its request phase.
fn step(name: &'static str, step: &str) -> Guest {
    let config = json!({ "wants": { "phases": ["request"] }, "request": [step] });
    guest(name, "./guest.wasm", config, GET)
}

fn trap_in(name: &'static str, phase: &str, before: Option<(&str, &str)>) -> Guest {
    let phases = [
        "request",
        "request-trailers",
        "response",
        "response-trailers",
        "done",
    ];
    let mut config = json!({ "wants": { "phases": phases } });
    if let Some((earlier, step)) = before {
        config[earlier] = json!([step]);
    }
    config[phase] = json!(["trap"]);
    guest(name, "./guest.wasm", config, POST)
}

fn transform(name: &'static str, kind: &str, request: &'static str) -> Guest {
    let step = format!("transform {kind}");
    let config = json!({ "wants": { "phases": ["request"] }, "request": [step] });
    guest(name, "./guest.wasm", config, request)
}

/// Calls a cluster that never answers.
fn caller(name: &'static str, then: &str) -> Guest {
    let config =
        json!({ "phase": "request", "cluster": "silent", "paths": ["/", "/"], "then": then });
    let mut guest = guest(name, "./caller.wasm", config, GET);
    guest.entry["grants"] = json!({ "call": ["silent"] });
    guest.entry["limits"] = json!({ "max_call_time": "20ms" });
    guest
}

pub fn guests() -> Vec<Guest> {
    let table = guest("table", "./table.wasm", json!({}), GET);
    let mut create = step("create", "trap");
    create.entry["config"]["create"] = json!(["trap-from-instance 8"]);
    vec![
        step("trap", "trap"),
        step("panic", "panic oh no"),
        step("exit", "exit"),
        step("loop", "loop"),
        step("ask-without-end", "ask-without-end"),
        step("recurse", "recurse"),
        step("allocate", "allocate"),
        step("gigabyte", "respond-huge 1073741824"),
        step("leak", "leak"),
        step("log-flood", "log-flood 1000000"),
        step("series-flood", "series-flood 1000000"),
        step("fields-flood", "fields-flood 1000000"),
        step("attributes-flood", "attributes-flood 1000000"),
        step("state-flood", "state-fill 1000000"),
        step("garbage-text", "garbage-text"),
        step("garbage-field", "respond-with a\nb c"),
        step("garbage-error", "garbage-error"),
        step("framing", "respond-with content-length 3"),
        trap_in(
            "request-body",
            "request_body",
            Some(("request", "buffer 1000")),
        ),
        trap_in("request-trailers", "request_trailers", None),
        trap_in("response-head", "response", None),
        trap_in(
            "response-body",
            "response_body",
            Some(("response", "buffer 1000")),
        ),
        trap_in("response-trailers", "response_trailers", None),
        trap_in("done", "done", None),
        transform("transform-trap", "trap", POST),
        transform("transform-finish", "trap-at-end", POST),
        transform("transform-huge", "huge", POST),
        patient(transform("transform-never", "never", ENDLESS)),
        patient(caller("call-drop", "drop")),
        patient(caller("call-forget", "forget")),
        caller("call-for-ever", "wait"),
        create,
        table,
    ]
}
