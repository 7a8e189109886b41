//! A value against a JSON Schema: every violation, in words.
//!
//! The validator tells which keyword failed where; the words come from the
//! schema around that keyword, so that a filter's own schema gives messages as
//! good as ours.

mod branches;
mod mend;

use std::collections::{BTreeSet, HashSet};

use jsonschema::error::{TypeKind, ValidationErrorKind as Kind};
use jsonschema::{JsonType, PatternOptions, ValidationError, Validator};
use serde_json::Value;

use super::mistake::{ENOUGH, Mistake};
use super::place::{Places, below};
use super::words::{self, Showing};
use branches::meant;
pub(super) use mend::put;
use mend::stand_in;

/// Of one compiled pattern: enough for every real one, and made in a moment.
const MAX_PATTERN_BYTES: usize = 1 << 18;

/// The values that are no text as they are written, by their pointers.
pub(super) type Texts = [(String, String)];

/// What is wrong with a value.
#[derive(Default)]
pub(super) struct Violations {
    pub(super) mistakes: Vec<Mistake>,
    /// What would be good instead, by pointers into the value; `None` where only
    /// nothing would be.
    pub(super) mends: Vec<(String, Option<Value>)>,
}

/// A schema that can be checked against.
pub(super) struct Schema {
    value: Value,
    validator: Validator,
}

impl Schema {
    /// Nothing outside the schema is ever fetched, and no pattern takes more than
    /// linear time.
    pub(super) fn build(value: Value) -> Result<Self, String> {
        let validator = jsonschema::options()
            .with_pattern_options(PatternOptions::regex().size_limit(MAX_PATTERN_BYTES))
            .offline()
            .build(&value)
            .map_err(|error| match error.instance_path().as_str() {
                "" => error.to_string(),
                path => format!("{error}, at `{path}`"),
            })?;
        Ok(Self { value, validator })
    }

    pub(super) fn value(&self) -> &Value {
        &self.value
    }

    /// Whether there is no violation. Much quicker than to look for all.
    pub(super) fn is_good(&self, instance: &Value) -> bool {
        self.validator.is_valid(instance)
    }

    /// Every violation. `pointer` is that of the instance in the configuration,
    /// and `masked` the instance without what a message may not show.
    pub(super) fn check(
        &self,
        instance: &Value,
        masked: &Value,
        pointer: &str,
        places: &Places,
    ) -> Violations {
        let (root, found, meant) = (&self.value, Violations::default(), HashSet::new());
        let mut translator = Translator {
            root,
            instance,
            masked,
            pointer,
            places,
            found,
            meant,
        };
        for error in self.validator.iter_errors(instance) {
            if translator.found.mistakes.len() >= ENOUGH {
                break;
            }
            translator.translate(&error);
        }
        translator.finish()
    }

    /// Make text of the values of `texts` where the schema wants text: digits from
    /// `${ENV}` may be meant as a password.
    pub(super) fn take_as_text(&self, value: &mut Value, texts: &Texts) {
        if texts.is_empty() {
            return;
        }
        let mut wanted = HashSet::new();
        for error in self.validator.iter_errors(value).take(ENOUGH) {
            text_wanted(&error, &mut wanted);
        }
        for (pointer, text) in texts.iter().filter(|(at, _)| wanted.contains(at)) {
            put(value, pointer, Some(Value::String(text.clone())));
        }
    }
}

/// Pointers of the values that would be good, or nearer to it, if they were text.
fn text_wanted(error: &ValidationError<'_>, wanted: &mut HashSet<String>) {
    match error.kind() {
        Kind::Type { kind } if wants(kind, JsonType::String) => {
            wanted.insert(error.instance_path().as_str().to_owned());
        }
        Kind::AnyOf { context } | Kind::OneOfNotValid { context } => {
            for error in context.iter().flatten() {
                text_wanted(error, wanted);
            }
        }
        _ => {}
    }
}

struct Translator<'a> {
    /// The schema.
    root: &'a Value,
    instance: &'a Value,
    masked: &'a Value,
    pointer: &'a str,
    places: &'a Places,
    found: Violations,
    /// Pointers of the keys that unknown ones were most likely meant to be.
    meant: HashSet<String>,
}

impl<'a> Translator<'a> {
    fn translate(&mut self, error: &ValidationError<'_>) {
        match error.kind() {
            Kind::AdditionalProperties { unexpected }
            | Kind::UnevaluatedProperties { unexpected } => {
                let known = self.known_keys(&[error]);
                for name in unexpected.iter().take(ENOUGH) {
                    self.unknown_key(error.instance_path().as_str(), name, &known);
                }
            }
            Kind::Required { property } => self.missing_key(error, property),
            Kind::AnyOf { context } | Kind::OneOfNotValid { context } => {
                self.no_branch(error, context);
            }
            Kind::PropertyNames { error: inner } => {
                let name = inner.instance().as_str().unwrap_or_default();
                let at = below(error.instance_path().as_str(), name);
                let wanted = self.words(self.schema_of(inner));
                let found = format!("the key {}", words::quoted(name));
                self.mend(&at, None);
                self.push_key(&at, found, wanted);
            }
            _ => self.simple(error),
        }
    }

    /// A violation that is about one value and told by its schema.
    fn simple(&mut self, error: &ValidationError<'_>) {
        let at = error.instance_path().as_str();
        let found = self.found(error);
        let wanted = self.wanted(error);
        self.mend(at, stand_in(self.root, self.schema_of(error)));
        self.push(at, found, wanted, self.hint(error));
    }

    fn found(&self, error: &ValidationError<'_>) -> String {
        let (at, value) = (error.instance_path().as_str(), error.instance());
        let showing = self.showing(at, value);
        let found = match self.places.written(&self.full(at)) {
            Some(written) if showing == Showing::Plain && value.is_number() => {
                format!("the number {}", words::shortened(written))
            }
            _ => words::found(value, showing),
        };
        let length = value.as_array().map(Vec::len);
        match error.kind() {
            Kind::Type { .. } if value.as_str().is_some_and(|text| !text.is_empty()) => {
                match found.strip_prefix('`') {
                    Some(_) => format!("the string {found}"),
                    None => found,
                }
            }
            Kind::MinItems { .. } | Kind::MaxItems { .. } | Kind::AdditionalItems { .. } => {
                match length {
                    None | Some(0) => found,
                    Some(length) => format!("a list of {length}"),
                }
            }
            Kind::UniqueItems => "an item twice".to_owned(),
            Kind::OneOfMultipleValid { .. } => {
                format!("{found}, which is more than one of the choices")
            }
            _ => found,
        }
    }

    fn wanted(&self, error: &ValidationError<'_>) -> String {
        let schema = self.schema_of(error);
        match error.kind() {
            Kind::MinItems { limit } => format!("at least {}", items(*limit)),
            Kind::MaxItems { limit } => format!("at most {}", items(*limit)),
            Kind::AdditionalItems { limit } => format!("at most {limit} items"),
            Kind::MinProperties { limit } => format!("a map of at least {limit} keys"),
            Kind::MaxProperties { limit } => format!("a map of at most {limit} keys"),
            Kind::UniqueItems => "each item once".to_owned(),
            Kind::FalseSchema => "nothing here".to_owned(),
            Kind::MultipleOf { multiple_of } => format!("a multiple of {multiple_of}"),
            Kind::Contains => "a list with an item that its schema asks for".to_owned(),
            Kind::Not { schema } => format!("anything but {}", self.words(schema)),
            Kind::OneOfMultipleValid { .. } => format!("exactly one: {}", self.words(schema)),
            _ => self.words(schema),
        }
    }

    fn words(&self, schema: &Value) -> String {
        words::wanted(self.root, schema).unwrap_or_else(|| "another value".to_owned())
    }

    /// What most likely went wrong.
    fn hint(&self, error: &ValidationError<'_>) -> Option<String> {
        let value = error.instance();
        let any_string = self.schema_of(error).get("x-wanted").is_none();
        match error.kind() {
            Kind::Type { kind }
                if wants(kind, JsonType::String) && is_word(value) && any_string =>
            {
                Some("quotes make it a string".to_owned())
            }
            Kind::Type {
                kind: TypeKind::Single(JsonType::Object),
            } if value.is_null() => Some("`{}` is an empty map".to_owned()),
            Kind::Type {
                kind: TypeKind::Single(JsonType::Array),
            } if value.is_null() => Some("`[]` is an empty list".to_owned()),
            Kind::Type { kind }
                if wants(kind, JsonType::Integer) || wants(kind, JsonType::Number) =>
            {
                let text = value.as_str()?;
                text.parse::<f64>().ok()?;
                Some("without quotes it is a number".to_owned())
            }
            Kind::Enum { options } => meant(value, options.as_array()?),
            _ => None,
        }
    }

    fn unknown_key(&mut self, parent: &str, name: &str, known: &BTreeSet<&str>) {
        let wanted = match words::nearest(name, known.iter().copied()) {
            Some(near) => {
                self.meant.insert(self.full(&below(parent, near)));
                words::quoted(near)
            }
            None if known.is_empty() => "no such key".to_owned(),
            None => words::one_of(known.iter().map(|key| words::quoted(key))),
        };
        let found = format!("the unknown key {}", words::quoted(name));
        self.mend(&below(parent, name), None);
        self.push_key(&below(parent, name), found, wanted);
    }

    fn missing_key(&mut self, error: &ValidationError<'_>, property: &Value) {
        let name = property.as_str().unwrap_or_default();
        let schema = self.schema_of(error).pointer(&below("/properties", name));
        let key = words::quoted(name);
        let wanted = match schema.and_then(|schema| words::wanted(self.root, schema)) {
            Some(wanted) => format!("{key} with {wanted}"),
            None => format!("the key {key}"),
        };
        let at = below(error.instance_path().as_str(), name);
        let good = schema.and_then(|schema| stand_in(self.root, schema));
        self.mend(&at, good);
        self.push(&at, format!("no key {key}"), wanted, None);
    }

    /// What was found, but for keys that are only missing because they are misspelt.
    fn finish(self) -> Violations {
        let Self {
            mut found,
            meant,
            instance,
            pointer: base,
            ..
        } = self;
        found.mistakes.retain(|mistake| {
            let inside = mistake.pointer.strip_prefix(base).unwrap_or_default();
            !meant.contains(&mistake.pointer) || instance.pointer(inside).is_some()
        });
        found
    }

    /// The keys that the schemas of these violations know.
    fn known_keys(&self, errors: &[&ValidationError<'_>]) -> BTreeSet<&'a str> {
        let root = self.root;
        let schemas = errors.iter().filter_map(|error| {
            let parent = error.schema_path().as_str().rsplit_once('/')?.0;
            root.pointer(parent)?.get("properties")?.as_object()
        });
        schemas
            .flat_map(|properties| properties.keys())
            .map(String::as_str)
            .collect()
    }

    /// The schema that holds the keyword which failed.
    fn schema_of(&self, error: &ValidationError<'_>) -> &Value {
        let path = error.schema_path().as_str();
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        self.root.pointer(parent).unwrap_or(&Value::Null)
    }

    fn showing(&self, at: &str, value: &Value) -> Showing {
        if self.places.is_from_env(&self.full(at)) {
            return Showing::FromEnv;
        }
        let is_masked =
            self.instance.pointer(at).is_some() && self.masked.pointer(at) != Some(value);
        match is_masked && !value.is_array() && !value.is_object() {
            true => Showing::Secret,
            false => Showing::Plain,
        }
    }

    fn full(&self, at: &str) -> String {
        format!("{}{at}", self.pointer)
    }

    fn mend(&mut self, at: &str, good: Option<Value>) {
        self.found.mends.push((at.to_owned(), good));
    }

    fn push(&mut self, at: &str, found: String, wanted: String, hint: Option<String>) {
        let mistake = Mistake::at(self.places, &self.full(at), found, wanted);
        self.found.mistakes.push(mistake.with_hint(hint));
    }

    fn push_key(&mut self, at: &str, found: String, wanted: String) {
        let mistake = Mistake::at_key(self.places, &self.full(at), found, wanted);
        self.found.mistakes.push(mistake);
    }
}

fn items(count: u64) -> String {
    match count {
        1 => "1 item".to_owned(),
        count => format!("{count} items"),
    }
}

fn wants(kind: &TypeKind, wanted: JsonType) -> bool {
    match kind {
        TypeKind::Single(single) => *single == wanted,
        TypeKind::Multiple(set) => set.contains(wanted),
    }
}

/// Whether it would be a string, had it quotes.
fn is_word(value: &Value) -> bool {
    value.is_number() || value.is_boolean()
}
