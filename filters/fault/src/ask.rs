//! What a request asks for in fields of its own.

use lockgate_sdk::duration;
use lockgate_sdk::prelude::*;

use crate::abort::{self, Abort};
use crate::draw::Percent;

/// `250ms`.
pub const DELAY: &str = "x-lockgate-fault-delay";
/// `503`, `grpc 14` or `reset`.
pub const ABORT: &str = "x-lockgate-fault-abort";

/// What a request may ask for.
#[derive(Debug, Clone)]
pub struct Asking {
    pub max_delay: Option<Duration>,
    pub may_abort: bool,
    pub percent: Percent,
}

impl Asking {
    /// The fields in which it may be asked for.
    pub fn fields(&self) -> impl Iterator<Item = &'static str> {
        let delay = self.max_delay.map(|_| DELAY);
        let abort = self.may_abort.then_some(ABORT);
        delay.into_iter().chain(abort)
    }

    pub fn delay(&self, request: &Request) -> Option<(Duration, Percent)> {
        let max = self.max_delay?;
        let delay = read(request, DELAY, duration::parse)?;
        Some((delay.min(max), self.percent))
    }

    pub fn abort(&self, request: &Request) -> Option<(Abort, Percent)> {
        self.may_abort.then_some(())?;
        let abort = read(request, ABORT, parse_abort)?;
        Some((abort, self.percent))
    }
}

/// What cannot be understood is as if it were not there, and is logged.
fn read<T>(request: &Request, name: &str, parse: fn(&str) -> Option<T>) -> Option<T> {
    let value = request.header(name)?;
    let text = String::from_utf8_lossy(&value);
    let read = parse(&text);
    if read.is_none() {
        log::debug!(
            "cannot understand what is asked for",
            field = name,
            value = text
        );
    }
    read
}

fn parse_abort(text: &str) -> Option<Abort> {
    if text == "reset" {
        return Some(Abort::Reset);
    }
    if let Some(status) = text.strip_prefix("grpc ") {
        let status = status
            .parse()
            .ok()
            .filter(|status| (1..=16).contains(status));
        return status.map(Abort::Grpc);
    }
    let status = text
        .parse()
        .ok()
        .filter(|status| (200..=599).contains(status));
    status.map(|status| Abort::Status(status, abort::BODY.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aborts() {
        let status = |status| Some(Abort::Status(status, abort::BODY.to_owned()));
        check("503", status(503));
        check("200", status(200));
        check("199", None);
        check("600", None);
        check("grpc 14", Some(Abort::Grpc(14)));
        check("grpc 0", None);
        check("grpc 17", None);
        check("reset", Some(Abort::Reset));
        check("", None);
        check("RESET", None);
    }

    fn check(text: &str, wanted: Option<Abort>) {
        assert_eq!(parse_abort(text), wanted, "{text}");
    }
}
