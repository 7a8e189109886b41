//! The README names every key, and its examples work.

use lockgate_sdk::testing::Harness;
use saphyr::{LoadableYamlNode, Yaml};
use serde_json::{Map, Value, json};

use crate::{Config, Router};

const README: &str = include_str!("../../README.md");

#[test]
fn every_key_is_documented() {
    let schema: Value = serde_json::from_str(&lockgate_sdk::schema::<Config>()).unwrap();
    let mut keys = Vec::new();
    collect(&schema, &mut keys);
    assert!(keys.len() > 40, "{keys:?}");
    for (key, described) in keys {
        assert!(
            README.contains(&format!("`{key}`")),
            "the README does not tell of `{key}`"
        );
        assert!(described, "`{key}` has no description in the schema");
    }
}

/// The keys of all objects of a schema, and whether each is described.
fn collect(schema: &Value, keys: &mut Vec<(String, bool)>) {
    if let Value::Array(list) = schema {
        list.iter().for_each(|schema| collect(schema, keys));
    }
    let Value::Object(object) = schema else {
        return;
    };
    if let Some(Value::Object(properties)) = object.get("properties") {
        // A test or a choice is described as a whole: it has one key.
        let is_choice = properties.len() == 1 && object.contains_key("description");
        for (key, property) in properties {
            let described = property.get("description").is_some() || is_choice;
            keys.push((key.clone(), described));
        }
    }
    object.values().for_each(|value| collect(value, keys));
}

#[test]
fn every_example_works() {
    let examples: Vec<&str> = README
        .split("```yaml\n")
        .skip(1)
        .map(|rest| rest.split_once("```").unwrap().0)
        .collect();
    assert!(examples.len() >= 8);
    for example in examples {
        let documents = Yaml::load_from_str(example).unwrap();
        let config = match json_of(&documents[0]) {
            Value::Array(routes) => json!({ "routes": routes }),
            other => other["filters"]["router"]["config"].clone(),
        };
        if let Err(errors) = Harness::<Router>::new(config) {
            panic!("{errors} in\n{example}");
        }
    }
}

fn json_of(yaml: &Yaml) -> Value {
    if let Some(text) = yaml.as_str() {
        return text.into();
    }
    if let Some(number) = yaml.as_integer() {
        return number.into();
    }
    if let Some(boolean) = yaml.as_bool() {
        return boolean.into();
    }
    if let Some(list) = yaml.as_sequence() {
        return list.iter().map(json_of).collect();
    }
    let mapping = yaml.as_mapping().expect("the examples hold nothing else");
    let pairs = mapping.iter().map(|(key, value)| {
        let key = key.as_str().expect("keys are texts");
        (key.to_owned(), json_of(value))
    });
    Value::Object(pairs.collect::<Map<_, _>>())
}
