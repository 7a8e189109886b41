//! The two forms of a line: JSON, and text that begins like the combined log
//! format. A fact that is absent is left out of JSON.

use std::error::Error;
use std::fmt::{Display, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http::Version;

use super::clock::Clock;
use super::escape::{Escaped, escape, escape_bytes, is_word};
use crate::error::ProxyError;
use crate::exchange::record::Record;
use crate::filter::Told;
use crate::stats::NoRetry;
use crate::upstream::{Try, TryEnd};

/// What is spoken where it is not HTTP.
const TCP: &str = "tcp";

/// A key with all that stands around it, copied at once.
macro_rules! key {
    ($name:literal) => {
        concat!(",\"", $name, "\":")
    };
}

/// Appends the record as an object on a line of its own.
pub fn json(record: &Record, clock: &mut Clock, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"time\":\"");
    clock.write(record.started, out);
    out.push(b'"');
    let mut object = Object(out);
    who_asked(record, &mut object);
    what_for(record, &mut object);
    who_answered(record, &mut object);
    how_it_went(record, &mut object);
    attributes(record.attributes, &mut object);
    out.extend_from_slice(b"}\n");
}

fn who_asked(record: &Record, object: &mut Object) {
    object.string(key!("listener"), record.listener);
    object.some_string(key!("request_id"), given(record.request_id));
    object.some_string(key!("trace_id"), given(record.trace_id));
    object.string_with(key!("client"), |out| ip(record.client, out));
    object.string_with(key!("peer"), |out| socket(record.peer, out));
}

fn given(id: &str) -> Option<&str> {
    Some(id).filter(|id| !id.is_empty())
}

fn what_for(record: &Record, object: &mut Object) {
    object.some_string(key!("method"), record.method);
    object.some_string(key!("authority"), record.authority);
    object.some_string(key!("path"), record.path);
    match record.version {
        Some(http) => object.string(key!("version"), version(http)),
        None => object.string(key!("protocol"), TCP),
    }
    if let Some(user_agent) = record.user_agent {
        object.string_with(key!("user_agent"), |out| escape_bytes(user_agent, out));
    }
}

fn who_answered(record: &Record, object: &mut Object) {
    object.some_string(key!("route"), record.route);
    object.some_string(key!("cluster"), record.cluster);
    object.some_string(key!("endpoint"), record.endpoint);
    if record.endpoint.is_some() {
        object.truth(key!("reused"), record.reused);
        object.number(key!("retries"), u64::from(record.retries));
        tries(record.tries, object);
    }
    object.some_string(key!("no_retry"), record.no_retry.map(NoRetry::name));
    object.some_string(key!("filter"), record.filter);
    filters(record.filters, object);
}

fn tries(tries: &[Try], object: &mut Object) {
    let mut before = key!("tries");
    let mut bracket = "[{\"endpoint\":\"";
    for told in tries {
        object.key(before);
        object.key(bracket);
        (before, bracket) = (",", "{\"endpoint\":\"");
        escape(&told.endpoint.label, object.0);
        object.key("\"");
        object.string_with(key!("end"), |out| end(told.end, out));
        object.number(key!("us"), microseconds(told.took));
        object.key("}");
    }
    if !tries.is_empty() {
        object.key("]");
    }
}

/// A kind of error, a status, `grpc-` and a status, or a word.
fn end(end: TryEnd, out: &mut Vec<u8>) {
    match end {
        TryEnd::Error(kind) => out.extend_from_slice(kind.name().as_bytes()),
        TryEnd::Connected => out.extend_from_slice(b"connected"),
        TryEnd::Status(status) => number(u64::from(status), out),
        TryEnd::Grpc(status) => {
            out.extend_from_slice(b"grpc-");
            number(u64::from(status), out);
        }
        TryEnd::Overtaken => out.extend_from_slice(b"overtaken"),
        TryEnd::GivenUp => out.extend_from_slice(b"given_up"),
    }
}

fn filters(filters: &[Told], object: &mut Object) {
    let mut before = key!("filters");
    let mut bracket = "[{\"name\":\"";
    for told in filters {
        object.key(before);
        object.key(bracket);
        (before, bracket) = (",", "{\"name\":\"");
        escape(&told.filter, object.0);
        object.key("\"");
        object.number(key!("us"), microseconds(told.took));
        object.string(key!("verdict"), told.verdict);
        object.key("}");
    }
    if !filters.is_empty() {
        object.key("]");
    }
}

fn how_it_went(record: &Record, object: &mut Object) {
    if let Some(status) = record.status {
        object.number(key!("status"), u64::from(status));
    }
    object.number(key!("bytes_in"), record.bytes_in);
    object.number(key!("bytes_out"), record.bytes_out);
    object.number(key!("duration_us"), microseconds(record.duration));
    if let Some(upstream) = record.upstream {
        object.number(key!("upstream_us"), microseconds(upstream));
    }
    if let Some(error) = record.error {
        object.string(key!("error"), error.kind.name());
        if error.source().is_some() {
            object.string_with(key!("detail"), |out| show(&Detail(error), out));
        }
    }
}

fn attributes(attributes: &[(String, String)], object: &mut Object) {
    let Some(((name, value), rest)) = attributes.split_first() else {
        return;
    };
    object.key(key!("attributes"));
    object.0.extend_from_slice(b"{\"");
    object.name_and_value(name, value);
    for (name, value) in rest {
        object.0.extend_from_slice(b",\"");
        object.name_and_value(name, value);
    }
    object.0.push(b'}');
}

/// The fields of an object that has its first one already.
struct Object<'a>(&'a mut Vec<u8>);

impl Object<'_> {
    fn key(&mut self, key: &'static str) {
        self.0.extend_from_slice(key.as_bytes());
    }

    fn string(&mut self, key: &'static str, value: &str) {
        self.string_with(key, |out| escape(value, out));
    }

    fn some_string(&mut self, key: &'static str, value: Option<&str>) {
        if let Some(value) = value {
            self.string(key, value);
        }
    }

    fn string_with(&mut self, key: &'static str, write: impl FnOnce(&mut Vec<u8>)) {
        self.key(key);
        self.0.push(b'"');
        write(self.0);
        self.0.push(b'"');
    }

    fn number(&mut self, key: &'static str, value: u64) {
        self.key(key);
        number(value, self.0);
    }

    fn truth(&mut self, key: &'static str, value: bool) {
        self.key(key);
        let text: &[u8] = if value { b"true" } else { b"false" };
        self.0.extend_from_slice(text);
    }

    /// A name that is not ours, whose first quote is already there.
    fn name_and_value(&mut self, name: &str, value: &str) {
        escape(name, self.0);
        self.0.extend_from_slice(b"\":\"");
        escape(value, self.0);
        self.0.push(b'"');
    }
}

/// Appends the record in the combined log format, followed by `key=value`.
pub fn text(record: &Record, clock: &mut Clock, out: &mut Vec<u8>) {
    combined(record, clock, out);
    pair(" listener=", Some(record.listener), out);
    pair(" protocol=", record.version.is_none().then_some(TCP), out);
    pair(" host=", record.authority, out);
    pair(" route=", record.route, out);
    pair(" cluster=", record.cluster, out);
    pair(" endpoint=", record.endpoint, out);
    try_words(record.tries, out);
    pair(" no_retry=", record.no_retry.map(NoRetry::name), out);
    pair(" filter=", record.filter, out);
    filter_words(record.filters, out);
    if let Some(error) = record.error {
        pair(" error=", Some(error.kind.name()), out);
        detail(error, out);
    }
    amount(" bytes_in=", record.bytes_in, out);
    amount(" duration_us=", microseconds(record.duration), out);
    if let Some(upstream) = record.upstream {
        amount(" upstream_us=", microseconds(upstream), out);
    }
    pair(" request_id=", given(record.request_id), out);
    pair(" trace_id=", given(record.trace_id), out);
    for (name, value) in record.attributes {
        out.push(b' ');
        word(name, out);
        out.push(b'=');
        word(value, out);
    }
    out.push(b'\n');
}

/// `client - - [time] "request line" status bytes "-" "user agent"`. The
/// referrer is not kept.
fn combined(record: &Record, clock: &mut Clock, out: &mut Vec<u8>) {
    ip(record.client, out);
    out.extend_from_slice(b" - - [");
    clock.write(record.started, out);
    out.extend_from_slice(b"] \"");
    request_line(record, out);
    out.extend_from_slice(b"\" ");
    number(u64::from(record.status.unwrap_or(0)), out);
    out.push(b' ');
    number(record.bytes_out, out);
    out.extend_from_slice(b" \"-\" \"");
    escape_bytes(record.user_agent.unwrap_or(b"-"), out);
    out.push(b'"');
}

fn request_line(record: &Record, out: &mut Vec<u8>) {
    let (Some(method), Some(path)) = (record.method, record.path) else {
        return out.push(b'-');
    };
    escape(method, out);
    out.push(b' ');
    escape(path, out);
    if let Some(http) = record.version {
        out.extend_from_slice(b" HTTP/");
        out.extend_from_slice(version(http).as_bytes());
    }
}

/// `name:microseconds:verdict`, with commas in between. Names have none of these.
fn filter_words(filters: &[Told], out: &mut Vec<u8>) {
    let mut before: &[u8] = b" filters=";
    for told in filters {
        out.extend_from_slice(before);
        before = b",";
        escape(&told.filter, out);
        out.push(b':');
        number(microseconds(told.took), out);
        out.push(b':');
        out.extend_from_slice(told.verdict.as_bytes());
    }
}

/// `endpoint/end/microseconds`, with commas in between.
fn try_words(tries: &[Try], out: &mut Vec<u8>) {
    let mut before: &[u8] = b" tries=";
    for told in tries {
        out.extend_from_slice(before);
        before = b",";
        escape(&told.endpoint.label, out);
        out.push(b'/');
        end(told.end, out);
        out.push(b'/');
        number(microseconds(told.took), out);
    }
}

fn pair(key: &'static str, value: Option<&str>, out: &mut Vec<u8>) {
    if let Some(value) = value {
        out.extend_from_slice(key.as_bytes());
        word(value, out);
    }
}

fn amount(key: &'static str, value: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(key.as_bytes());
    number(value, out);
}

fn detail(error: &ProxyError, out: &mut Vec<u8>) {
    if error.source().is_some() {
        out.extend_from_slice(b" detail=\"");
        show(&Detail(error), out);
        out.push(b'"');
    }
}

fn word(text: &str, out: &mut Vec<u8>) {
    if is_word(text) {
        return out.extend_from_slice(text.as_bytes());
    }
    out.push(b'"');
    escape(text, out);
    out.push(b'"');
}

/// `Display` takes several times as long, and every line has two addresses.
fn ip(address: IpAddr, out: &mut Vec<u8>) {
    let IpAddr::V4(address) = address else {
        return show(&address, out);
    };
    let [first, rest @ ..] = address.octets();
    number(u64::from(first), out);
    for octet in rest {
        out.push(b'.');
        number(u64::from(octet), out);
    }
}

fn socket(address: SocketAddr, out: &mut Vec<u8>) {
    if address.is_ipv6() {
        return show(&address, out);
    }
    ip(address.ip(), out);
    out.push(b':');
    number(u64::from(address.port()), out);
}

fn show(value: &dyn Display, out: &mut Vec<u8>) {
    // A `Display` that gives up leaves its text cut short, which a log bears.
    let _ = write!(Escaped(out), "{value}");
}

fn number(value: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_11 => "1.1",
        Version::HTTP_2 => "2",
        _ => "?",
    }
}

/// The causes of an error, the nearest first.
struct Detail<'a>(&'a ProxyError);

impl Display for Detail<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut next = self.0.source();
        let mut separator = "";
        while let Some(cause) = next {
            write!(f, "{separator}{cause}")?;
            separator = ": ";
            next = cause.source();
        }
        Ok(())
    }
}
