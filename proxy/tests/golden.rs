//! The component that was built from the contract of Lockgate 0.1 does what it
//! did then. `golden/README.md` tells where it comes from.

mod support;

use std::path::Path;

use support::filtered::{counted, yaml};
use support::{Answer, Origin, Proxy, Seen, within};

struct Golden {
    proxy: Proxy,
    origin: Origin,
    shadow: Origin,
}

impl Golden {
    fn start(on_error: &str) -> Self {
        let origin = Origin::start(|_| {
            b"HTTP/1.1 200 OK\r\ngolden-origin: o\r\ngolden-remove: 1\r\ncontent-length: 4\r\n\r\nbody"
                .to_vec()
        });
        let shadow = Origin::saying("dropped");
        let component = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/filter-0.1.wasm");
        let filters = format!(
            "  golden:\n    component: {}\n    on_error: {on_error}\n    \
             config: {{ cluster: origin, mirror: shadow, route: golden-route }}",
            component.display()
        );
        let clusters = [("origin", &origin), ("shadow", &shadow)];
        // Where it goes when the filter leaves or is passed over.
        let listener = ", cluster: origin";
        let proxy = Proxy::start(&yaml("golden", listener, &filters, &clusters));
        Self {
            proxy,
            origin,
            shadow,
        }
    }
}

fn values<'a>(fields: &'a [(String, String)], name: &str) -> Vec<&'a str> {
    let named = fields.iter().filter(|(known, _)| known == name);
    named.map(|(_, value)| value.as_str()).collect()
}

#[test]
fn a_walk_through_all_of_the_contract_succeeds() {
    let golden = Golden::start("deny");
    let request = "GET /walk?x=1 HTTP/1.1\r\nhost: client.example\r\ngolden-many: a\r\n\
                   golden-many: b\r\ngolden-remove: 1\r\n\r\n";
    let answer = golden.proxy.connect().send(request).answer();
    assert_eq!(answer.status, 298, "{}", answer.text());
    assert_eq!(answer.text(), "body");
    let seen = golden.origin.seen();
    the_origin_sees_what_it_did(&seen);
    the_client_sees_what_it_did(&answer);
    let copy = golden.shadow.seen();
    assert_eq!(copy.line, seen.line);
    assert_eq!(copy.header("golden-copy"), Some("1"));
    assert_eq!(seen.header("golden-copy"), None);
}

fn the_origin_sees_what_it_did(seen: &Seen) {
    assert_eq!(seen.line, "PUT /golden/sent?walked=1 HTTP/1.1");
    assert_eq!(seen.header("host"), Some("golden.example"));
    for (name, value) in [
        ("golden-method", "GET"),
        ("golden-scheme", "http"),
        ("golden-authority", "client.example"),
        ("golden-path", "/walk?x=1"),
        ("golden-client", "127.0.0.1"),
        ("golden-count", "2"),
        ("golden-first", "a"),
    ] {
        assert_eq!(seen.header(name), Some(value), "{name}");
    }
    assert_eq!(
        seen.header("golden-request-id"),
        seen.header("x-request-id"),
        "the request's id"
    );
    assert_eq!(values(&seen.headers, "golden-set"), ["second", "third"]);
    assert_eq!(values(&seen.headers, "golden-many"), ["replaced"]);
    assert_eq!(seen.header("golden-remove"), None);
}

fn the_client_sees_what_it_did(answer: &Answer) {
    assert_eq!(values(&answer.headers, "golden-status"), ["200", "again"]);
    for (name, value) in [
        ("golden-local", "false"),
        ("golden-state", "from the request"),
        ("golden-saw", "o"),
        ("golden-cluster", "origin"),
        ("golden-asked", "/golden/sent?walked=1"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
    assert_eq!(answer.header("golden-remove"), None);
}

#[test]
fn it_is_called_in_each_phase_and_counts_that() {
    let golden = Golden::start("deny");
    assert_eq!(golden.proxy.get("/walk").status, 298);
    for phase in ["request", "response", "done"] {
        let labels = [("filter", "golden"), ("phase", phase)];
        let count = || counted(&golden.proxy, "lockgate_guest_calls_total", &labels);
        within(phase, || (count() == 1).then_some(()));
    }
    let labels = [("filter", "golden")];
    let last = counted(&golden.proxy, "lockgate_guest_last_status", &labels);
    assert_eq!(last, 200);
    let labels = [("filter", "golden"), ("method", "PUT")];
    let observed = counted(&golden.proxy, "lockgate_guest_seconds_count", &labels);
    assert_eq!(observed, 1);
}

#[test]
fn leaving_leaves_everything_as_it_was() {
    let golden = Golden::start("deny");
    let answer = golden.proxy.get("/a/leave");
    assert_eq!((answer.status, answer.text().as_str()), (200, "body"));
    assert_eq!(answer.header("golden-remove"), Some("1"));
    let seen = golden.origin.seen();
    assert_eq!(seen.line, "GET /a/leave HTTP/1.1");
    assert!(
        !seen
            .headers
            .iter()
            .any(|(name, _)| name.starts_with("golden"))
    );
}

#[test]
fn an_answer_and_a_reset_come_without_the_origin() {
    let golden = Golden::start("deny");
    let answer = golden.proxy.get("/respond");
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (299, "golden answer\n")
    );
    assert_eq!(answer.header("golden-reply"), Some("1"));
    let mut client = golden.proxy.connect();
    client.send("GET /reset HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(client.rest(), b"");
    assert!(golden.origin.seen_now().is_none());
}

#[test]
fn failures_leave_nothing_behind() {
    for (path, fault) in [("/fail", "error"), ("/panic", "trap")] {
        let labels = [("filter", "golden"), ("fault", fault)];
        let count =
            |golden: &Golden| counted(&golden.proxy, "lockgate_filter_faults_total", &labels);
        let denying = Golden::start("deny");
        assert_eq!(denying.proxy.get(path).status, 500);
        assert_eq!(count(&denying), 1, "{fault}");
        assert_eq!(denying.proxy.get("/walk").status, 298, "after {fault}");

        let skipping = Golden::start("skip");
        assert_eq!(skipping.proxy.get(path).status, 200);
        assert_eq!(skipping.origin.seen().header("golden-trace"), None);
        assert_eq!(count(&skipping), 1, "{fault}");
    }
}
