//! The reference of every key, as Markdown: an introduction, and tables that are
//! made from the schema, so that they cannot tell anything else than the code.

use serde_json::{Map, Value};

use super::{SCHEMA, words};

/// The page on the configuration, with every key, its type, default and meaning.
pub fn reference() -> String {
    let root = SCHEMA.value();
    let mut page = include_str!("intro.md").to_owned();
    let mut sections = vec![Section {
        path: String::new(),
        schema: root,
    }];
    while let Some(section) = sections.pop() {
        section.write(root, &mut page);
        let inner = section.inner(root);
        sections.extend(inner.into_iter().rev());
    }
    page
}

/// The keys of one map.
struct Section<'a> {
    /// Such as `listeners[].limits`.
    path: String,
    schema: &'a Value,
}

impl<'a> Section<'a> {
    fn write(&self, root: &Value, page: &mut String) {
        let title = match self.path.as_str() {
            "" => "The file".to_owned(),
            path => format!("`{path}`"),
        };
        page.push_str(&format!(
            "\n## {title}\n\n{}\n\n",
            text(self.schema, "description")
        ));
        page.push_str("| key | value | default | meaning |\n|---|---|---|---|\n");
        for (name, schema) in self.keys() {
            let default = self.default(name, schema);
            let (value, meaning) = (value(root, schema), text(schema, "description"));
            let row = [format!("`{name}`"), value, default, meaning];
            let row = row.map(|cell| cell.replace('|', "\\|"));
            page.push_str(&format!("| {} |\n", row.join(" | ")));
        }
    }

    /// The sections of the maps within this one.
    fn inner(&self, root: &'a Value) -> Vec<Section<'a>> {
        let inner = self.keys().filter_map(|(name, schema)| {
            let path = match self.path.as_str() {
                "" => name.clone(),
                path => format!("{path}.{name}"),
            };
            map_within(root, schema, path)
        });
        inner.collect()
    }

    fn keys(&self) -> impl Iterator<Item = (&'a String, &'a Value)> {
        self.schema
            .get("properties")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
    }

    fn default(&self, name: &str, schema: &Value) -> String {
        let required = self.schema.get("required").and_then(Value::as_array);
        if required
            .into_iter()
            .flatten()
            .any(|required| required == name)
        {
            return "required".to_owned();
        }
        match schema.get("default") {
            None => "none".to_owned(),
            // The defaults of its keys stand in its own table.
            Some(Value::Object(members)) if !members.is_empty() => String::new(),
            Some(Value::String(text)) => format!("`{text}`"),
            Some(default) => format!("`{default}`"),
        }
    }
}

/// The map with known keys that a value is, or that is its item or member.
fn map_within<'a>(root: &'a Value, schema: &'a Value, path: String) -> Option<Section<'a>> {
    let schema = resolved(root, schema);
    if schema.get("properties").is_some() {
        return Some(Section { path, schema });
    }
    if let Some(items) = schema.get("items") {
        return map_within(root, items, format!("{path}[]"));
    }
    if let Some(members) = schema.get("additionalProperties") {
        let name = if path.ends_with("routes") {
            "ROUTE"
        } else {
            "NAME"
        };
        return map_within(root, members, format!("{path}.{name}"));
    }
    let branches = schema.get("anyOf").and_then(Value::as_array)?;
    let map = branches
        .iter()
        .find(|branch| branch.get("properties").is_some())?;
    Some(Section { path, schema: map })
}

fn resolved<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    let target = schema.get("$ref").and_then(Value::as_str);
    target
        .and_then(|target| words::resolve(root, target))
        .unwrap_or(schema)
}

/// What a key takes, in words.
fn value(root: &Value, schema: &Value) -> String {
    let schema = resolved(root, schema);
    let members = |schema: &Value| schema.as_object().is_some_and(Map::is_empty);
    if let Some(items) = schema.get("items") {
        return format!("a list; each: {}", value(root, items));
    }
    if let Some(inner) = schema
        .get("additionalProperties")
        .filter(|inner| inner.is_object())
    {
        return match members(inner) {
            true => "a map".to_owned(),
            false => format!("a map by name; each: {}", value(root, inner)),
        };
    }
    let words = words::wanted(root, schema).unwrap_or_else(|| "anything".to_owned());
    let short = words
        .split(", such as")
        .next()
        .and_then(|words| words.split(": ").next());
    short.unwrap_or_default().to_owned()
}

/// A text of a schema, on one line.
fn text(schema: &Value, keyword: &str) -> String {
    schema
        .get(keyword)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .replace('\n', " ")
}

#[cfg(test)]
mod tests;
