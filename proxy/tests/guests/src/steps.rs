//! The steps that a configuration may ask for.

use std::hint::black_box;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use crate::bodies;
use crate::exports::lockgate::filter::http_filter::{
    BodyVerdict, Buffered, Buffering, Overflow, Reply, Transform, Verdict,
};
use crate::lockgate::filter::exchange::{Timeout, TryPart};
use crate::lockgate::filter::log::Level;
use crate::lockgate::filter::metrics::{Kind, Metric};
use crate::lockgate::filter::{exchange, host, log, request, response, trailers};

/// Runs the steps until one gives a verdict.
pub fn run(steps: &[String], fields: &[u8]) -> Result<Verdict, String> {
    for step in steps {
        let (name, rest) = step.split_once(' ').unwrap_or((step, ""));
        if let Some(verdict) = step_of(name, rest, fields)? {
            return Ok(verdict);
        }
    }
    Ok(Verdict::Next)
}

fn step_of(name: &str, rest: &str, fields: &[u8]) -> Result<Option<Verdict>, String> {
    let (first, second) = rest.split_once(' ').unwrap_or((rest, ""));
    match name {
        "leave" => return Ok(Some(Verdict::Leave)),
        "reset" => return Ok(Some(Verdict::Reset)),
        "error" => return Err(rest.into()),
        "respond" => return Ok(Some(respond(number(first), &[], second))),
        "respond-with" => return Ok(Some(respond(200, &[(first, second)], "with a field"))),
        "challenge" if request::get("proxy-authorization").is_none() => {
            return Ok(Some(respond(
                407,
                &[("proxy-authenticate", rest)],
                "who is there?",
            )));
        }
        "challenge" => {}
        "respond-huge" => return Ok(Some(respond(200, &[], &"x".repeat(number(first))))),
        "buffer" => return Ok(Some(buffer(first, Overflow::Reject))),
        "peek" => return Ok(Some(buffer(first, Overflow::Truncate))),
        "transform" => {
            let transform = bodies::Steps::new(first);
            return Ok(Some(Verdict::Transform(Transform::new(transform))));
        }
        "trap" => core::arch::wasm32::unreachable(),
        "panic" => panic!("{rest}"),
        "loop" => spin(),
        "allocate" => allocate(),
        "leak" => leak(),
        "recurse" => drop(black_box(recurse(1))),
        "exit" => std::process::exit(3),
        "ask-without-end" => ask_without_end(),
        "garbage-text" => log::log(Level::Info, &garbage(), &[]),
        "garbage-error" => return Err(garbage()),
        "trap-from-instance" => trap_from_instance(number(first)),
        "sleep" => std::thread::sleep(std::time::Duration::from_millis(number(first))),
        "busy" => busy(number(first)),
        "ask-time" => (0..number(first)).for_each(|_: u32| {
            black_box(Instant::now());
        }),
        _ => return on_exchange(name, first, second, rest, fields).map(|()| None),
    }
    Ok(None)
}

/// Runs the steps about a collected body until one gives a verdict.
pub fn run_body(steps: &[String], body: &Buffered) -> Result<BodyVerdict, String> {
    for step in steps {
        let (name, rest) = step.split_once(' ').unwrap_or((step, ""));
        let verdict = match name {
            "replace" => BodyVerdict::Replace(rest.into()),
            "replace-huge" => BodyVerdict::Replace(vec![b'x'; number(rest)]),
            "upper" => BodyVerdict::Replace(body.bytes.to_ascii_uppercase()),
            "read.body" => {
                let seen = text(body.bytes.clone());
                exchange::set_attribute("body", &format!("{seen}|{}", body.complete));
                continue;
            }
            _ => match step_of(name, rest, &[])? {
                None => continue,
                Some(Verdict::Respond(reply)) => BodyVerdict::Respond(reply),
                Some(Verdict::Reset) => BodyVerdict::Reset,
                Some(_) => panic!("`{name}` is no verdict about a body"),
            },
        };
        return Ok(verdict);
    }
    Ok(BodyVerdict::Keep)
}

fn buffer(limit: &str, overflow: Overflow) -> Verdict {
    Verdict::Buffer(Buffering {
        limit: limit.parse().unwrap_or(1000),
        overflow,
    })
}

fn on_exchange(
    name: &str,
    first: &str,
    second: &str,
    rest: &str,
    fields: &[u8],
) -> Result<(), String> {
    let value = second.as_bytes();
    match name {
        "request.set" => outcome(request::set(first, value)),
        "request.append" => outcome(request::append(first, value)),
        "request.remove" => outcome(request::remove(first)),
        "request.method" => outcome(request::set_method(first)),
        "request.authority" => outcome(request::set_authority(first)),
        "request.path" => outcome(request::set_path(rest)),
        "request.fill" => outcome(request::set(first, &vec![b'x'; number(second)])),
        "response.set" => outcome(response::set(first, value)),
        "response.append" => outcome(response::append(first, value)),
        "response.remove" => outcome(response::remove(first)),
        "response.status" => outcome(response::set_status(number(first))),
        "response.show" => {
            let shown = exchange::attribute(first).unwrap_or_default();
            outcome(response::set("x-shown", shown.as_bytes()));
        }
        "trailers.set" => outcome(trailers::set(first, value)),
        "trailers.remove" => outcome(trailers::remove(first)),
        "route-to" => outcome(exchange::route_to(first)),
        "set-route" => outcome(exchange::set_route(first)),
        "mirror-to" => outcome(exchange::mirror_to(
            first,
            &[("x-copy".into(), value.to_vec())],
        )),
        "set-retry" => outcome(exchange::set_retry(first)),
        "set-hash-key" => outcome(exchange::set_hash_key(first.as_bytes())),
        "set-subset" => outcome(exchange::set_subset(&[(first.into(), second.into())])),
        "delay" => exchange::delay(number::<u64>(first) * 1_000_000),
        "timeout" => exchange::set_timeout(timeout(first), number::<u64>(second) * 1_000_000),
        "try-timeout" => {
            exchange::set_try_timeout(try_part(first), number::<u64>(second) * 1_000_000);
        }
        "attribute" => exchange::set_attribute(first, second),
        "attribute-fill" => exchange::set_attribute(first, &"x".repeat(number(second))),
        "attributes-flood" => (0..number(first)).for_each(|attribute: u32| {
            exchange::set_attribute(&format!("flood-{attribute}"), "a value");
        }),
        "state" => exchange::set_state(rest.as_bytes()),
        "state-fill" => exchange::set_state(&vec![b'x'; number(first)]),
        "log" => log::log(Level::Info, rest, &[("key".into(), "a value".into())]),
        "log-flood" => (0..number(first)).for_each(|line: u32| {
            log::log(Level::Info, &format!("line {line}"), &[]);
        }),
        "fields-flood" => (0..number(first)).for_each(|field: u32| {
            outcome(request::append(&format!("x-flood-{field}"), b"a value"));
        }),
        "series-flood" => {
            let metric = Metric::define(Kind::Counter, "flood", "help", &["label".into()])?;
            (0..number(first)).for_each(|series: u32| metric.update(1.0, &[series.to_string()]));
        }
        "stderr" => eprintln!("{rest}"),
        "stdout" => println!("{rest}"),
        "count" => Metric::define(Kind::Counter, first, "help", &["label".into()])?
            .update(1.0, &[second.into()]),
        "count-by" => {
            let (label, value) = second.split_once(' ').unwrap_or((second, ""));
            Metric::define(Kind::Counter, first, "help", &[label.into()])?
                .update(1.0, &[value.into()]);
        }
        _ => read(name, first, fields),
    }
    Ok(())
}

/// Steps that leave what they read as an attribute.
fn read(name: &str, first: &str, fields: &[u8]) {
    let found = match name {
        "read.prefetched" => hex(fields),
        "read.request" => hex(&packed(request::get_all(first))),
        "read.response" => hex(&packed(response::get_all(first))),
        "read.first" => format!("{:?}", request::get(first).map(text)),
        "read.line" => format!(
            "{} {} {} {}",
            request::method(),
            request::scheme(),
            request::authority(),
            request::path()
        ),
        "read.entries" => request::entries()
            .into_iter()
            .map(|(name, value)| format!("{name}={} ", text(value)))
            .collect(),
        "read.trailer" => format!("{:?}", trailers::get(first).map(text)),
        "read.trailers" => trailers::entries()
            .into_iter()
            .map(|(name, value)| format!("{name}={} ", text(value)))
            .collect(),
        "read.status" => format!("{:?} {}", response::status(), response::is_local()),
        "read.attribute" => format!("{:?}", exchange::attribute(first)),
        "read.state" => text(exchange::state()),
        "read.client" => exchange::client_address(),
        "read.time" => format!("{}", host::now() > 0 && exchange::elapsed() < u64::MAX),
        "read.bytes" => format!(
            "{} {}",
            exchange::request_bytes(),
            exchange::response_bytes()
        ),
        "read.world" => format!(
            "{} {} {}",
            std::env::args().count(),
            std::env::vars().count(),
            std::fs::read_dir("/").is_err()
        ),
        "read.calls" => {
            static CALLS: AtomicU32 = AtomicU32::new(0);
            (CALLS.fetch_add(1, Ordering::Relaxed) + 1).to_string()
        }
        "read.random" => format!("{}", host::random() != host::random()),
        _ => panic!("no step `{name}`"),
    };
    exchange::set_attribute("read", &found);
}

fn outcome<E: std::fmt::Debug>(result: Result<(), E>) {
    let outcome = match result {
        Ok(()) => "ok".into(),
        Err(error) => format!("{error:?}"),
    };
    exchange::set_attribute("outcome", &outcome);
}

fn respond(status: u16, headers: &[(&str, &str)], body: &str) -> Verdict {
    let field = |(name, value): &(&str, &str)| ((*name).into(), value.as_bytes().to_vec());
    Verdict::Respond(Reply {
        status,
        headers: headers.iter().map(field).collect(),
        body: body.as_bytes().to_vec(),
    })
}

pub fn number<T: std::str::FromStr>(text: &str) -> T {
    text.parse()
        .unwrap_or_else(|_| panic!("`{text}` is no number"))
}

fn timeout(name: &str) -> Timeout {
    match name {
        "total" => Timeout::Total,
        "try" => Timeout::Try,
        "idle" => Timeout::Idle,
        _ => panic!("no timeout `{name}`"),
    }
}

fn try_part(name: &str) -> TryPart {
    match name {
        "connect" => TryPart::Connect,
        "tls" => TryPart::Tls,
        "answer" => TryPart::Answer,
        _ => panic!("no part `{name}`"),
    }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// One field as `packed-fields` would carry it.
fn packed(values: Vec<Vec<u8>>) -> Vec<u8> {
    let mut packed = (values.len() as u16).to_le_bytes().to_vec();
    for value in values {
        packed.extend((value.len() as u32).to_le_bytes());
        packed.extend(value);
    }
    packed
}

pub fn spin() {
    let mut turns = 0_u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

fn busy(turns: u64) {
    let mut sum = 0_u64;
    for turn in 0..turns {
        sum = black_box(sum.wrapping_add(turn));
    }
}

pub fn allocate() {
    let mut hoard = Vec::new();
    loop {
        hoard.push(black_box(vec![1_u8; 1 << 20]));
    }
}

fn leak() {
    loop {
        std::mem::forget(Metric::define(Kind::Counter, "leak", "", &[]));
    }
}

/// A loop that is hardly ever in the guest.
fn ask_without_end() {
    loop {
        black_box(host::now());
    }
}

/// What no text can be.
fn garbage() -> String {
    // SAFETY: nobody here looks into it; the host must not trust it.
    unsafe { String::from_utf8_unchecked(vec![0xff, 0xfe, b'a']) }
}

/// In `create`: the instances before this one are well. They know each other by the
/// metrics that each of them defined in its own way.
fn trap_from_instance(number: u32) {
    let own = host::random().to_string();
    let is_first = |place: &u32| {
        let name = format!("instance{place}");
        Metric::define(Kind::Counter, &name, &own, &[]).is_ok()
    };
    if !(1..number).any(|place| is_first(&place)) {
        core::arch::wasm32::unreachable();
    }
}

/// Without memory of its own, so that the stack of the machine is what ends.
#[inline(never)]
fn recurse(depth: u64) -> u64 {
    if depth == 0 {
        return 1;
    }
    recurse(depth + 1).wrapping_mul(depth) ^ depth
}
