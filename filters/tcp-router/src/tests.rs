use lockgate_sdk::testing::{Gate, undescribed_keys, undocumented_keys};
use serde_json::{Value, json};

use super::*;

fn goes(config: &Value, client: &str, attributes: &[(&str, &str)]) -> Option<String> {
    let mut gate = Gate::<TcpRouter>::new(config.clone()).unwrap();
    let admitted = gate.connect(client, attributes);
    assert_eq!(admitted.admission, Ok(Admission::Next));
    admitted.cluster
}

#[test]
fn by_the_name_that_is_asked_for() {
    let config = json!({ "routes": [
        { "match": { "sni": ["Db.example"] }, "cluster": "db" },
        { "match": { "sni": ["*.example"] }, "cluster": "others" },
    ] });
    for (name, wanted) in [
        ("db.example", Some("db")),
        ("DB.EXAMPLE", Some("db")),
        ("a.b.example", Some("others")),
        ("example", None),
        ("badexample", None),
    ] {
        let found = goes(&config, "10.0.0.1", &[("tls.sni", name)]);
        assert_eq!(found.as_deref(), wanted, "{name}");
    }
    assert_eq!(goes(&config, "10.0.0.1", &[]), None);
}

#[test]
fn by_addresses_and_ports() {
    let config = json!({ "routes": [
        { "match": { "clients": ["10.0.0.0/8"], "ports": [5432] }, "cluster": "near" },
        { "match": { "destinations": ["192.0.2.0/24"] }, "cluster": "edge" },
        { "cluster": "rest" },
    ] });
    let at = |address, port| [("destination.address", address), ("destination.port", port)];
    let found = |client, to: [(&str, &str); 2]| goes(&config, client, &to).unwrap();
    assert_eq!(found("10.1.1.1", at("198.51.100.1", "5432")), "near");
    assert_eq!(found("10.1.1.1", at("192.0.2.7", "80")), "edge");
    assert_eq!(found("11.1.1.1", at("198.51.100.1", "5432")), "rest");
}

#[test]
fn shares_follow_their_weights() {
    let config = json!({ "routes": [{ "split": [
        { "cluster": "old", "weight": 3 },
        { "cluster": "off", "weight": 0 },
        { "cluster": "new", "weight": 1 },
    ] }] });
    let mut gate = Gate::<TcpRouter>::new(config).unwrap();
    let found: Vec<_> = (0..4_000)
        .map(|_| gate.connect("10.0.0.1", &[]).cluster.unwrap())
        .collect();
    let count = |name: &str| found.iter().filter(|found| *found == name).count();
    assert_eq!(count("off"), 0);
    assert!((800..1200).contains(&count("new")), "{}", count("new"));
}

#[test]
fn first_bytes_are_waited_for_only_where_a_name_matters() {
    let wants = |routes: Value| {
        let gate = Gate::<TcpRouter>::new(json!({ "routes": routes })).unwrap();
        gate.wants()
    };
    let facts = ConnectionWants::facts().cluster("a");
    assert_eq!(wants(json!([{ "cluster": "a" }])), facts.clone());
    let by_name = json!([{ "match": { "sni": ["a.b"] }, "cluster": "a" }]);
    assert_eq!(wants(by_name), facts.preview(1));
}

#[test]
fn every_mistake_has_its_place() {
    let config = json!({ "routes": [
        { "match": { "sni": ["a..b", "*"], "clients": ["ten"] } },
        { "match": { "destinations": ["10.0.0.1/8"] }, "split": [{ "cluster": "a", "weight": 0 }] },
        { "cluster": "a", "split": [{ "cluster": "a", "weight": 1 }] },
    ] });
    let errors = Gate::<TcpRouter>::new(config).err().unwrap();
    let at: Vec<_> = errors.0.iter().map(|error| error.at.as_str()).collect();
    let wanted = [
        "/routes/0/match/sni/0",
        "/routes/0/match/sni/1",
        "/routes/0/match/clients/0",
        "/routes/0",
        "/routes/1/match/destinations/0",
        "/routes/1/split",
        "/routes/2",
    ];
    assert_eq!(at, wanted);
}

/// It would take every connection.
#[test]
fn a_key_without_a_value_is_refused() {
    for key in ["sni", "clients", "destinations", "ports"] {
        let config = json!({ "routes": [{ "match": { key: null }, "cluster": "a" }] });
        let errors = Gate::<TcpRouter>::new(config).err().unwrap();
        assert_eq!(errors.0[0].at, format!("/routes/0/match/{key}"));
    }
}

#[test]
fn every_key_is_documented() {
    assert_eq!(
        undocumented_keys::<Config>(include_str!("../README.md")),
        [""; 0]
    );
    assert_eq!(undescribed_keys::<Config>(), [""; 0]);
}
