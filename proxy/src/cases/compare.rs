//! What was expected against what was found. Only what is expected is compared, but
//! for a fault, which nobody wants unless they say so.

use http::{HeaderMap, HeaderName};

use super::Difference;
use super::found::{Found, FoundMessage};
use crate::config::below;
use crate::config::cases::{Expect, ExpectedBody, ExpectedField, ExpectedMessage};

/// Characters of a text that a difference shows.
const MAX_SHOWN: usize = 200;
const NOTHING: &str = "nothing";

/// Everything that is not as expected.
pub fn compare(expect: &Expect, found: &Found) -> Vec<Difference> {
    let mut compared = Compared {
        pointer: expect.pointer.clone(),
        what: String::new(),
        differences: Vec::new(),
    };
    compared.exchange(expect, found);
    compared.differences
}

struct Compared {
    /// Of the part that is compared, and its name.
    pointer: String,
    what: String,
    differences: Vec<Difference>,
}

impl Compared {
    fn exchange(&mut self, expect: &Expect, found: &Found) {
        let verdict = expect.verdict.map(|verdict| verdict.name());
        self.text("verdict", verdict, Some(found.verdict.name()));
        self.fault(expect.fault.as_deref(), &found.faults);
        self.text(
            "cluster",
            expect.cluster.as_deref(),
            found.cluster.as_deref(),
        );
        self.text("route", expect.route.as_deref(), found.route.as_deref());
        self.message("request", expect.request.as_ref(), found.request.as_ref());
        self.message(
            "response",
            expect.response.as_ref(),
            found.response.as_ref(),
        );
        for (name, value) in &expect.attributes {
            let mut known = found.attributes.iter();
            let known = known.find(|(known, _)| known == name);
            let known = known.map(|(_, value)| value.as_str());
            let pointer = below(&below(&self.pointer, "attributes"), name);
            self.differ(
                pointer,
                format!("attributes.{name}"),
                value.as_deref(),
                known,
            );
        }
        self.lines(&expect.log, &found.lines);
        self.messages("calls", expect.calls.as_deref(), &found.calls);
        self.messages("mirrors", expect.mirrors.as_deref(), &found.mirrors);
    }

    fn text(&mut self, key: &str, expected: Option<&str>, found: Option<&str>) {
        if expected.is_some() {
            let (pointer, what) = (below(&self.pointer, key), self.named(key));
            self.differ(pointer, what, expected, found);
        }
    }

    fn fault(&mut self, expected: Option<&str>, found: &[&str]) {
        let is_good = match expected {
            Some(expected) => found.contains(&expected),
            None => found.is_empty(),
        };
        if !is_good {
            let shown = match found.is_empty() {
                true => "none".to_owned(),
                false => quoted(&found.join(", ")),
            };
            let pointer = below(&self.pointer, "fault");
            let expected = expected.map_or("none".to_owned(), quoted);
            self.push(pointer, "fault".to_owned(), expected, shown);
        }
    }

    fn lines(&mut self, expected: &[String], found: &[String]) {
        for (index, text) in expected.iter().enumerate() {
            if found.iter().any(|line| line.contains(text)) {
                continue;
            }
            let pointer = below(&below(&self.pointer, "log"), index);
            let expected = format!("a line with {}", quoted(text));
            let lines = found.iter().map(|line| quoted(line));
            let found = match found.is_empty() {
                true => "no line".to_owned(),
                false => lines.collect::<Vec<_>>().join(", "),
            };
            self.push(pointer, "log".to_owned(), expected, found);
        }
    }

    fn messages(
        &mut self,
        key: &str,
        expected: Option<&[ExpectedMessage]>,
        found: &[FoundMessage],
    ) {
        let Some(expected) = expected else {
            return;
        };
        if expected.len() != found.len() {
            let listed: Vec<_> = found.iter().map(FoundMessage::shown).collect();
            let found = match listed.is_empty() {
                true => "0".to_owned(),
                false => format!("{}: {}", listed.len(), listed.join(", ")),
            };
            let pointer = below(&self.pointer, key);
            self.push(pointer, key.to_owned(), expected.len().to_string(), found);
        }
        for (index, (expected, found)) in expected.iter().zip(found).enumerate() {
            self.message(&format!("{key}[{index}]"), Some(expected), Some(found));
        }
    }

    /// One message, at the pointer that it has itself.
    fn message(
        &mut self,
        what: &str,
        expected: Option<&ExpectedMessage>,
        found: Option<&FoundMessage>,
    ) {
        let Some(expected) = expected else {
            return;
        };
        let Some(found) = found else {
            let (pointer, what) = (expected.pointer.clone(), what.to_owned());
            let expected = format!("a {what}");
            return self.push(pointer, what, expected, "none".to_owned());
        };
        let outer = (
            std::mem::replace(&mut self.pointer, expected.pointer.clone()),
            std::mem::replace(&mut self.what, what.to_owned()),
        );
        self.parts(expected, found);
        (self.pointer, self.what) = outer;
    }

    fn parts(&mut self, expected: &ExpectedMessage, found: &FoundMessage) {
        let status = |status: Option<u16>| status.map(|status| status.to_string());
        let (wanted, known) = (status(expected.status), status(found.status));
        self.text("status", wanted.as_deref(), known.as_deref());
        self.text(
            "cluster",
            expected.cluster.as_deref(),
            found.cluster.as_deref(),
        );
        self.text(
            "method",
            expected.method.as_deref(),
            found.method.as_deref(),
        );
        self.text("path", expected.path.as_deref(), found.path.as_deref());
        self.text(
            "authority",
            expected.authority.as_deref(),
            found.authority.as_deref(),
        );
        self.fields("headers", &expected.headers, &found.headers);
        if let Some(body) = &expected.body {
            self.body(body, &found.body);
        }
        self.fields("trailers", &expected.trailers, &found.trailers);
        if let Some(cut_off) = expected.cut_off {
            let shown = |is: bool| if is { "cut off" } else { "whole" };
            self.text(
                "cut_off",
                Some(shown(cut_off)),
                Some(shown(found.is_cut_off)),
            );
        }
    }

    fn fields(&mut self, key: &str, expected: &[ExpectedField], found: &HeaderMap) {
        for field in expected {
            let values = values(found, &field.name);
            let wanted = field.values.clone().unwrap_or_default();
            if values != wanted {
                let what = self.named(&format!("{key}.{}", field.name));
                let pointer = field.pointer.clone();
                self.push(pointer, what, listed(&wanted), listed(&values));
            }
        }
    }

    /// Told by the first line that differs: bodies may be long.
    fn body(&mut self, expected: &ExpectedBody, found: &[u8]) {
        if *expected.bytes == *found {
            return;
        }
        let (pointer, what) = (expected.pointer.clone(), self.named("body"));
        let texts = (
            std::str::from_utf8(&expected.bytes),
            std::str::from_utf8(found),
        );
        let (Ok(wanted), Ok(known)) = texts else {
            let shown = |bytes: &[u8]| format!("{} bytes: {}", bytes.len(), hex(bytes));
            return self.push(pointer, what, shown(&expected.bytes), shown(found));
        };
        let (mut wanted, mut known) = (wanted.split('\n'), known.split('\n'));
        let is_one_line = wanted.clone().count() == 1 && known.clone().count() == 1;
        let mut number = 0;
        loop {
            number += 1;
            let lines = (wanted.next(), known.next());
            if lines.0 == lines.1 && lines.0.is_some() {
                continue;
            }
            let line = |line: Option<&str>| line.map_or("no such line".to_owned(), quoted);
            let what = match is_one_line {
                true => what,
                false => format!("{what}, line {number}"),
            };
            return self.push(pointer, what, line(lines.0), line(lines.1));
        }
    }

    fn named(&self, key: &str) -> String {
        match self.what.as_str() {
            "" => key.to_owned(),
            what => format!("{what}.{key}"),
        }
    }

    fn differ(
        &mut self,
        pointer: String,
        what: String,
        expected: Option<&str>,
        found: Option<&str>,
    ) {
        if expected != found {
            let shown = |text: Option<&str>| text.map_or(NOTHING.to_owned(), quoted);
            self.push(pointer, what, shown(expected), shown(found));
        }
    }

    fn push(&mut self, pointer: String, what: String, expected: String, found: String) {
        self.differences.push(Difference {
            pointer,
            what,
            expected,
            found,
        });
    }
}

impl FoundMessage {
    /// In short.
    fn shown(&self) -> String {
        let parts = [&self.method, &self.cluster, &self.path];
        let parts: Vec<_> = parts.into_iter().flatten().cloned().collect();
        quoted(&parts.join(" "))
    }
}

fn values(headers: &HeaderMap, name: &HeaderName) -> Vec<String> {
    let values = headers.get_all(name).iter();
    values
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        .collect()
}

fn listed(values: &[String]) -> String {
    match values {
        [] => NOTHING.to_owned(),
        values => {
            let values: Vec<_> = values.iter().map(|value| quoted(value)).collect();
            values.join(", ")
        }
    }
}

/// On one line, and not too long.
pub fn quoted(text: &str) -> String {
    let mut shown: String = text
        .chars()
        .take(MAX_SHOWN)
        .map(|c| {
            if c.is_control() {
                c.escape_default().to_string()
            } else {
                c.to_string()
            }
        })
        .collect();
    if text.chars().nth(MAX_SHOWN).is_some() {
        shown.push('…');
    }
    format!("`{shown}`")
}

fn hex(bytes: &[u8]) -> String {
    let shown = bytes.iter().take(MAX_SHOWN / 4);
    let mut text: String = shown.map(|byte| format!("{byte:02x}")).collect();
    if bytes.len() > MAX_SHOWN / 4 {
        text.push('…');
    }
    text
}
