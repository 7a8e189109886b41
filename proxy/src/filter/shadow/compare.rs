//! What differs between what two versions of a filter made of the same call: what
//! it is about, and no value that a client or an origin gave.

use std::collections::BTreeSet;
use std::fmt::{Debug, Display};

use http::header::GetAll;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::record::Said;
use crate::filter::verdict::Reply;
use crate::filter::view::View;
use crate::stats::shadow::Difference;

/// What one version said, and how it left the exchange.
pub struct Result<'a> {
    pub said: &'a Said,
    pub view: &'a View,
}

/// What differs, each kind of it with what was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Differences(pub Vec<(Difference, String)>);

impl Differences {
    /// Between the serving version and the shadow.
    pub fn of(serving: &Result<'_>, shadow: &Result<'_>) -> Self {
        let mut found = Self::default();
        found.between_verdicts(serving.said, shadow.said);
        found.between_views(serving.view, shadow.view);
        found
    }

    /// Whether the two say another thing, so that what comes next cannot be compared.
    pub fn is_parted(&self) -> bool {
        let mut kinds = self.0.iter().map(|(kind, _)| *kind);
        kinds.any(|kind| kind == Difference::Verdict)
    }

    fn between_verdicts(&mut self, serving: &Said, shadow: &Said) {
        match (serving, shadow) {
            (Said::Respond(one), Said::Respond(other)) => self.between_replies(one, other),
            (Said::Replace(one), Said::Replace(other)) if one != other => {
                let sizes = (one.len(), other.len());
                self.add(
                    Difference::Answer,
                    "replaced body",
                    bytes(sizes.0),
                    bytes(sizes.1),
                );
            }
            (one, other) if one != other => {
                self.add(Difference::Verdict, "verdict", verdict(one), verdict(other));
            }
            _ => {}
        }
    }

    fn between_replies(&mut self, one: &Reply, other: &Reply) {
        let kind = Difference::Answer;
        self.texts(kind, "answer status", &one.status, &other.status);
        self.fields(kind, "answer header", &one.headers, &other.headers);
        if one.body != other.body {
            let sizes = (one.body.len(), other.body.len());
            self.add(kind, "answer body", bytes(sizes.0), bytes(sizes.1));
        }
    }

    fn between_views(&mut self, one: &View, other: &View) {
        use Difference::{Decision, Head};
        let (request, others) = (&one.request, &other.request);
        self.texts(Head, "request method", &request.method, &others.method);
        self.debug(
            Head,
            "request authority",
            &request.authority,
            &others.authority,
        );
        let (path, others_path) = (without_query(&request.path), without_query(&others.path));
        match path == others_path && request.path != others.path {
            true => self.add(Head, "request query", "one".into(), "another".into()),
            false => self.texts(Head, "request path", &path, &others_path),
        }
        self.fields(Head, "request header", &request.headers, &others.headers);
        if let (Some(response), Some(others)) = (&one.response, &other.response) {
            self.texts(Head, "response status", &response.status, &others.status);
            self.fields(Head, "response header", &response.headers, &others.headers);
        }
        if let (Some(trailers), Some(others)) = (&one.trailers, &other.trailers) {
            self.fields(Head, "trailer", trailers, others);
        }

        let (decided, others) = (&one.decisions, &other.decisions);
        self.debug(Decision, "route", &decided.route, &others.route);
        self.debug(Decision, "cluster", &decided.cluster, &others.cluster);
        self.debug(Decision, "retry", &decided.retry, &others.retry);
        let mirrors = |view: &View| -> Vec<_> {
            let mirrors = view.decisions.mirrors.iter();
            mirrors.map(|mirror| mirror.cluster.clone()).collect()
        };
        self.debug(Decision, "mirrors", &mirrors(one), &mirrors(other));
        self.debug(Decision, "delay", &decided.delay, &others.delay);
        self.debug(Decision, "timeouts", &decided.timeouts, &others.timeouts);
        self.attributes(&one.attributes, &other.attributes);
    }

    fn attributes(&mut self, one: &[(String, String)], other: &[(String, String)]) {
        let names: BTreeSet<_> = one.iter().chain(other).map(|(name, _)| name).collect();
        fn value<'a>(all: &'a [(String, String)], name: &str) -> Option<&'a String> {
            let mut all = all.iter();
            all.find(|(known, _)| known == name).map(|(_, value)| value)
        }
        let text = |value: Option<&String>| {
            value.map_or_else(|| "none".to_owned(), |value| bytes(value.len()))
        };
        for name in names {
            let (one, other) = (value(one, name), value(other, name));
            if one != other {
                let what = format!("attribute `{name}`");
                self.add(Difference::Decision, &what, text(one), text(other));
            }
        }
    }

    fn fields(&mut self, kind: Difference, what: &str, one: &HeaderMap, other: &HeaderMap) {
        let names: BTreeSet<_> = one
            .keys()
            .chain(other.keys())
            .map(HeaderName::as_str)
            .collect();
        for name in names {
            let (one, other) = (one.get_all(name), other.get_all(name));
            if one != other {
                let what = format!("{what} `{name}`");
                self.add(kind, &what, field_text(&one), field_text(&other));
            }
        }
    }

    fn texts<T: PartialEq + Display>(&mut self, kind: Difference, what: &str, one: &T, other: &T) {
        if one != other {
            self.add(kind, what, one.to_string(), other.to_string());
        }
    }

    fn debug<T: PartialEq + Debug>(&mut self, kind: Difference, what: &str, one: &T, other: &T) {
        if one != other {
            self.add(kind, what, format!("{one:?}"), format!("{other:?}"));
        }
    }

    fn add(&mut self, kind: Difference, what: &str, serving: String, shadow: String) {
        self.0
            .push((kind, format!("{what}: {serving}; shadow: {shadow}")));
    }
}

fn verdict(said: &Said) -> String {
    match said {
        Said::Next => "next".into(),
        Said::Leave => "leave".into(),
        Said::Respond(reply) => format!("respond {}", reply.status.as_u16()),
        Said::Reset => "reset".into(),
        Said::Collect(collect) => format!("buffer {} bytes", collect.limit),
        Said::Transform => "transform".into(),
        Said::Replace(bytes) => format!("replace with {} bytes", bytes.len()),
        Said::Failed(fault) => format!("failed ({fault})"),
    }
}

fn bytes(count: usize) -> String {
    format!("{count} bytes")
}

/// A query may hold what is nobody's business.
pub fn without_query(path: &http::uri::PathAndQuery) -> String {
    path.path().to_owned()
}

/// Values of fields may be anybody's, and a filter need not know which are secret.
fn field_text(values: &GetAll<'_, HeaderValue>) -> String {
    let mut all = values.iter();
    match (all.next(), all.count()) {
        (None, _) => "none".to_owned(),
        (Some(value), 0) => bytes(value.len()),
        (Some(_), more) => format!("{} values", more + 1),
    }
}
