use std::num::NonZeroU8;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use super::load;
use crate::balance::{backoff, hedge};
use crate::config::{self, *};
use crate::http::hops::Answers;

const FULL: &str = r#"
workers: ${WORKERS:-3}
admin: { address: "unix:/run/lockgate.sock", token: "${SECRET}" }
log: { level: "warn,lockgate=debug", format: json }
access_log: { to: ./access.log, format: text }
cache_dir: cache
listeners:
  - name: web
    address: "127.0.0.1:${PORT}"
    cluster: shop
    remove_request_headers: [X-User]
    filters: [auth]
    limits: { max_body_bytes: 5, max_head_bytes: 16KiB }
    timeouts: { idle: 90s }
    headers: { server: pass, via: off, trusted_hops: [10.0.0.0/8] }
    path: { merge_slashes: false, encoded_slashes: keep }
filters:
  auth:
    component: filters/auth.wasm
    on_error: skip
    limits: { cpu: 5ms }
    config: { key: "a ${WORD}", other: plain, dollar: "$${X}" }
    routes: { health: off, none: false, shop: { config: { key: "${SECRET}" } } }
clusters:
  - name: shop
    endpoints: ["10.0.0.1:80", { address: "Shop.internal:81", weight: 3 }, "unix:/run/x"]
    balance: least_request
    choices: 3
"#;

fn full() -> Config {
    let loaded = load(FULL).map_err(|mistakes| mistakes.to_string());
    let Loaded { config, warnings } = loaded.expect("a good configuration");
    assert_eq!(warnings, []);
    config
}

#[test]
fn everything_is_read() {
    let config = full();
    assert_eq!(config.workers.get(), 3);
    assert_eq!(
        config.admin,
        Some(Admin {
            address: AdminAddress::Unix("/run/lockgate.sock".into()),
            hosts: Vec::new(),
            token: Some("hunter2".to_owned()),
        }),
    );
    assert_eq!(
        config.access_log.to,
        AccessLogTarget::File("./access.log".into())
    );
    assert_eq!(config.cache_dir, Some(PathBuf::from("cache")));
    assert_eq!(config.max_cache_bytes, 1 << 30);
    assert_eq!(config.drain_timeout, Duration::from_secs(30));
    assert_eq!(config.files, [PathBuf::from("x.yaml")]);

    let listener = &config.listeners[0];
    assert_eq!(listener.address.to_string(), "127.0.0.1:8080");
    assert_eq!(listener.cluster.as_deref(), Some("shop"));
    assert_eq!(listener.remove_request_headers[0], "x-user");
    assert_eq!(listener.limits.max_body_bytes, 5);
    assert_eq!(listener.limits.max_head_bytes, 16 << 10);
    assert_eq!(listener.limits.max_connections, 20_000);
    assert_eq!(listener.timeouts.idle, Duration::from_secs(90));
    assert_eq!(
        (&listener.headers.server, &listener.headers.via),
        (&None, &None)
    );
    assert_eq!(listener.headers.forwarded, ForwardedStyle::XForwarded);
    assert_eq!(listener.path.encoded_slashes, EncodedSlashes::Keep);

    let cluster = &config.clusters[0];
    assert_eq!(
        cluster.balance,
        Balance::LeastRequest(NonZeroU8::new(3).unwrap())
    );
    let endpoints: Vec<_> = cluster
        .endpoints
        .iter()
        .map(|endpoint| (&endpoint.address, endpoint.weight))
        .collect();
    let host = EndpointAddress::Host {
        host: "shop.internal".to_owned(),
        port: 81,
    };
    let socket = EndpointAddress::Socket("10.0.0.1:80".parse().expect("an address"));
    let unix = EndpointAddress::Unix("/run/x".into());
    assert_eq!(endpoints, [(&socket, 1), (&host, 3), (&unix, 1)]);
}

#[test]
fn filters_keep_their_configurations_and_pointers() {
    let config = full();
    let filter = &config.filters[0];
    assert_eq!(
        filter.component,
        ComponentSource::File("filters/auth.wasm".into())
    );
    assert_eq!(
        (filter.on_error, filter.limits.cpu),
        (OnError::Skip, Duration::from_millis(5))
    );
    assert_eq!(filter.pointer, "/filters/auth");
    assert_eq!(
        filter.config.value,
        json!({"key": "a word", "other": "plain", "dollar": "${X}"})
    );
    let shop = FilterConfig {
        value: json!({"key": "hunter2"}),
        pointer: "/filters/auth/routes/shop/config".to_owned(),
        texts: Vec::new(),
    };
    assert_eq!(
        filter.routes,
        [
            ("health".into(), RouteConfig::Off),
            ("none".into(), RouteConfig::Off),
            ("shop".into(), RouteConfig::Config(shop)),
        ],
    );
    assert_eq!(
        config.places.find("/filters/auth/config/other").to_string(),
        "x.yaml:22:40"
    );
    assert_eq!(
        config
            .places
            .find_key("/filters/auth/config/other")
            .to_string(),
        "x.yaml:22:33"
    );
    assert_eq!(
        config
            .places
            .find("/filters/auth/config/none/of")
            .to_string(),
        "x.yaml:22:13"
    );
}

#[test]
fn what_is_shown_has_defaults_and_no_secrets() {
    let shown = full().shown;
    assert!(!shown.to_string().contains("hunter2"), "{shown}");
    for (pointer, wanted) in [
        ("/workers", json!(3)),
        ("/admin/token", json!("***")),
        ("/drain_timeout", json!("30s")),
        ("/listeners/0/address", json!("127.0.0.1:8080")),
        ("/listeners/0/limits/max_body_bytes", json!(5)),
        ("/listeners/0/limits/max_head_bytes", json!("16KiB")),
        ("/listeners/0/timeouts/total", json!("5m")),
        (
            "/filters/auth/config",
            json!({"key": "***", "other": "plain", "dollar": "${X}"}),
        ),
        ("/filters/auth/routes/shop/config/key", json!("***")),
        ("/filters/auth/routes/health", json!("off")),
        (
            "/clusters/0/endpoints/0",
            json!({"address": "10.0.0.1:80", "weight": 1, "tier": 0}),
        ),
    ] {
        assert_eq!(shown.pointer(pointer), Some(&wanted), "{pointer}");
    }
}

#[test]
fn what_is_shown_is_a_configuration() {
    let text = full().shown.to_string().replace("${X}", "x");
    let again = load(&text)
        .map_err(|mistakes| mistakes.to_string())
        .expect("it loads");
    assert_eq!(again.config.shown.to_string(), text);
}

#[test]
fn values_from_the_environment_are_known() {
    let mut from_env = full().from_env;
    from_env.sort();
    assert_eq!(
        from_env,
        [
            "/admin/token",
            "/filters/auth/config/key",
            "/filters/auth/routes/shop/config/key",
            "/listeners/0/address",
            "/workers",
        ],
    );
}

/// The value of `x` in a filter's configuration.
fn value(x: &str) -> Value {
    let text = format!(
        "listeners: [{{ name: a, address: '1.1.1.1:1', filters: [f] }}]\nfilters:\n  f:\n    component: 'lockgate:f'\n    config:\n      y: &y [1, {{ z: 2 }}]\n      x: {x}\n"
    );
    let loaded = load(&text)
        .map_err(|mistakes| mistakes.to_string())
        .expect(x);
    loaded.config.filters[0].config.value["x"].clone()
}

#[test]
fn scalars_have_their_types() {
    assert_eq!(value("${PORT}"), json!(8080));
    assert_eq!(value("\"${PORT}\""), json!("8080"));
    assert_eq!(value("'${PORT}'"), json!("8080"));
    assert_eq!(value("${PORT}0"), json!("80800"));
    assert_eq!(value("${NONE:-true}"), json!(true));
    assert_eq!(value("${EMPTY}"), Value::Null);
    assert_eq!(value("!!str ${PORT}"), json!("8080"));
    assert_eq!(value("!!str 5"), json!("5"));
    assert_eq!(value("off"), json!("off"));
    assert_eq!(value("*y"), json!([1, {"z": 2}]));
    assert_eq!(
        value("{ 200: a, true: b }"),
        json!({"200": "a", "true": "b"})
    );
    assert_eq!(value("|\n        a\n        b"), json!("a\nb\n"));
}

#[test]
fn what_came_from_the_environment_is_text_where_text_is_wanted() {
    let text = "admin: { token: \"${PORT}\" }\nlog: { level: info }\nlisteners:\n- name: ${PORT}\n  address: 127.0.0.1:0\n  cluster: ${PORT}\nclusters:\n- name: ${PORT}\n  endpoints:\n  - address: a:1\n    weight: ${PORT}\n";
    let config = load(text).expect("a good configuration").config;
    assert_eq!(&*config.listeners[0].name, "8080");
    assert_eq!(config.listeners[0].cluster.as_deref(), Some("8080"));
    assert_eq!(config.clusters[0].endpoints[0].weight, 8080);
    let text = "admin:\n  token: ${PORT}\nlisteners: [{ name: a, address: '1.1.1.1:1' }]\n";
    let config = load(text).expect("a good configuration").config;
    let token = config.admin.expect("an address").token;
    assert_eq!(token.as_deref(), Some("8080"));
}

#[test]
fn the_target_of_a_request_fits_in_its_head() {
    let text = "listeners: [{ name: a, address: '1.1.1.1:1', limits: { max_head_bytes: 1KiB } }]";
    let config = load(text).expect("a good configuration").config;
    assert_eq!(config.listeners[0].limits.max_target_bytes, 1024);
}

#[test]
fn warnings() {
    let text = "admin: { address: '0.0.0.0:9901' }\nlisteners:\n- name: a\n  address: '1.1.1.1:1'\n  headers: { trusted_hops: [0.0.0.0/0] }\nfilters: { f: { component: 'lockgate:f' } }\nclusters: [{ name: c, endpoints: ['a:1', 'A:1'] }]\n";
    let loaded = load(text).expect("a good configuration");
    let warnings: Vec<_> = loaded.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "x.yaml:1:19: found `0.0.0.0:9901`, which others can reach, and no `token`, wanted a loopback address, `unix:/path` or a `token`",
            "x.yaml:5:28: found `0.0.0.0/0`, which is everyone, wanted the networks of your own proxies",
            "x.yaml:6:12: found the filter `f`, which no listener names, wanted its name among the `filters` or `connection_filters` of a listener",
            "x.yaml:7:42: found the endpoint `A:1` again, wanted each endpoint once, with a `weight`",
        ],
    );
}

#[test]
fn filters_that_others_go_past() {
    let warnings = |more: &str| -> Vec<_> {
        let text = format!(
            "listeners: [{{ name: a, address: '1.1.1.1:1', cluster: c, protocols: [http1, tcp], filters: [f] }}]\nfilters: {{ f: {{ component: 'lockgate:f' }}{more} }}\nclusters: [{{ name: c, endpoints: ['a:1'] }}]\n"
        );
        let loaded = load(&text).expect("a good configuration");
        loaded.warnings.iter().map(ToString::to_string).collect()
    };
    let told = "x.yaml:1:92: found `filters` where `tcp` is spoken too, wanted `connection_filters` too: who does not speak HTTP goes past `filters`";
    assert_eq!(warnings(""), [told]);
}

#[test]
fn shadows_that_miss_what_is_counted() {
    let text = |shadow: &str| {
        format!(
            "listeners: [{{ name: a, address: '1.1.1.1:1', filters: [f] }}]\nfilters:\n  f:\n    component: 'lockgate:f'\n    grants: {{ shared: true }}\n    shadow: {{ component: 'lockgate:f'{shadow} }}\n"
        )
    };
    let warnings = |shadow: &str| -> Vec<_> {
        let loaded = load(&text(shadow)).expect("a good configuration");
        loaded.warnings.iter().map(ToString::to_string).collect()
    };
    let told = "of the exchanges for the shadow of a filter with `shared`, which counts only those that it sees, wanted 100 %, unless nothing is counted";
    let at = "x.yaml:6:49";
    assert_eq!(
        warnings(", percent: 99.5"),
        [format!("{at}: found 99.5 % {told}")]
    );
    let at = "x.yaml:6:13";
    assert_eq!(warnings(""), [format!("{at}: found 10 % {told}")]);
    assert_eq!(warnings(", percent: 100"), [""; 0]);
}

#[test]
fn equal_files_are_equal_configurations() {
    let (one, two) = (full(), full());
    assert_eq!(one.listeners, two.listeners);
    assert_eq!(one.filters, two.filters);
    assert_eq!(one.clusters, two.clusters);
}

#[test]
fn retry_policies_are_as_they_are_written() {
    let text = "listeners: [{ name: a, address: '1.1.1.1:1', cluster: c }]\nretry_policies:\n- name: all\n  on: [connect_failure, refused_stream, reset, try_timeout, gateway_error, 5xx, 429, { grpc: [cancelled, unavailable] }]\n  attempts: 5\n  try_timeout: 2s\n  backoff: { base: 10ms, max: 1s }\n  retry_after: 3s\n  methods: any\n  max_body: 1KiB\n  hedge: { after: p95, least: 2ms }\n- { name: some, hedge: { after: 50ms } }\nclusters:\n- { name: c, endpoints: ['1.1.1.1:1'], retry: all, retry_budget: { percent: 10 } }\n- { name: d, endpoints: ['1.1.1.1:1'] }\n";
    let config = load(text).expect("a good configuration").config;
    let [all, some] = &*config.retry_policies else {
        panic!("two policies");
    };
    let answers = Answers {
        server_errors: true,
        statuses: vec![429, 502, 503, 504],
        grpc: 1 << 1 | 1 << 14,
    };
    let wanted = RetryPolicy {
        name: "all".into(),
        on: RetryOn {
            connect_failure: true,
            refused_stream: true,
            reset: true,
            try_timeout: true,
            answers,
        },
        attempts: 5,
        try_timeout: Some(Duration::from_secs(2)),
        backoff: backoff::Rules {
            base: Duration::from_millis(10),
            most: Duration::from_secs(1),
        },
        max_retry_after: Duration::from_secs(3),
        methods: RetryMethods::Any,
        max_body: 1024,
        hedge: Some(hedge::Rule::Percentile {
            percent: 95,
            least: Duration::from_millis(2),
        }),
    };
    assert_eq!(**all, wanted);
    assert!(some.on.reset && some.on.answers.is_none());
    assert_eq!((some.attempts, some.max_body), (3, 64 << 10));
    let fixed = hedge::Rule::Fixed(Duration::from_millis(50));
    assert_eq!(some.hedge, Some(fixed));
    assert_eq!(config.clusters[0].retry.as_deref(), Some(&wanted));
    assert_eq!(config.clusters[0].retry_budget.percent, 10);
    assert_eq!(config.clusters[1].retry, None);
    assert!(config.clusters[0].connects_like(&config::Cluster {
        retry: None,
        ..config.clusters[0].clone()
    }));
}
