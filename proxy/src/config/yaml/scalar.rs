//! What a scalar means by the core schema of YAML 1.2 (§10.3).

use serde_json::Number;

use super::node::Content;

/// A number that JSON has no way to write.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotFinite;

/// The value of a plain (unquoted) scalar.
pub(super) fn plain(text: &str) -> Result<Content, NotFinite> {
    Ok(match text {
        "" | "~" | "null" | "Null" | "NULL" => Content::Null,
        "true" | "True" | "TRUE" => Content::Bool(true),
        "false" | "False" | "FALSE" => Content::Bool(false),
        text => match number(text)? {
            Some(number) => Content::Number(number),
            None => Content::String(text.to_owned()),
        },
    })
}

fn number(text: &str) -> Result<Option<Number>, NotFinite> {
    let radix = |prefix, radix| {
        let digits = text.strip_prefix(prefix)?;
        let unsigned = !digits.starts_with(['+', '-']);
        unsigned.then(|| u64::from_str_radix(digits, radix).ok())?
    };
    if let Some(number) = radix("0o", 8).or_else(|| radix("0x", 16)) {
        return Ok(Some(number.into()));
    }
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if matches!(digits, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return Err(NotFinite);
    }
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return Ok(None);
    }
    if let Ok(number) = text.parse::<u64>() {
        return Ok(Some(number.into()));
    }
    if let Ok(number) = text.parse::<i64>() {
        return Ok(Some(number.into()));
    }
    match text.parse::<f64>() {
        Ok(number) => Number::from_f64(number).map(Some).ok_or(NotFinite),
        Err(_) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(text: &str, wanted: Value) {
        let found = match plain(text).expect("a value") {
            Content::Null => Value::Null,
            Content::Bool(value) => value.into(),
            Content::Number(value) => value.into(),
            Content::String(value) => value.into(),
            Content::List(_) | Content::Map(_) => unreachable!("not of a scalar"),
        };
        assert_eq!(found, wanted, "{text}");
    }

    #[test]
    fn plain_scalars_have_the_types_of_the_core_schema() {
        check("", Value::Null);
        check("~", Value::Null);
        check("null", Value::Null);
        check("nULL", json!("nULL"));
        check("true", json!(true));
        check("yes", json!("yes"));
        check("off", json!("off"));
        check("0", json!(0));
        check("007", json!(7));
        check("-12", json!(-12));
        check("+12", json!(12));
        check("0o17", json!(15));
        check("0x1F", json!(31));
        check("0x-1", json!("0x-1"));
        check("18446744073709551615", json!(u64::MAX));
        check("1.5", json!(1.5));
        check(".5", json!(0.5));
        check("1e3", json!(1000.0));
        check("1_000", json!("1_000"));
        check("10s", json!("10s"));
        check("-", json!("-"));
        check(".", json!("."));
        check("inf", json!("inf"));
        check("infinity", json!("infinity"));
        check("1.2.3.4", json!("1.2.3.4"));
    }

    #[test]
    fn what_json_cannot_write_is_refused() {
        for text in [".inf", "-.inf", ".nan", "1e999"] {
            assert!(plain(text).is_err(), "{text}");
        }
    }
}
