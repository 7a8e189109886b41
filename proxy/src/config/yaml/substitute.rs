//! `${NAME}` and `${NAME:-default}` in the strings of a configuration.

use std::borrow::Cow;

/// What is wrong with a `${...}`, which is given as it is written.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Problem {
    /// No such variable, and no default.
    Missing {
        written: String,
        name: String,
    },
    Malformed {
        written: String,
    },
}

/// A scalar after substitution.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Substituted<'a> {
    pub(super) text: Cow<'a, str>,
    /// Whether anything was put in.
    pub(super) from_env: bool,
}

/// Put the variables in. `$${` stands for `${` itself. A variable that is empty
/// counts as missing where there is a default, as in a shell.
pub(super) fn substitute<'a>(
    text: &'a str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Substituted<'a>, Vec<Problem>> {
    if !text.contains("${") {
        return Ok(Substituted {
            text: text.into(),
            from_env: false,
        });
    }
    let (mut result, mut problems, mut from_env) = (String::new(), Vec::new(), false);
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        if let Some(before) = rest[..start].strip_suffix('$') {
            result.push_str(before);
            result.push_str("${");
            rest = &rest[start + 2..];
            continue;
        }
        result.push_str(&rest[..start]);
        let end = rest[start..]
            .find('}')
            .map_or(rest.len(), |end| start + end + 1);
        match value(&rest[start..end], env) {
            Ok(value) => result.push_str(&value),
            Err(problem) => problems.push(problem),
        }
        from_env = true;
        rest = &rest[end..];
    }
    result.push_str(rest);
    match problems.is_empty() {
        true => Ok(Substituted {
            text: result.into(),
            from_env,
        }),
        false => Err(problems),
    }
}

/// The value of one `${...}`.
fn value(written: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<String, Problem> {
    let malformed = || Problem::Malformed {
        written: written.to_owned(),
    };
    let inner = written
        .strip_prefix("${")
        .and_then(|inner| inner.strip_suffix('}'))
        .ok_or_else(malformed)?;
    let (name, default) = match inner.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inner, None),
    };
    if !is_name(name) {
        return Err(malformed());
    }
    match (env(name), default) {
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(Problem::Missing {
            written: written.to_owned(),
            name: name.to_owned(),
        }),
    }
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "HOST" => Some("example.org".to_owned()),
            "EMPTY" => Some(String::new()),
            "NESTED" => Some("${HOST}".to_owned()),
            _ => None,
        }
    }

    fn check(text: &str, wanted: &str) {
        let found = substitute(text, &env).expect("no problem");
        assert_eq!(found.text, wanted, "{text}");
    }

    fn check_refused(text: &str, wanted: &[&str]) {
        let problems = substitute(text, &env).expect_err(text);
        let found: Vec<_> = problems
            .iter()
            .map(|problem| match problem {
                Problem::Missing { name, .. } => format!("missing {name}"),
                Problem::Malformed { written } => format!("malformed {written}"),
            })
            .collect();
        assert_eq!(found, wanted, "{text}");
    }

    #[test]
    fn variables_are_put_in() {
        check("plain $HOST {x}", "plain $HOST {x}");
        check("${HOST}", "example.org");
        check("a ${HOST}:${PORT:-80} b", "a example.org:80 b");
        check("${EMPTY}", "");
        check("${EMPTY:-x}", "x");
        check("${NONE:-}", "");
        check("${HOST:-x}", "example.org");
        check("$${HOST} $$${HOST}", "${HOST} $${HOST}");
        check("${NESTED}", "${HOST}");
    }

    #[test]
    fn every_problem_of_a_string_is_told() {
        check_refused("${NONE} ${HOST} ${GONE}", &["missing NONE", "missing GONE"]);
        check_refused("${1}", &["malformed ${1}"]);
        check_refused("${}", &["malformed ${}"]);
        check_refused("${HOST", &["malformed ${HOST"]);
        check_refused("${HOST:?x}", &["malformed ${HOST:?x}"]);
    }
}
