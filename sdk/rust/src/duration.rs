//! Spans of time as operators write them: `250ms`, `5s`, `1m`.

use std::borrow::Cow;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error};

/// A span of time in a configuration: a whole number and `ms`, `s`, `m` or `h`.
///
/// ```
/// use lockgate_sdk::duration::Span;
/// use std::time::Duration;
///
/// let span: Span = serde_json::from_str(r#""250ms""#).unwrap();
/// assert_eq!(span.0, Duration::from_millis(250));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

/// Read a span of time; `None` when it is not one.
pub fn parse(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_secs(number.checked_mul(60)?)),
        "h" => Some(Duration::from_secs(number.checked_mul(3600)?)),
        _ => None,
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        let wrong = || D::Error::custom(format!("`{text}` is not a time such as `250ms` or `5s`"));
        parse(&text).map(Span).ok_or_else(wrong)
    }
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Span".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A span of time: a whole number and `ms`, `s`, `m` or `h`.",
            "type": "string",
            "pattern": "^[0-9]+(ms|s|m|h)$",
            "examples": ["250ms", "5s"],
            "x-wanted": "a duration, such as `250ms`, `10s`, `5m` or `1h`",
        })
    }

    fn inline_schema() -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans() {
        check("250ms", Some(Duration::from_millis(250)));
        check("5s", Some(Duration::from_secs(5)));
        check("2m", Some(Duration::from_secs(120)));
        check("1h", Some(Duration::from_secs(3600)));
        check("0ms", Some(Duration::ZERO));
        check("5", None);
        check("s", None);
        check("", None);
        check("-1s", None);
        check("1.5s", None);
        check("5 s", None);
        check("18446744073709551615h", None);
        check("18446744073709551616ms", None);
    }

    fn check(text: &str, wanted: Option<Duration>) {
        assert_eq!(parse(text), wanted, "{text}");
    }
}
