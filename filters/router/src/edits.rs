//! Changes of header fields.

use std::collections::BTreeMap;

use lockgate_sdk::{HeadError, Request, Response};

use crate::config::EditsConfig;
use crate::mistakes::{Mistakes, Place};

/// Fields that are the proxy's own (framing and hops): it would refuse the change
/// at every request.
const OWNED: [&str; 10] = [
    "connection",
    "content-length",
    "expect",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Checked changes of one head.
#[derive(Debug, Default)]
pub struct Edits {
    remove: Vec<Box<str>>,
    set: Vec<Field>,
    append: Vec<Field>,
}

/// A field of the configuration: a legal name in lower case and a legal value.
pub type Field = (Box<str>, Box<str>);

/// A head that can be changed.
pub trait Head {
    fn remove(&self, name: &str) -> Result<(), HeadError>;
    fn set(&self, name: &str, value: &str) -> Result<(), HeadError>;
    fn append(&self, name: &str, value: &str) -> Result<(), HeadError>;
}

impl Edits {
    /// Check names and values; what is wrong is noted.
    pub fn check(config: &EditsConfig, place: &Place, mistakes: &mut Mistakes) -> Edits {
        let removed = place.key("remove");
        let remove = (config.remove.iter().enumerate())
            .filter_map(|(index, name)| mistakes.take(&removed.item(index), check_name(name)))
            .collect();
        Edits {
            remove,
            set: check_fields(&config.set, &place.key("set"), mistakes),
            append: check_fields(&config.append, &place.key("append"), mistakes),
        }
    }

    /// Whether there is nothing to change.
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.append.is_empty()
    }

    /// Change a head.
    pub fn apply(&self, head: &impl Head) -> Result<(), HeadError> {
        for name in &self.remove {
            head.remove(name)?;
        }
        for (name, value) in &self.set {
            head.set(name, value)?;
        }
        for (name, value) in &self.append {
            head.append(name, value)?;
        }
        Ok(())
    }

    /// Change the fields of an answer that is made here.
    pub fn apply_to(&self, fields: &mut Vec<Field>) {
        let replaced = |name: &str| {
            let is = |known: &str| known == name;
            self.remove.iter().any(|name| is(name)) || self.set.iter().any(|(name, _)| is(name))
        };
        fields.retain(|(name, _)| !replaced(name));
        fields.extend(self.set.iter().chain(&self.append).cloned());
    }
}

/// Check the fields of a map; what is wrong is noted.
pub fn check_fields(
    fields: &BTreeMap<String, String>,
    place: &Place,
    mistakes: &mut Mistakes,
) -> Vec<Field> {
    let mut checked = Vec::new();
    for (name, value) in fields {
        let place = place.key(name);
        let name = mistakes.take(&place, check_name(name));
        let value = mistakes.take(&place, check_value(value));
        checked.extend(name.zip(value));
    }
    checked
}

/// A name that may be changed, in lower case.
fn check_name(name: &str) -> Result<Box<str>, String> {
    let name = check_token(name, "a field name")?.to_ascii_lowercase();
    match name.as_str() {
        "host" => Err("`host` is changed by `rewrite.host`".to_owned()),
        owned if OWNED.contains(&owned) => Err(format!("`{owned}` belongs to the proxy")),
        _ => Ok(name.into()),
    }
}

/// RFC 9110 §5.6.2.
pub fn check_token<'a>(text: &'a str, what: &str) -> Result<&'a str, String> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    match !text.is_empty() && text.bytes().all(legal) {
        true => Ok(text),
        false => Err(format!("`{}` is not {what}", text.escape_default())),
    }
}

fn check_value(value: &str) -> Result<Box<str>, String> {
    if value.chars().any(|c| c.is_control() && c != '\t') {
        return Err("a field value must not hold line ends and control characters".to_owned());
    }
    if value.trim_matches([' ', '\t']) != value {
        return Err("a field value must not begin or end with a blank".to_owned());
    }
    Ok(value.into())
}

impl Head for Request<'_> {
    fn remove(&self, name: &str) -> Result<(), HeadError> {
        self.remove_header(name)
    }

    fn set(&self, name: &str, value: &str) -> Result<(), HeadError> {
        self.set_header(name, value)
    }

    fn append(&self, name: &str, value: &str) -> Result<(), HeadError> {
        self.append_header(name, value)
    }
}

impl Head for Response<'_> {
    fn remove(&self, name: &str) -> Result<(), HeadError> {
        self.remove_header(name)
    }

    fn set(&self, name: &str, value: &str) -> Result<(), HeadError> {
        self.set_header(name, value)
    }

    fn append(&self, name: &str, value: &str) -> Result<(), HeadError> {
        self.append_header(name, value)
    }
}
