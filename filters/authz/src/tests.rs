use lockgate_sdk::prelude::*;
use lockgate_sdk::testing::{self, Harness};
use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde_json::{Value, json};

use crate::config::Config;
use crate::filter::Authz;

const README: &str = include_str!("../README.md");

fn get(path: &str) -> testing::Exchange {
    testing::Exchange::get(path).client("192.0.2.1")
}

fn harness(config: Value) -> Harness<Authz> {
    Harness::<Authz>::new(config).unwrap_or_else(|errors| panic!("{errors}"))
}

/// Whether a request is allowed where this is the condition of the only rule.
fn holds(when: Value, exchange: testing::Exchange) -> bool {
    let mut harness = harness(json!({ "allow": [{ "name": "one", "when": when }] }));
    harness.request(exchange).verdict == Ok(Verdict::Leave)
}

#[track_caller]
fn check(when: Value, good: &[testing::Exchange], bad: &[testing::Exchange]) {
    for exchange in good {
        assert!(holds(when.clone(), exchange.clone()), "{when} {exchange:?}");
    }
    for exchange in bad {
        assert!(
            !holds(when.clone(), exchange.clone()),
            "{when} {exchange:?}"
        );
    }
}

#[test]
fn each_condition_looks_at_its_part() {
    let with = |name: &str, value: &str| get("/").attribute(name, value);
    let spiffe = |id: &str| with("tls.peer.spiffe", id);
    check(
        json!({ "spiffe": ["spiffe://a/ns/*/web", "spiffe://b/**"] }),
        &[spiffe("spiffe://a/ns/x/web"), spiffe("spiffe://b/any/one")],
        &[
            get("/"),
            spiffe("spiffe://a/ns/x/y/web"),
            spiffe("spiffe://bb"),
        ],
    );
    let sans = |sans: &str| with("tls.peer.sans", sans);
    check(
        json!({ "san": "DNS:*.example.org" }),
        &[sans("DNS:a.example.org"), sans("URI:x,DNS:a.example.org")],
        &[
            get("/"),
            sans("URI:DNS:a.example.org"),
            sans("DNS:a.example.org.evil"),
        ],
    );
    let peer = |subject: &str| with("tls.peer.subject", subject);
    check(
        json!({ "peer_subject": "CN=a,O=*" }),
        &[peer("CN=a,O=b")],
        &[get("/"), peer("CN=ab,O=b")],
    );
    let who = |subject: &str| with("auth.subject", subject);
    check(
        json!({ "subject": ["ann", "bot-*"] }),
        &[who("ann"), who("bot-1")],
        &[get("/"), who("bob"), with("other.subject", "ann")],
    );
    let tenant = |tenant: &str| with("auth.claim.tenant", tenant);
    check(
        json!({ "claims": { "tenant": "t1" } }),
        &[tenant("t1")],
        &[get("/"), tenant("t11"), with("auth.claim.other", "t1")],
    );
    let groups = |groups: &str| with("auth.claim.groups", groups);
    check(
        json!({ "claim_items": { "groups": ["admin", "ops-*"] } }),
        &[
            groups(r#"["dev","admin"]"#),
            groups("ops-eu dev"),
            groups("admin"),
        ],
        &[
            get("/"),
            groups(r#"["administrator"]"#),
            groups(r#"[["admin"]]"#),
            groups(r#"["admin""#),
            groups("no admins"),
        ],
    );
    check(
        json!({ "method": ["GET", "HEAD"] }),
        &[get("/")],
        &[
            testing::Exchange::post("/"),
            testing::Exchange::new("get", "/"),
        ],
    );
    check(
        json!({ "host": ["*.example.org", "[::1]"] }),
        &[
            get("/").authority("a.EXAMPLE.org:8443"),
            get("/").authority("[::1]:80"),
            get("/").authority("[::1]"),
            get("/").authority("[0:0::1]:80"),
            get("/").authority("a.example.org."),
            get("/").authority("a.example.org.:80"),
        ],
        &[
            get("/").authority("example.org"),
            get("/").authority("a.example.org.evil"),
        ],
    );
    check(
        json!({ "path": ["/a", "/b/**"] }),
        &[get("/a"), get("/a?b=/c"), get("/b"), get("/b/c/d?")],
        &[get("/a/"), get("/ab"), get("/c?/a"), get("/bb")],
    );
    check(
        json!({ "headers": { "X-Key": "k*" } }),
        &[
            get("/").header("x-key", "k1"),
            get("/").header("x-key", "a").header("x-key", "k"),
        ],
        &[get("/"), get("/").header("x-key", "a")],
    );
    check(
        json!({ "address": ["192.0.2.0/24", "2001:db8::/32"] }),
        &[
            get("/"),
            get("/").client("2001:db8::1"),
            get("/").client("::ffff:192.0.2.7"),
        ],
        &[get("/").client("192.0.3.1"), get("/").client("2001:db9::1")],
    );
    // All together.
    check(
        json!({ "method": "GET", "path": "/a", "subject": "ann" }),
        &[get("/a").attribute("auth.subject", "ann")],
        &[get("/a"), get("/b").attribute("auth.subject", "ann")],
    );
}

#[test]
fn what_denies_is_stronger_and_the_rest_is_denied() {
    let mut harness = harness(json!({
        "allow": [
            { "name": "all-of-a", "when": { "path": "/a/**" } },
            { "name": "not-b", "when": { "path": "/c/**" }, "unless": { "method": "POST" } },
        ],
        "deny": [{ "name": "secret", "when": { "path": "/a/secret/**" } }],
    }));
    let mut check = |exchange: testing::Exchange, decision: &str, rule: &str| {
        let outcome = harness.request(exchange);
        assert_eq!(outcome.attribute("decision"), Some(decision));
        assert_eq!(outcome.attribute("rule"), Some(rule));
        match decision {
            "allow" => assert_eq!(outcome.verdict, Ok(Verdict::Leave)),
            _ => assert_eq!(outcome.reply().status, 403),
        }
    };
    check(get("/a/b"), "allow", "all-of-a");
    check(get("/a/secret/b"), "deny", "secret");
    check(get("/b"), "deny", "(none)");
    check(get("/c/d"), "allow", "not-b");
    check(testing::Exchange::post("/c/d"), "deny", "(none)");
    assert_eq!(
        harness.metric("decisions_total", &["deny", "(none)"]),
        Some(2.0)
    );
    assert_eq!(
        harness.metric("decisions_total", &["allow", "not-b"]),
        Some(1.0)
    );
}

/// Whatever is in front of a path, it is in the record.
#[test]
fn a_record_has_room_for_all() {
    let long = "a".repeat(60_000);
    let exchange = get("/pay")
        .authority(&long)
        .attribute("auth.subject", &long);
    let outcome = harness(json!({})).request(exchange);
    let fields = &outcome.logs[0].fields;
    assert!(fields.contains(&("path".to_owned(), "/pay".to_owned())));
    assert!(fields.iter().all(|(_, value)| value.len() <= 256));
}

/// Many origins leave them out.
#[test]
fn parameters_of_paths_walk_around_nothing() {
    let mut harness = harness(json!({
        "allow": [{
            "name": "open",
            "when": { "path": ["/internal/**", "/open/**", "/;*/**", "/internal;*/**"] },
            "unless": { "path": "/open/closed/**" },
        }],
        "deny": [{
            "name": "internal",
            "when": { "path": ["/internal/**", "/a;b"] },
            "unless": { "path": "/internal/health" },
        }],
    }));
    let mut check = |path: &str, rule: &str| {
        let outcome = harness.request(get(path));
        assert_eq!(outcome.attribute("rule"), Some(rule), "{path}");
    };
    check("/open/a;x/b", "open");
    check("/open/closed/a", "(none)");
    check("/open/closed;x/a", "(none)");
    check("/open;x/a", "(none)");
    check("/internal/health", "open");
    check("/internal/keys", "internal");
    check("/internal;x/keys", "internal");
    check("/internal;x/health", "internal");
    check("/;x/internal/keys", "internal");
    check("/a;b", "internal");
}

#[test]
fn without_rules_nothing_passes() {
    assert_eq!(harness(json!({})).request(get("/")).reply().status, 403);
}

#[test]
fn a_denial_is_one_record() {
    let config = |dry_run: bool| {
        json!({
            "deny": [{ "name": "no-posts", "when": { "method": "POST" } }],
            "allow": [{ "name": "all" }],
            "dry_run": dry_run,
            "identity": "login",
        })
    };
    let post = testing::Exchange::post("/pay?card=1234")
        .authority("shop.test")
        .client("192.0.2.1")
        .attribute("login.subject", "ann")
        .attribute("tls.peer.spiffe", "spiffe://a/b")
        .attribute("tls.peer.subject", "CN=b");
    for (dry_run, decision) in [(false, "deny"), (true, "would_deny")] {
        let mut harness = harness(config(dry_run));
        let outcome = harness.request(post.clone());
        assert_eq!(outcome.logs.len(), 1);
        let fields = outcome.logs[0].fields.iter();
        let fields: Vec<_> = fields
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let wanted = format!(
            "audit={decision} rule=no-posts subject=ann spiffe=spiffe://a/b peer=\"CN=b\" \
             address=192.0.2.1 method=POST host=shop.test path=/pay"
        );
        assert_eq!(fields.join(" "), wanted);
        assert_eq!(outcome.verdict == Ok(Verdict::Leave), dry_run);
        assert_eq!(
            harness.metric("decisions_total", &[decision, "no-posts"]),
            Some(1.0)
        );
        assert!(harness.request(get("/")).logs.is_empty());
    }
}

#[test]
fn every_mistake_is_told_with_its_place() {
    let config = json!({
        "allow": [
            { "name": "a", "when": { "path": ["a", "/b?c", "/**/d"], "spiffe": "urn:a" } },
            { "name": "a", "unless": {} },
            {
                "name": "a b",
                "when": {
                    "address": ["10.0.0.1/8"],
                    "method": "delete",
                    "host": ["a", "A:80"],
                    "san": "a.example.org",
                },
            },
        ],
        "deny": [{ "name": "d", "when": { "claims": { "x/y": [] }, "headers": { "a b": "c" } } }],
        "identity": "",
    });
    let errors = Harness::<Authz>::new(config).err().expect("mistakes");
    let places: Vec<_> = errors.iter().map(|error| error.at.as_str()).collect();
    let wanted = [
        "/identity",
        "/deny/0/when/claims/x~1y",
        "/deny/0/when/headers",
        "/allow/0/when/spiffe",
        "/allow/0/when/path/0",
        "/allow/0/when/path/1",
        "/allow/0/when/path/2",
        "/allow/1/name",
        "/allow/1/unless",
        "/allow/2/name",
        "/allow/2/when/san",
        "/allow/2/when/host/1",
        "/allow/2/when/method",
        "/allow/2/when/address/0",
    ];
    assert_eq!(places, wanted, "{errors}");
}

#[test]
fn what_would_hold_for_everybody_by_mistake_is_refused() {
    for (rule, place) in [
        (json!({ "when": {} }), "/when"),
        (json!({ "when": null }), "/when"),
        (json!({ "unless": {} }), "/unless"),
        (json!({ "unless": null }), "/unless"),
        (json!({ "when": { "subject": null } }), "/when/subject"),
        (
            json!({ "when": { "path": null, "method": "GET" } }),
            "/when/path",
        ),
        (json!({ "when": { "subject": [] } }), "/when/subject"),
        (json!({ "when": { "subject": [null] } }), "/when/subject"),
        (json!({ "when": { "claims": null } }), "/when/claims"),
        (json!({ "when": { "claims": {} } }), "/when/claims"),
        (
            json!({ "when": { "claims": { "a": null } } }),
            "/when/claims/a",
        ),
        (
            json!({ "when": { "claim_items": {} } }),
            "/when/claim_items",
        ),
        (json!({ "when": { "headers": {} } }), "/when/headers"),
    ] {
        let mut rule = rule;
        rule["name"] = "one".into();
        let errors = Harness::<Authz>::new(json!({ "allow": [rule] })).err();
        let errors = errors.unwrap_or_else(|| panic!("{rule} passes"));
        let places: Vec<_> = errors.iter().map(|error| error.at.as_str()).collect();
        assert_eq!(places, [format!("/allow/0{place}")], "{errors}");
    }
}

/// The proxy asks the schema first.
#[test]
fn the_schema_has_no_null_and_no_empty_condition() {
    let schema: Value = serde_json::from_str(&lockgate_sdk::schema::<Config>()).unwrap();
    assert!(!schema.to_string().contains("null"), "{schema:#}");
    let condition = &schema["$defs"]["ConditionConfig"];
    assert_eq!(condition["minProperties"], 1, "{schema:#}");
    for key in ["claims", "claim_items", "headers"] {
        assert_eq!(condition["properties"][key]["minProperties"], 1, "{key}");
    }
}

#[test]
fn every_key_is_documented() {
    assert_eq!(testing::undocumented_keys::<Config>(README), [""; 0]);
    assert_eq!(testing::undescribed_keys::<Config>(), [""; 0]);
}

#[test]
fn the_example_works() {
    let (_, example) = README.split_once("```yaml\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    let example = as_json(&Yaml::load_from_str(example).unwrap()[0]);
    let mut harness = harness(example.pointer("/filters/authz/config").unwrap().clone());
    let web =
        get("/invoices/1").attribute("tls.peer.spiffe", "spiffe://example.org/ns/shop/sa/web");
    assert_eq!(harness.request(web).verdict, Ok(Verdict::Leave));
    assert_eq!(harness.request(get("/invoices/1")).reply().status, 403);
}

/// As far as the example goes.
fn as_json(yaml: &Yaml) -> Value {
    match yaml {
        Yaml::Value(Scalar::String(text)) => text.to_string().into(),
        Yaml::Value(Scalar::Boolean(is_it)) => (*is_it).into(),
        Yaml::Sequence(items) => items.iter().map(as_json).collect(),
        Yaml::Mapping(entries) => entries
            .iter()
            .map(|(key, value)| (key.as_str().unwrap().to_owned(), as_json(value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        other => panic!("the example has no {other:?}"),
    }
}
