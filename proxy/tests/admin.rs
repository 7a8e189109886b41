//! The admin address of a running Lockgate.

mod support;

use support::admin::{ask, ask_unix, get, json, metric, metric_sum};
use support::{Origin, Process, Proxy, within};

const KEY: &str = "a-key-that-nobody-may-see";

fn policy(origin: &Origin, admin: &str) -> String {
    format!(
        "admin: {admin}\n\
         listeners: [{{ name: web, address: '127.0.0.1:0', filters: [router, auth] }}]\n\
         clusters: [{{ name: origin, endpoints: ['{}'] }}]\n\
         filters:\n  \
         router: {{ component: 'lockgate:router', config: {{ routes: [{{ name: all, match: {{ path_prefix: / }}, cluster: origin }}] }} }}\n  \
         auth: {{ component: 'lockgate:auth', config: {{ api_keys: [{{ name: alice, key: {KEY} }}] }} }}\n",
        origin.address
    )
}

const OPEN: &str = "{ address: '127.0.0.1:0' }";
const WITH_TOKEN: &str = "{ address: '127.0.0.1:0', token: s3cret-t0ken, hosts: [lockgate.test] }";

fn start(origin: &Origin, admin: &str) -> Proxy {
    Proxy::start(&policy(origin, admin))
}

#[test]
fn metrics_count_requests_filters_and_clusters() {
    let origin = Origin::saying("body");
    let proxy = start(&origin, OPEN);
    assert_eq!(proxy.ask("/", &[("x-api-key", KEY)]).status, 200);
    assert_eq!(proxy.get("/").status, 401);
    let admin = proxy.admin();
    let requests = |status: &str| {
        let labels = format!("status=\"{status}\"");
        metric_sum(admin, "lockgate_requests_total", &labels)
    };
    within("both are counted", || {
        (requests("2xx") + requests("4xx") == 2.0).then_some(())
    });
    assert_eq!((requests("2xx"), requests("4xx")), (1.0, 1.0));
    assert_eq!(
        metric_sum(admin, "lockgate_cluster_requests_total", "origin"),
        1.0
    );
    let calls = metric_sum(admin, "lockgate_filter_calls_total", "filter=\"auth\"");
    assert!(calls >= 2.0, "{calls}");
    assert_eq!(metric(admin, "lockgate_generation"), 1.0);
    assert!(metric(admin, "lockgate_resident_memory_bytes") > 1e6);
}

/// Names as Prometheus takes them, one type for each family, values that are
/// numbers, and the end that OpenMetrics wants.
#[test]
fn every_line_of_metrics_is_in_the_format() {
    let origin = Origin::saying("body");
    let proxy = start(&origin, OPEN);
    proxy.get("/");
    let answer = get(proxy.admin(), "/metrics");
    let content_type = answer.header("content-type").unwrap();
    assert!(
        content_type.starts_with("application/openmetrics-text"),
        "{content_type}"
    );
    let text = answer.text();
    assert!(text.ends_with("# EOF\n"));
    let mut types = std::collections::HashSet::new();
    for line in text.lines() {
        if let Some(family) = line.strip_prefix("# TYPE ") {
            assert!(
                types.insert(family.split(' ').next().unwrap()),
                "twice: {line}"
            );
        }
        if line.starts_with('#') {
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        assert!(value.parse::<f64>().is_ok(), "{line}");
        let name = series.split('{').next().unwrap();
        assert!(name.starts_with("lockgate_"), "{line}");
        assert!(
            types.iter().any(|family| name.starts_with(family)),
            "{line}"
        );
    }
    assert!(types.len() > 20, "{types:?}");
}

#[test]
fn ready_and_live_say_so_and_ready_ends_with_the_drain() {
    let (origin, release) = Origin::holding("body");
    let folder = Proxy::folder();
    let socket = folder.join("admin.sock");
    let admin = format!("{{ address: 'unix:{}' }}", socket.display());
    let mut process = Process::start_in(
        folder,
        &policy(&origin, &admin).replace("admin:", "drain_timeout: 20s\nadmin:"),
    );
    let answer = ask_unix(&socket, "GET", "/ready");
    assert_eq!((answer.status, &*answer.text()), (200, "ready\n"));
    assert_eq!(ask_unix(&socket, "HEAD", "/ready").status, 200);
    let mut held = process.connect();
    held.send(format!(
        "GET /held HTTP/1.1\r\nhost: test\r\nx-api-key: {KEY}\r\n\r\n"
    ));
    origin.seen();
    process.signal("TERM");
    within("not ready any more", || {
        let answer = ask_unix(&socket, "GET", "/ready");
        (answer.status == 503 && answer.text() == "draining\n").then_some(())
    });
    assert_eq!(ask_unix(&socket, "GET", "/live").status, 200);
    assert_eq!(ask_unix(&socket, "POST", "/reload").status, 503);
    release.send(()).unwrap();
    assert_eq!(held.answer().status, 200);
    assert_eq!(process.exit_code(), Some(0));
    assert!(!socket.exists(), "the socket goes with the process");
}

#[test]
fn config_is_shown_as_checked_and_without_secrets() {
    let origin = Origin::saying("body");
    let proxy = start(&origin, WITH_TOKEN);
    let answer = get(proxy.admin(), "/config");
    let shown = json(&answer);
    assert_eq!(shown["max_generations"], 16, "defaults are filled in");
    assert_eq!(shown["admin"]["token"], "***");
    let key = &shown["filters"]["auth"]["config"]["api_keys"][0];
    assert_eq!(
        (&key["name"], &key["key"]),
        (&"alice".into(), &"***".into())
    );
    for page in [
        "/config",
        "/filters",
        "/clusters",
        "/generations",
        "/metrics",
    ] {
        let text = get(proxy.admin(), page).text();
        assert!(
            !text.contains(KEY) && !text.contains("s3cret"),
            "{page}: {text}"
        );
    }
}

#[test]
fn filters_clusters_and_generations_are_told() {
    let origin = Origin::saying("body");
    let proxy = start(&origin, OPEN);
    let filters = json(&get(proxy.admin(), "/filters"));
    let names: Vec<_> = filters
        .as_array()
        .unwrap()
        .iter()
        .map(|filter| &filter["name"])
        .collect();
    assert_eq!(names, ["auth", "router"]);
    assert!(
        filters[0]["digest"]
            .as_str()
            .unwrap()
            .starts_with("sha256:")
    );
    assert_eq!(filters[1]["configurations"][0]["routes"][0], "all");
    assert_eq!(filters[1]["configurations"][0]["clusters"][0], "origin");
    let clusters = json(&get(proxy.admin(), "/clusters"));
    assert_eq!(clusters[0]["name"], "origin");
    assert_eq!(
        clusters[0]["endpoints"][0]["address"],
        origin.address.to_string()
    );
    let generations = json(&get(proxy.admin(), "/generations"));
    assert_eq!(generations["live"][0]["generation"], 1);
    assert_eq!(generations["live"][0]["current"], true);
    assert_eq!(generations["last_reload"], serde_json::Value::Null);
}

#[test]
fn a_foreign_host_is_not_answered() {
    let origin = Origin::saying("body");
    let proxy = start(&origin, WITH_TOKEN);
    let status = |headers: &[(&str, &str)]| ask(proxy.admin(), "GET", "/live", headers).status;
    for own in ["localhost", "127.0.0.1:80", "[::1]", "lockgate.test"] {
        assert_eq!(status(&[("host", own)]), 200, "{own}");
    }
    for foreign in ["evil.example", "localhost.evil.example", "10.0.0.1"] {
        assert_eq!(status(&[("host", foreign)]), 421, "{foreign}");
    }
    assert_eq!(status(&[]), 400);
}

#[test]
fn a_reload_wants_the_token_and_no_foreign_page() {
    let origin = Origin::saying("body");
    let proxy = start(&origin, WITH_TOKEN);
    let post = |more: &[(&str, &str)]| {
        let headers = [&[("host", "localhost")], more].concat();
        ask(proxy.admin(), "POST", "/reload", &headers)
    };
    let token = ("authorization", "Bearer s3cret-t0ken");
    assert_eq!(post(&[]).status, 401);
    assert_eq!(post(&[("authorization", "Bearer wrong")]).status, 401);
    assert_eq!(
        post(&[token, ("origin", "http://evil.example")]).status,
        403
    );
    assert_eq!(metric(proxy.admin(), "lockgate_generation"), 1.0);
    let answer = post(&[token]);
    assert_eq!(
        (answer.status, &json(&answer)["generation"]),
        (200, &2.into())
    );
    let read = ask(
        proxy.admin(),
        "GET",
        "/reload",
        &[("host", "localhost"), token],
    );
    assert_eq!((read.status, read.header("allow")), (405, Some("POST")));
}

#[test]
fn a_reload_may_change_the_token() {
    let origin = Origin::saying("body");
    let proxy = start(&origin, WITH_TOKEN);
    proxy.edit(&policy(
        &origin,
        &WITH_TOKEN.replace("s3cret-t0ken", "0ther-t0ken"),
    ));
    let post = |token: &str| {
        let token = format!("Bearer {token}");
        let headers = [("host", "localhost"), ("authorization", &*token)];
        ask(proxy.admin(), "POST", "/reload", &headers).status
    };
    within("the new token is the one", || {
        (post("0ther-t0ken") == 200).then_some(())
    });
    assert_eq!(post("s3cret-t0ken"), 401);
}

#[test]
fn a_unix_socket_is_closed_to_others() {
    use std::os::unix::fs::PermissionsExt;
    let origin = Origin::saying("body");
    let folder = Proxy::folder();
    let socket = folder.join("admin.sock");
    let admin = format!("{{ address: 'unix:{}' }}", socket.display());
    let proxy = Proxy::start_in(folder, &policy(&origin, &admin));
    let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(ask_unix(&socket, "GET", "/live").status, 200);
    assert_eq!(ask_unix(&socket, "POST", "/reload").status, 200);
    assert_eq!(ask_unix(&socket, "GET", "/nothing").status, 404);
    proxy.stop();
}
