//! The README names every key, and its examples are configurations.

use std::collections::BTreeSet;

use lockgate_auth::{Auth, Config};
use lockgate_sdk::testing::{Grant, Harness};
use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde_json::Value;

const README: &str = include_str!("../README.md");

#[test]
fn every_key_of_the_schema_is_told() {
    let schema: Value = serde_json::from_str(&lockgate_sdk::schema::<Config>()).unwrap();
    let mut keys = BTreeSet::new();
    collect_keys(&schema, &mut keys);
    assert!(keys.contains("required_claims"), "{keys:?}");
    for key in keys {
        assert!(README.contains(&format!("`{key}`")), "`{key}` is missing");
    }
}

fn collect_keys(schema: &Value, keys: &mut BTreeSet<String>) {
    match schema {
        Value::Object(members) => {
            if let Some(Value::Object(properties)) = members.get("properties") {
                keys.extend(properties.keys().cloned());
            }
            members.values().for_each(|value| collect_keys(value, keys));
        }
        Value::Array(values) => values.iter().for_each(|value| collect_keys(value, keys)),
        _ => {}
    }
}

#[test]
fn every_example_is_accepted() {
    let mut created = 0;
    for example in README.split("```yaml\n").skip(1) {
        let (yaml, _) = example.split_once("```").expect("the example ends");
        let example = json(&Yaml::load_from_str(yaml).unwrap()[0]);
        let whole_file = example.pointer("/filters/auth/config").cloned();
        let config = whole_file.unwrap_or(example);
        let secrets: [(&str, &[u8], _); 1] = [("alice-key", b"k", Grant::Use)];
        let made = match config.pointer("/jwt/jwks/cluster") {
            Some(_) => Harness::<Auth>::with_calls(config, &["idp"]),
            None => Harness::<Auth>::with_secrets(config, &secrets),
        };
        if let Err(errors) = made {
            panic!("{errors}\n{yaml}");
        }
        created += 1;
    }
    assert_eq!(created, 7);
}

fn json(yaml: &Yaml) -> Value {
    match yaml {
        Yaml::Value(Scalar::String(text)) => text.to_string().into(),
        Yaml::Value(Scalar::Boolean(flag)) => (*flag).into(),
        Yaml::Value(Scalar::Integer(number)) => (*number).into(),
        Yaml::Sequence(items) => items.iter().map(json).collect(),
        Yaml::Mapping(entries) => entries
            .iter()
            .map(|(key, value)| (key.as_str().unwrap().to_owned(), json(value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        other => panic!("no example has {other:?}"),
    }
}
