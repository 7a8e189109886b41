use lockgate_sdk::testing::{Admitted, Gate, undescribed_keys, undocumented_keys};
use serde_json::{Value, json};

use super::*;

const SHOP: (&str, &str) = ("tls.peer.spiffe", "spiffe://example.org/ns/shop/sa/web");

fn connect(config: Value, client: &str, attributes: &[(&str, &str)]) -> Admitted {
    let mut gate = Gate::<L4Authz>::new(config).unwrap();
    gate.connect(client, attributes)
}

fn is_let(config: Value, client: &str, attributes: &[(&str, &str)]) -> bool {
    connect(config, client, attributes).admission == Ok(Admission::Next)
}

#[test]
fn nobody_is_let_in_whom_no_rule_allows() {
    assert!(!is_let(json!({}), "10.0.0.1", &[]));
    let config = json!({ "allow": [{ "clients": ["10.0.0.0/8", "2001:db8::1"] }] });
    for (client, wanted) in [
        ("10.0.0.1", true),
        ("2001:db8::1", true),
        ("11.0.0.1", false),
        ("2001:db8::2", false),
    ] {
        assert_eq!(is_let(config.clone(), client, &[]), wanted, "{client}");
    }
}

#[test]
fn a_denial_goes_before_what_is_allowed() {
    let config =
        json!({ "allow": [{}], "deny": [{ "name": "guests", "clients": ["10.9.0.0/16"] }] });
    assert!(is_let(config.clone(), "10.0.0.1", &[]));
    let denied = connect(config, "10.9.0.1", &[]);
    assert_eq!(denied.admission, Ok(Admission::deny("rule guests")));
    assert_eq!(denied.attributes["decision"], "denied");
    assert_eq!(denied.attributes["rule"], "guests");
}

#[test]
fn all_that_a_rule_says_must_hold() {
    let config = json!({ "allow": [{
        "clients": ["10.0.0.0/8"],
        "identities": ["spiffe://example.org/ns/shop/*"],
        "ports": [5432],
    }] });
    let port = ("destination.port", "5432");
    assert!(is_let(config.clone(), "10.0.0.1", &[SHOP, port]));
    assert!(!is_let(config.clone(), "11.0.0.1", &[SHOP, port]));
    assert!(!is_let(config.clone(), "10.0.0.1", &[port]));
    assert!(!is_let(config.clone(), "10.0.0.1", &[SHOP]));
    let other = ("tls.peer.spiffe", "spiffe://example.org/ns/shopping");
    assert!(!is_let(config, "10.0.0.1", &[other, port]));
}

#[test]
fn an_identity_is_the_whole_one_without_a_star() {
    let config = json!({ "allow": [{ "identities": [SHOP.1] }] });
    assert!(is_let(config.clone(), "10.0.0.1", &[SHOP]));
    let longer = format!("{}/more", SHOP.1);
    assert!(!is_let(config, "10.0.0.1", &[(SHOP.0, &longer)]));
}

#[test]
fn a_dry_run_only_tells() {
    let config = json!({ "dry_run": true });
    let outcome = connect(config, "10.0.0.1", &[SHOP, ("destination.port", "443")]);
    assert_eq!(outcome.admission, Ok(Admission::Next));
    assert_eq!(outcome.attributes["decision"], "would_deny");
    let line = &outcome.logs[0];
    let told = format!("{line:?}");
    for fact in ["would_deny", "10.0.0.1", SHOP.1, "443", "none"] {
        assert!(told.contains(fact), "{fact} in {told}");
    }
}

#[test]
fn every_mistake_has_its_place() {
    let config = json!({
        "deny": [{ "clients": ["10.0.0.1/8"] }],
        "allow": [{}, { "identities": [
            "web",
            "spiffe://a/*/b",
            "spiffe://a/**",
            "spiffe://example.org*",
            "spiffe://*",
            "spiffe:///*",
            "spiffe://a/*",
        ] }],
    });
    let errors = Gate::<L4Authz>::new(config).err().unwrap();
    let at: Vec<_> = errors.0.iter().map(|error| error.at.as_str()).collect();
    let wanted = [
        "/deny/0/clients/0",
        "/allow/1/identities/0",
        "/allow/1/identities/1",
        "/allow/1/identities/2",
        "/allow/1/identities/3",
        "/allow/1/identities/4",
        "/allow/1/identities/5",
    ];
    assert_eq!(at, wanted);
}

/// It would be about everybody.
#[test]
fn a_key_without_a_value_is_refused() {
    let schema: Value = serde_json::from_str(&lockgate_sdk::schema::<Config>()).unwrap();
    for key in ["clients", "identities", "ports"] {
        let described = &schema["$defs"]["RuleConfig"]["properties"][key];
        assert!(!described.to_string().contains("null"), "{described}");
        let config = json!({ "allow": [{ key: null }] });
        let errors = Gate::<L4Authz>::new(config).err().unwrap();
        let at: Vec<_> = errors.iter().map(|error| error.at.as_str()).collect();
        assert_eq!(at, [format!("/allow/0/{key}")]);
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
