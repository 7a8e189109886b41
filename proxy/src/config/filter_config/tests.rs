use serde_json::{Map, Value, json};

use super::{Told, check, mask};
use crate::config::{Config, Tone, load_text};

/// A configuration whose filter `f` has this block of YAML as its own, from line
/// 6 on.
fn load(config: &str) -> Config {
    let listeners = "listeners: [{ name: a, address: '1.1.1.1:1', filters: [f] }]";
    let config = config.replace('\n', "\n      ");
    let text = format!(
        "{listeners}\nfilters:\n  f:\n    component: 'lockgate:f'\n    config:\n      {config}\n"
    );
    let env = |name: &str| match name {
        "SECRET" => Some("hunter2".to_owned()),
        "DIGITS" => Some("007".to_owned()),
        _ => None,
    };
    let loaded = load_text(&text, "x.yaml", &env).map_err(|mistakes| mistakes.to_string());
    loaded.expect(&text).config
}

/// That the schema finds these mistakes, given without the name of the file.
fn check_messages(schema: &Value, config: &str, wanted: &[&str]) {
    let config = load(config);
    let found = check(schema, &config.filters[0].config, &config.places);
    let found: Vec<_> = found
        .mistakes
        .iter()
        .map(|mistake| mistake.to_string().replace("x.yaml:", ""))
        .collect();
    assert_eq!(found, wanted);
}

#[test]
fn mistakes_have_words_and_places() {
    let schema = json!({
        "type": "object",
        "properties": {
            "routes": {"type": "array", "items": {"$ref": "#/$defs/Route"}, "minItems": 1},
            "percent": {"type": "number", "minimum": 0, "maximum": 100},
            "kind": {"enum": ["fixed", "random"]},
            "name": {"type": "string", "pattern": "^[a-z]+$"},
            "count": {"type": ["integer", "null"], "exclusiveMinimum": 0},
            "tags": {"type": "array", "uniqueItems": true, "maxItems": 2},
            "even": {"type": "integer", "multipleOf": 2},
            "names": {"propertyNames": {"pattern": "^x-", "type": "string"}, "maxProperties": 1},
            "gone": false,
            "other": {"not": {"type": "string"}},
        },
        "required": ["routes", "name"],
        "additionalProperties": false,
        "$defs": {"Route": {
            "type": "object",
            "properties": {"cluster": {"type": "string"}, "status": {"type": "integer", "minimum": 100}},
            "required": ["cluster"],
            "additionalProperties": false,
        }},
    });
    check_messages(&schema, "routes: [{ cluster: a }]\nname: abc", &[]);
    check_messages(
        &schema,
        "routes: [{ clustr: a }, { status: 5, cluster: 5 }]\npercent: 101\nkind: fixd\nname: ABC\ncount: 0\ntags: [a, a, b]\neven: 3\nnames: { a: 1, x-b: 2 }\ngone: 1\nother: x",
        &[
            "6:18: found the unknown key `clustr`, wanted `cluster`",
            "6:41: found the number 5, wanted a whole number of at least 100",
            "6:53: found the number 5, wanted a string (quotes make it a string)",
            "7:16: found the number 101, wanted a number from 0 to 100",
            "8:13: found `fixd`, wanted `fixed` or `random` (`fixed` is near)",
            "9:13: found `ABC`, wanted a string that matches `^[a-z]+$`",
            "10:14: found the number 0, wanted a whole number above 0 or nothing",
            "11:13: found a list of 3, wanted at most 2 items",
            "11:13: found an item twice, wanted each item once",
            "12:13: found the number 3, wanted a multiple of 2",
            "13:14: found a map, wanted a map of at most 1 keys",
            "13:16: found the key `a`, wanted a string that matches `^x-`",
            "14:13: found the number 1, wanted nothing here",
            "15:14: found `x`, wanted anything but a string",
        ],
    );
    check_messages(
        &schema,
        "[]",
        &["6:7: found an empty list, wanted a map with `routes` and `name`"],
    );
    check_messages(
        &schema,
        "nmae: abc",
        &[
            "6:7: found no key `routes`, wanted `routes` with a list",
            "6:7: found the unknown key `nmae`, wanted `name`",
        ],
    );
}

#[test]
fn choices_are_told_by_what_was_most_likely_meant() {
    let fixed = json!({
        "type": "object",
        "properties": {"fixed": {"type": "string"}},
        "required": ["fixed"],
        "additionalProperties": false,
    });
    let range = json!({
        "type": "object",
        "properties": {"min": {"type": "integer"}, "max": {"type": "integer"}},
        "required": ["min", "max"],
        "additionalProperties": false,
    });
    let tagged = |kind: &str, key: &str| {
        json!({
            "type": "object",
            "properties": {"kind": {"const": kind}, key: {"type": "integer"}},
            "required": ["kind", key],
        })
    };
    let schema = json!({"properties": {
        "delay": {"oneOf": [fixed, range, {"const": "none"}]},
        "way": {"anyOf": [tagged("basic", "users"), tagged("jwt", "keys")]},
        "level": {"oneOf": [{"const": "low", "description": "x"}, {"const": "high"}]},
        "size": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
    }});
    for (config, wanted) in [
        ("delay: { fixed: a }", [].as_slice()),
        (
            "delay: { fixed: 1 }",
            &["6:23: found the number 1, wanted a string (quotes make it a string)"],
        ),
        (
            "delay: { min: 1, max: x }",
            &["6:29: found the string `x`, wanted a whole number"],
        ),
        (
            "delay: { min: 1 }",
            &["6:14: found no key `max`, wanted `max` with a whole number"],
        ),
        (
            "delay: { fixd: a }",
            &["6:16: found the unknown key `fixd`, wanted `fixed`"],
        ),
        (
            "delay: nine",
            &[
                "6:14: found `nine`, wanted a map with `fixed`, a map with `min` and `max` or `none` (`none` is near)",
            ],
        ),
        (
            "delay: 5",
            &[
                "6:14: found the number 5, wanted a map with `fixed`, a map with `min` and `max` or `none`",
            ],
        ),
        (
            "delay: {}",
            &["6:14: found no key `fixed`, wanted `fixed` with a string"],
        ),
        (
            "way: { kind: jwt, keys: x }",
            &["6:31: found the string `x`, wanted a whole number"],
        ),
        (
            "way: { kind: jwd, keys: 1 }",
            &["6:20: found `jwd`, wanted `basic` or `jwt` (`jwt` is near)"],
        ),
        (
            "level: hgih",
            &["6:14: found `hgih`, wanted `low` or `high` (`high` is near)"],
        ),
        (
            "size: x",
            &["6:13: found `x`, wanted a whole number or nothing"],
        ),
    ] {
        check_messages(&schema, config, wanted);
    }
    let both = json!({"oneOf": [{"type": "object"}, {"minProperties": 1}]});
    check_messages(
        &both,
        "a: 1",
        &["6:7: found a map, which is more than one of the choices, wanted exactly one: a map"],
    );
}

/// A text where a test may stand instead, as the router has for header fields.
#[test]
fn where_text_would_do_quotes_are_told() {
    let test = json!({"oneOf": [
        {"type": "object", "properties": {"exact": {"type": "string"}}, "required": ["exact"], "additionalProperties": false},
        {"type": "object", "properties": {"present": {"type": "boolean"}}, "required": ["present"], "additionalProperties": false},
    ]});
    let schema = json!({
        "additionalProperties": {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/Test"}]},
        "$defs": {"Test": test},
    });
    check_messages(
        &schema,
        "x-beta: 1\nx-long: 100000000000000000000",
        &[
            "6:15: found the number 1, wanted a string, a map with `exact` or a map with `present` (quotes make it a string)",
            "7:15: found the number 100000000000000000000, wanted a string, a map with `exact` or a map with `present` (quotes make it a string)",
        ],
    );
}

#[test]
fn what_came_from_the_environment_is_text_where_text_is_wanted() {
    let schema = json!({
        "properties": {
            "key": {"type": "string"},
            "any": {"anyOf": [{"type": "null"}, {"type": "array", "items": {"type": "string"}}]},
            "count": {"type": "integer"},
        },
    });
    let config = load("key: ${DIGITS}\nany: [ \"a\" ]\ncount: ${DIGITS}\nother: ${DIGITS}");
    let checked = check(&schema, &config.filters[0].config, &config.places);
    assert_eq!(checked.mistakes, []);
    assert_eq!(
        checked.config.value,
        json!({"key": "007", "any": ["a"], "count": 7, "other": 7})
    );
}

#[test]
fn something_good_takes_the_place_of_what_is_mistaken() {
    let schema = json!({
        "properties": {
            "routes": {"type": "array", "items": {"$ref": "#/$defs/Share"}},
            "kind": {"oneOf": [{"const": "a"}, {"const": "b"}]},
            "size": {"type": "integer", "minimum": 3},
        },
        "required": ["kind"],
        "additionalProperties": false,
        "$defs": {"Share": {
            "type": "object",
            "properties": {"cluster": {"type": "string"}, "weight": {"type": "integer"}},
            "required": ["cluster", "weight"],
        }},
    });
    let mended = |text: &str| {
        let config = load(text);
        check(&schema, &config.filters[0].config, &config.places)
            .config
            .value
    };
    assert_eq!(
        mended("routes: [{ cluster: zzz, weight: eighty }, 5]\nkind: none\nsize: 1\nsise: 3"),
        json!({
            "routes": [{"cluster": "zzz", "weight": 1}, {"cluster": "x", "weight": 1}],
            "kind": "a",
            "size": 3,
        }),
    );
    assert_eq!(mended("size: 4"), json!({"kind": "a", "size": 4}));
}

#[test]
fn secrets_are_not_repeated() {
    let schema = json!({
        "properties": {
            "key": {"type": "integer"},
            "pin": {"$ref": "#/$defs/pin", "writeOnly": true},
            "list": {"items": {"enum": ["a"], "writeOnly": true}},
        },
        "$defs": {"pin": {"type": "integer", "maximum": 5}},
    });
    check_messages(
        &schema,
        "key: \"${SECRET}\"\npin: 1234\nlist: [xyz]",
        &[
            "6:12: found a string from the environment, wanted a whole number",
            "7:12: found a number, wanted a whole number of at most 5",
            "8:14: found a string, wanted `a`",
        ],
    );
}

#[test]
fn broken_schemas_are_told() {
    let doubling = |levels: usize| {
        let mut defs: Map<String, Value> = (0..levels)
            .map(|i| {
                let next = json!({"$ref": format!("#/$defs/d{}", i + 1)});
                (format!("d{i}"), json!({"allOf": [next, next]}))
            })
            .collect();
        defs.insert(format!("d{levels}"), json!({"type": "object"}));
        json!({"$defs": defs, "$ref": "#/$defs/d0"})
    };
    let nested =
        |levels: usize| (0..levels).fold(json!({}), |deep, _| json!({"properties": {"a": deep}}));
    check_messages(&doubling(5), "a: 1", &[]);
    check_messages(&nested(120), "a: 1", &[]);
    for (schema, wanted) in [
        (json!({"$ref": "#"}), "its references go in a circle"),
        (
            json!({"allOf": [{"$ref": "#"}]}),
            "its references go in a circle",
        ),
        (
            json!({"anyOf": [{"$ref": "#"}, {"$ref": "#"}]}),
            "its references go in a circle",
        ),
        (
            json!({"$ref": "#/$defs/x"}),
            "`$ref` to `#/$defs/x`, which it does not have",
        ),
        (
            json!({"$ref": "https://example.com/x"}),
            "`$ref` to `https://example.com/x`: only references within the schema are supported",
        ),
        (
            json!({"properties": {"x": {"$dynamicRef": "#x"}}}),
            "`$dynamicRef` is not supported",
        ),
        (
            json!({"items": {"$id": "x"}}),
            "`$id` is supported only at its top",
        ),
        (doubling(40), "it takes too many steps to check"),
        (nested(300), "it is nested too deeply"),
        (
            json!({"type": 5}),
            "5 is not valid under any of the schemas listed in the 'anyOf' keyword, at `/type`",
        ),
        (
            json!({"pattern": "("}),
            "\"(\" is not a \"regex\", at `/pattern`",
        ),
        (
            json!({"properties": {"x": {"pattern": "(?=a)"}}}),
            "\"(?=a)\" is not a \"regex\", at `/properties/x/pattern`",
        ),
        (
            json!({"properties": {"x": {"pattern": "((a{1000}){1000}){1000}"}}}),
            "\"((a{1000}){1000}){1000}\" is not a \"regex\", at `/properties/x/pattern`",
        ),
        (
            json!({"$schema": "https://example.com/x"}),
            "Unknown meta-schema: 'https://example.com/x'. Custom meta-schemas must be registered in the registry before use",
        ),
        (json!(5), "5 is not of types \"boolean\", \"object\""),
    ] {
        let found = format!(
            "4:16: found a filter whose configuration schema is broken: {wanted}, wanted a filter with a valid JSON Schema"
        );
        check_messages(&schema, "a: 1", &[&found]);
    }
    check_messages(&json!(true), "a: 1", &[]);
    check_messages(
        &json!(false),
        "a: 1",
        &["6:7: found a map, wanted nothing here"],
    );
}

#[test]
fn what_a_filter_says_has_its_place() {
    let config = load("a: [1, 2]");
    let told = |at: &str, tone: Tone, text: &str| {
        let told = Told {
            filter: "f",
            tone,
            at,
            text,
        };
        told.about(&config.filters[0].config, &config.places)
            .to_string()
    };
    let at = |pointer: &str| told(pointer, Tone::Refuses, "less\n than 2");
    assert_eq!(
        at("/a/1"),
        "x.yaml:6:14: filter `f` refuses this: less  than 2"
    );
    assert_eq!(at("a/0"), at("/a/0"));
    assert_eq!(at(""), "x.yaml:6:7: filter `f` refuses this: less  than 2");
    assert_eq!(
        at("/a/7/b"),
        "x.yaml:6:10: filter `f` refuses this: less  than 2"
    );
    assert_eq!(
        told("/a/1", Tone::Warns, "`/a/0` is `1` and `/a/9` is not"),
        "x.yaml:6:14: filter `f` warns: `6:11` is `1` and `/a/9` is not"
    );
    assert_eq!(
        told("", Tone::Fails, "`create` failed: trap"),
        "x.yaml:6:7: filter `f` cannot be used: `create` failed: trap"
    );
    assert_eq!(at("\u{0}~~//"), at("/none").replace("6:10", "6:7"));
}

#[test]
fn secrets_are_masked() {
    let schema = json!({
        "properties": {
            "keys": {"type": "array", "items": {"$ref": "#/$defs/Key"}},
            "by_name": {"additionalProperties": {"anyOf": [{"type": "null"}, {"type": "string", "writeOnly": true}]}},
            "patterns": {"patternProperties": {"^s": {"writeOnly": true}}},
            "deep": {"allOf": [{"properties": {"x": {"writeOnly": true}}}]},
            "tuple": {"prefixItems": [{}, {"writeOnly": true}]},
        },
        "$defs": {"Key": {"properties": {"key": {"writeOnly": true}, "name": {}}}},
    });
    let config = load(
        "keys: [{ name: a, key: b }]\nby_name: { a: b }\npatterns: { s: 1 }\ndeep: { x: [1], y: 2 }\ntuple: [1, 2]\nenv: \"x ${SECRET}\"\nplain: 1",
    );
    let filter = &config.filters[0].config;
    assert_eq!(
        mask(Some(&schema), filter, &config.from_env),
        json!({
            "keys": [{"name": "a", "key": "***"}],
            "by_name": {"a": "***"},
            "patterns": {"s": "***"},
            "deep": {"x": "***", "y": 2},
            // Which item is meant is not looked at: too much is hidden, never too little.
            "tuple": ["***", "***"],
            "env": "***",
            "plain": 1,
        }),
    );
    let unmasked = mask(None, filter, &config.from_env);
    assert_eq!(
        (&unmasked["env"], &unmasked["keys"][0]["key"]),
        (&json!("***"), &json!("b"))
    );
    assert_eq!(mask(Some(&json!({"$ref": "#"})), filter, &[]), json!("***"));
    assert_eq!(
        mask(Some(&json!({"writeOnly": true})), filter, &[]),
        json!("***")
    );
}
