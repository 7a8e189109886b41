//! Cases: sample exchanges of a filter, in `checks` or in a file of their own.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Display;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde_json::Value;

use super::Checker;
use super::address::Wrong;
use super::names::read_name;
use crate::config::cases::{
    Answer, Case, Expect, ExpectedBody, ExpectedField, ExpectedMessage, Sample, SampleBody,
    SampleConnection, SamplePeer, SampleRequest, SampleResponse, SampleTls, Step,
};
use crate::config::mistake::Mistake;
use crate::config::place::below;
use crate::config::raw::{
    RawAnswer, RawCase, RawCaseConnection, RawCaseRequest, RawCaseResponse, RawCaseTls, RawExpect,
    RawExpectedCall, RawExpectedMirror, RawExpectedRequest, RawExpectedResponse, RawStep, Values,
};
use crate::config::secret::{Secret, SecretBytes, SecretSource, WANTED};
use crate::config::words;
use crate::http::framing::is_bodiless;
use crate::stats::filter::FAULTS;

/// Whose cases they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CasesOf {
    /// An entry of `filters`, with its configuration and its secrets.
    Filter,
    /// A file of cases.
    File,
}

/// A word of a text from `${ENV}` that is masked apart: shorter ones are everywhere.
const MIN_MASKED: usize = 8;

type Fields = BTreeMap<String, Option<Values>>;

/// What one exchange of a case is written with.
struct RawExchange<'a> {
    request: &'a RawCaseRequest,
    connection: Option<&'a RawCaseConnection>,
    answers: &'a [Option<RawAnswer>],
    response: &'a RawCaseResponse,
    repeat: u32,
    expect: &'a RawExpect,
}

impl Checker<'_> {
    pub(super) fn cases(&mut self, at: &str, raw: &[Option<RawCase>], of: CasesOf) -> Vec<Case> {
        let mut first: HashMap<&str, String> = HashMap::new();
        let mut cases = Vec::new();
        for (index, raw) in raw.iter().enumerate() {
            let Some(raw) = raw else {
                continue;
            };
            let at = below(at, index);
            if let Some(name) = &raw.name {
                let pointer = below(&at, "name");
                if let Some(first) = first.get(name.as_str()) {
                    let first = self.places.find(first);
                    let found = format!("the case {} again, first at {first}", words::quoted(name));
                    self.mistake(&pointer, found, "each name once");
                } else {
                    first.insert(name, pointer);
                }
            }
            cases.extend(self.case(&at, raw, of));
        }
        cases
    }

    fn case(&mut self, at: &str, raw: &RawCase, of: CasesOf) -> Option<Case> {
        self.check_keys(at, raw, of);
        let mut all = raw.steps.iter().flatten();
        if all.any(|step| step.connection.is_some()) {
            self.refuse_key(&below(at, "route"), "route", NOT_OF_CONNECTIONS);
        }
        let config = raw.config.as_ref();
        let steps = match raw.steps.is_empty() {
            true => vec![self.step(at, &RawExchange::of_case(raw))],
            false => {
                let steps = raw.steps.iter().enumerate();
                let steps = steps.filter_map(|(index, step)| Some((index, step.as_ref()?)));
                let at = below(at, "steps");
                steps
                    .map(|(index, step)| self.step(&below(&at, index), &RawExchange::of_step(step)))
                    .collect()
            }
        };
        Some(Case {
            name: raw.name.clone()?,
            pointer: at.to_owned(),
            route: raw.route.as_deref().map(Into::into),
            config: config.map(|config| self.own_config(below(at, "config"), config)),
            secrets: self.sample_secrets(&below(at, "secrets"), &raw.secrets),
            steps,
            masked: self.secrets_of(at, raw),
        })
    }

    /// The texts that came from `${ENV}`, whole and, as a part of one may be what is
    /// secret, word by word.
    fn secrets_of(&self, at: &str, raw: &RawCase) -> Vec<SecretBytes> {
        let mut texts = Vec::new();
        if let Ok(value) = serde_json::to_value(raw) {
            self.texts_from_env(at.to_owned(), &value, &mut texts);
        }
        let words = texts.iter().flat_map(|text| text.split(' '));
        let words = words.filter(|word| word.len() >= MIN_MASKED);
        let all = texts.iter().map(String::as_str).chain(words);
        all.filter_map(|text| SecretBytes::new(text.as_bytes()).ok())
            .collect()
    }

    fn texts_from_env(&self, at: String, value: &Value, texts: &mut Vec<String>) {
        match value {
            Value::String(text) if self.places.is_from_env(&at) => texts.push(text.clone()),
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.texts_from_env(below(&at, index), item, texts);
                }
            }
            Value::Object(members) => {
                for (key, member) in members {
                    self.texts_from_env(below(&at, key), member, texts);
                }
            }
            Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// Keys that cannot stand where they stand.
    fn check_keys(&mut self, at: &str, raw: &RawCase, of: CasesOf) {
        if of == CasesOf::Filter {
            for (key, wanted) in [
                (
                    "config",
                    "no other configuration in a check (`route` selects that of a route)",
                ),
                (
                    "secrets",
                    "no secrets in a check: the filter has those that it is granted",
                ),
            ] {
                self.refuse_key(&below(at, key), key, wanted);
            }
        }
        if !raw.steps.is_empty() {
            for key in [
                "request",
                "connection",
                "answers",
                "response",
                "repeat",
                "expect",
            ] {
                let wanted = "it in each of the `steps`";
                self.refuse_key(&below(at, key), key, wanted);
            }
        }
    }

    fn refuse_key(&mut self, pointer: &str, key: &str, wanted: &str) {
        if self.places.has(pointer) {
            let mistake = Mistake::at_key(self.places, pointer, format!("`{key}`"), wanted);
            self.mistakes.push(mistake);
        }
    }

    /// Secrets that stand in a file of cases.
    pub(super) fn sample_secrets(
        &mut self,
        at: &str,
        raw: &BTreeMap<String, Option<String>>,
    ) -> Vec<Secret> {
        let mut secrets = Vec::new();
        for (name, value) in raw {
            let pointer = below(at, name);
            let Some(value) = value else {
                continue;
            };
            match SecretBytes::new(value.as_bytes()) {
                Ok(bytes) => {
                    secrets.extend(self.key(&pointer, name, read_name).map(|name| Secret {
                        name,
                        source: SecretSource::Value,
                        bytes,
                    }))
                }
                Err(error) => self.mistake(&pointer, format!("a value that {error}"), WANTED),
            }
        }
        secrets
    }

    fn step(&mut self, at: &str, raw: &RawExchange<'_>) -> Step {
        let answers = raw.answers.iter().enumerate();
        let answers = answers.filter_map(|(index, raw)| {
            self.answer(&below(&below(at, "answers"), index), raw.as_ref()?)
        });
        let answers = answers.collect();
        let sample = match raw.connection {
            Some(connection) => {
                self.refuse_keys_of_exchanges(at);
                let connection = self.sample_connection(&below(at, "connection"), connection);
                Sample::Connection(Box::new(connection))
            }
            None => {
                let request = self.sample_request(&below(at, "request"), raw.request);
                Sample::Request(Box::new(request))
            }
        };
        Step {
            answers,
            sample,
            response: self.sample_response(&below(at, "response"), raw.response),
            repeat: raw.repeat,
            expect: self.expect(&below(at, "expect"), raw.expect),
        }
    }

    /// What is not there before anything on a connection is understood.
    fn refuse_keys_of_exchanges(&mut self, at: &str) {
        let wanted = NOT_OF_CONNECTIONS;
        for key in ["route", "request", "response"] {
            self.refuse_key(&below(at, key), key, wanted);
        }
        let expect = below(at, "expect");
        for key in ["route", "request", "response", "mirrors"] {
            self.refuse_key(&below(&expect, key), key, wanted);
        }
    }

    fn sample_connection(&mut self, at: &str, raw: &RawCaseConnection) -> SampleConnection {
        let client_address = self.parsed(at, "client_address", Some(&raw.client_address), ADDRESS);
        let destination = self.parsed(at, "destination", Some(&raw.destination), DESTINATION);
        let at_base64 = below(at, "preview_base64");
        if raw.preview.is_some() && raw.preview_base64.is_some() {
            self.mistake(
                &at_base64,
                "`preview_base64` beside `preview`",
                "one of them",
            );
        }
        let preview = match (&raw.preview, &raw.preview_base64) {
            (Some(text), _) => text.clone().into(),
            (None, Some(base64)) => {
                let read = self.text(&at_base64, base64, read_base64);
                read.unwrap_or_default()
            }
            (None, None) => Bytes::new(),
        };
        let by_protocol = raw.protocol.map(|protocol| !protocol.is_opaque());
        if let (Some(http), Some(wanted)) = (raw.http, by_protocol)
            && http != wanted
        {
            let found = format!("`http: {http}` beside a `protocol` that is otherwise");
            self.mistake(&below(at, "http"), found, "one of them");
        }
        let is_opaque = !raw.http.or(by_protocol).unwrap_or(false);
        SampleConnection {
            client_address: client_address.unwrap_or([192, 0, 2, 1].into()),
            destination: destination.unwrap_or(([192, 0, 2, 200], 443).into()),
            is_opaque,
            tls: raw.tls.as_ref().map(sample_tls),
            sni: raw.sni.clone(),
            protocol: raw.protocol,
            preview,
            attributes: given(&raw.attributes),
            pointer: at.to_owned(),
        }
    }

    fn sample_request(&mut self, at: &str, raw: &RawCaseRequest) -> SampleRequest {
        let method = self.parsed(at, "method", Some(&raw.method), "a method such as `GET`");
        let path = self.text(&below(at, "path"), &raw.path, read_path);
        let authority = self.parsed::<Authority>(at, "authority", Some(&raw.authority), AUTHORITY);
        let client_address = self.parsed(at, "client_address", Some(&raw.client_address), ADDRESS);
        SampleRequest {
            method: method.unwrap_or(Method::GET),
            path: path.unwrap_or(PathAndQuery::from_static("/")),
            authority: authority.unwrap_or(Authority::from_static("example.test")),
            headers: self.sent_fields(&below(at, "headers"), &raw.headers),
            body: self.body(
                at,
                raw.body.as_ref(),
                raw.body_base64.as_ref(),
                Some(&raw.trailers),
            ),
            client_address: client_address.unwrap_or([192, 0, 2, 1].into()),
            tls: raw.tls.as_ref().map(sample_tls),
            attributes: given(&raw.attributes),
            pointer: at.to_owned(),
        }
    }

    fn sample_response(&mut self, at: &str, raw: &RawCaseResponse) -> Option<SampleResponse> {
        let response = SampleResponse {
            status: status(raw.status),
            headers: self.sent_fields(&below(at, "headers"), &raw.headers),
            body: self.body(
                at,
                raw.body.as_ref(),
                raw.body_base64.as_ref(),
                Some(&raw.trailers),
            ),
        };
        if raw.unavailable {
            self.refuse_answer(
                at,
                "it without `unavailable`, with which there is no answer",
            );
            return None;
        }
        self.check_bodiless(at, &response);
        Some(response)
    }

    fn answer(&mut self, at: &str, raw: &RawAnswer) -> Option<Answer> {
        let method = self.parsed(at, "method", raw.method.as_ref(), "a method such as `GET`");
        let response = SampleResponse {
            status: status(raw.status),
            headers: self.sent_fields(&below(at, "headers"), &raw.headers),
            body: self.body(at, raw.body.as_ref(), raw.body_base64.as_ref(), None),
        };
        match raw.error {
            Some(_) => self.refuse_answer(at, "it without `error`, with which there is no answer"),
            None => self.check_bodiless(at, &response),
        }
        Some(Answer {
            cluster: raw.cluster.as_deref()?.into(),
            method,
            path: raw.path.clone(),
            outcome: raw.error.map_or(Ok(response), Err),
        })
    }

    /// What is said of an answer that is none.
    fn refuse_answer(&mut self, at: &str, wanted: &str) {
        for key in ["status", "headers", "body", "body_base64", "trailers"] {
            self.refuse_key(&below(at, key), key, wanted);
        }
    }

    /// An answer that no origin could give.
    fn check_bodiless(&mut self, at: &str, response: &SampleResponse) {
        let SampleResponse { status, body, .. } = response;
        if is_bodiless(&Method::GET, *status)
            && !(body.pieces.is_empty() && body.trailers.is_empty())
        {
            let wanted = format!("none of it with the status {}", status.as_u16());
            for key in ["body", "body_base64", "trailers"] {
                self.refuse_key(&below(at, key), key, &wanted);
            }
        }
    }

    fn body(
        &mut self,
        at: &str,
        text: Option<&Values>,
        base64: Option<&Values>,
        trailers: Option<&Fields>,
    ) -> SampleBody {
        let at_base64 = below(at, "body_base64");
        if text.is_some() && base64.is_some() {
            self.mistake(&at_base64, "`body_base64` beside `body`", "one of them");
        }
        let pieces = match (text, base64) {
            (Some(text), _) => text
                .texts()
                .iter()
                .map(|text| text.clone().into())
                .collect(),
            (None, Some(base64)) => {
                let pieces = base64.texts().iter();
                let pieces = pieces.filter_map(|text| self.text(&at_base64, text, read_base64));
                pieces.collect()
            }
            (None, None) => Vec::new(),
        };
        let written = text.or(base64);
        let trailers = trailers.map(|trailers| self.sent_fields(&below(at, "trailers"), trailers));
        SampleBody {
            pieces: pieces
                .into_iter()
                .filter(|piece: &Bytes| !piece.is_empty())
                .collect(),
            in_pieces: matches!(written, Some(Values::Many(_))),
            trailers: trailers.unwrap_or_default(),
        }
    }

    /// Fields of a message that is sent. How long it is, its body says.
    fn sent_fields(&mut self, at: &str, raw: &Fields) -> HeaderMap {
        let mut fields = HeaderMap::new();
        for (name, values) in raw {
            let pointer = below(at, name);
            let name = self.key(&pointer, name, read_sent_field);
            let (Some(name), Some(values)) = (name, values) else {
                continue;
            };
            for value in values.texts() {
                if let Some(value) = self.text(&pointer, value, read_value) {
                    fields.append(name.clone(), value);
                }
            }
        }
        fields
    }

    fn expect(&mut self, at: &str, raw: &RawExpect) -> Expect {
        let fault = raw.fault.as_ref();
        let request = raw.request.as_ref();
        let response = raw.response.as_ref();
        let calls = raw.calls.as_deref();
        let mirrors = raw.mirrors.as_deref();
        let attributes = raw.attributes.iter();
        Expect {
            verdict: raw.verdict,
            fault: fault.and_then(|fault| self.text(&below(at, "fault"), fault, read_fault)),
            cluster: raw.cluster.clone(),
            route: raw.route.clone(),
            request: request.map(|raw| self.expected_request(&below(at, "request"), raw)),
            response: response.map(|raw| self.expected_response(&below(at, "response"), raw)),
            attributes: attributes
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
            log: raw.log.iter().flatten().cloned().collect(),
            calls: calls.map(|raw| self.messages(&below(at, "calls"), raw, Self::expected_call)),
            mirrors: mirrors
                .map(|raw| self.messages(&below(at, "mirrors"), raw, Self::expected_mirror)),
            pointer: at.to_owned(),
        }
    }

    fn messages<R>(
        &mut self,
        at: &str,
        raw: &[Option<R>],
        check: fn(&mut Self, &str, &R) -> ExpectedMessage,
    ) -> Vec<ExpectedMessage> {
        let raw = raw.iter().enumerate();
        let raw = raw.filter_map(|(index, raw)| Some((below(at, index), raw.as_ref()?)));
        raw.map(|(at, raw)| check(self, &at, raw)).collect()
    }

    fn expected_request(&mut self, at: &str, raw: &RawExpectedRequest) -> ExpectedMessage {
        ExpectedMessage {
            method: raw.method.clone(),
            path: raw.path.clone(),
            authority: raw.authority.clone(),
            headers: self.expected_fields(&below(at, "headers"), &raw.headers),
            body: self.expected_body(at, raw.body.as_ref(), raw.body_base64.as_ref()),
            trailers: self.expected_fields(&below(at, "trailers"), &raw.trailers),
            pointer: at.to_owned(),
            ..ExpectedMessage::default()
        }
    }

    fn expected_response(&mut self, at: &str, raw: &RawExpectedResponse) -> ExpectedMessage {
        ExpectedMessage {
            status: raw.status,
            headers: self.expected_fields(&below(at, "headers"), &raw.headers),
            body: self.expected_body(at, raw.body.as_ref(), raw.body_base64.as_ref()),
            trailers: self.expected_fields(&below(at, "trailers"), &raw.trailers),
            cut_off: raw.cut_off,
            pointer: at.to_owned(),
            ..ExpectedMessage::default()
        }
    }

    fn expected_call(&mut self, at: &str, raw: &RawExpectedCall) -> ExpectedMessage {
        ExpectedMessage {
            cluster: raw.cluster.clone(),
            method: raw.method.clone(),
            path: raw.path.clone(),
            headers: self.expected_fields(&below(at, "headers"), &raw.headers),
            body: self.expected_body(at, raw.body.as_ref(), raw.body_base64.as_ref()),
            pointer: at.to_owned(),
            ..ExpectedMessage::default()
        }
    }

    fn expected_mirror(&mut self, at: &str, raw: &RawExpectedMirror) -> ExpectedMessage {
        ExpectedMessage {
            cluster: raw.cluster.clone(),
            headers: self.expected_fields(&below(at, "headers"), &raw.headers),
            pointer: at.to_owned(),
            ..ExpectedMessage::default()
        }
    }

    fn expected_body(
        &mut self,
        at: &str,
        text: Option<&String>,
        base64: Option<&String>,
    ) -> Option<ExpectedBody> {
        let at_base64 = below(at, "body_base64");
        if text.is_some() && base64.is_some() {
            self.mistake(&at_base64, "`body_base64` beside `body`", "one of them");
        }
        if let Some(text) = text {
            return Some(ExpectedBody {
                bytes: text.clone().into(),
                pointer: below(at, "body"),
            });
        }
        Some(ExpectedBody {
            bytes: self.text(&at_base64, base64?, read_base64)?,
            pointer: at_base64,
        })
    }

    fn expected_fields(&mut self, at: &str, raw: &Fields) -> Vec<ExpectedField> {
        let fields = raw.iter().filter_map(|(name, values)| {
            let pointer = below(at, name);
            Some(ExpectedField {
                name: self.key(&pointer, name, read_field)?,
                values: values.as_ref().map(|values| values.texts().to_vec()),
                pointer,
            })
        });
        fields.collect()
    }

    /// A key that is a name of something.
    fn key<T>(
        &mut self,
        pointer: &str,
        key: &str,
        read: impl FnOnce(&str) -> Result<T, Wrong>,
    ) -> Option<T> {
        match read(key) {
            Ok(value) => Some(value),
            Err(Wrong { wanted, hint }) => {
                let found = format!("the key {}", words::quoted(key));
                let mistake = Mistake::at_key(self.places, pointer, found, wanted);
                self.mistakes.push(mistake.with_hint(hint));
                None
            }
        }
    }

    fn parsed<T: FromStr>(
        &mut self,
        at: &str,
        key: &str,
        text: Option<&String>,
        wanted: impl Display,
    ) -> Option<T> {
        let read = |text: &str| text.parse().map_err(|_| Wrong::new(wanted.to_string()));
        self.text(&below(at, key), text?, read)
    }
}

impl<'a> RawExchange<'a> {
    fn of_case(raw: &'a RawCase) -> Self {
        Self {
            request: &raw.request,
            connection: raw.connection.as_ref(),
            answers: &raw.answers,
            response: &raw.response,
            repeat: raw.repeat,
            expect: &raw.expect,
        }
    }

    fn of_step(raw: &'a RawStep) -> Self {
        Self {
            request: &raw.request,
            connection: raw.connection.as_ref(),
            answers: &raw.answers,
            response: &raw.response,
            repeat: raw.repeat,
            expect: &raw.expect,
        }
    }
}

const AUTHORITY: &str = "a host name, with or without a port";
const NOT_OF_CONNECTIONS: &str = "none of it beside `connection`";
const ADDRESS: &str = "an IP address";
const DESTINATION: &str = "`address:port`";

fn sample_tls(raw: &RawCaseTls) -> SampleTls {
    SampleTls {
        sni: raw.sni.clone(),
        alpn: raw.alpn.clone(),
        peer: raw.peer.as_ref().map(|peer| SamplePeer {
            subject: peer.subject.clone(),
            fingerprint: peer.fingerprint.clone(),
            dns: peer.dns.iter().flatten().cloned().collect(),
            uris: peer.uris.iter().flatten().cloned().collect(),
        }),
    }
}

/// Attributes with a value.
fn given(raw: &BTreeMap<String, Option<String>>) -> Vec<(String, String)> {
    let given = raw.iter();
    let given = given.filter_map(|(name, value)| Some((name.clone(), value.clone()?)));
    given.collect()
}

/// In its range, or that it is not was told before.
fn status(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::OK)
}

fn read_path(text: &str) -> Result<PathAndQuery, Wrong> {
    let wrong = || Wrong::new("a path such as `/shop?page=2`, or `*`");
    let path = text.parse().map_err(|_| wrong())?;
    match text.starts_with('/') || text == "*" {
        true => Ok(path),
        false => Err(wrong()),
    }
}

fn read_base64(text: &str) -> Result<Bytes, Wrong> {
    let bytes = STANDARD
        .decode(text)
        .map_err(|_| Wrong::new("base64, with padding"))?;
    Ok(bytes.into())
}

fn read_fault(name: &str) -> Result<String, Wrong> {
    match FAULTS.contains(&name) {
        true => Ok(name.to_owned()),
        false => Err(Wrong::new(words::one_of(FAULTS.map(words::quoted)))),
    }
}

fn read_field(name: &str) -> Result<HeaderName, Wrong> {
    name.parse().map_err(|_| Wrong::new("the name of a field"))
}

fn read_sent_field(name: &str) -> Result<HeaderName, Wrong> {
    match read_field(name)? {
        HOST => Err(Wrong::new("`authority`, which is sent as `host`")),
        CONTENT_LENGTH | TRANSFER_ENCODING => {
            Err(Wrong::new("`body`, of which a message's length comes"))
        }
        CONNECTION => Err(Wrong::new("no `connection`: there is none to speak of")),
        name => Ok(name),
    }
}

fn read_value(text: &str) -> Result<HeaderValue, Wrong> {
    let is_padded = text.starts_with([' ', '\t']) || text.ends_with([' ', '\t']);
    match HeaderValue::from_str(text) {
        Ok(value) if !is_padded => Ok(value),
        _ => Err(Wrong::new(
            "the value of a field: one line, without spaces around it",
        )),
    }
}
