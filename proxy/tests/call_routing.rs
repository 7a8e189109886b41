//! Calls of filters are requests like others: balanced over the endpoints of their
//! cluster, and part of the exchange's trace.

#[path = "guests/component.rs"]
mod guests;
mod support;

use serde_json::json;
use support::{Origin, Proxy};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

fn start(origin: &Origin, asked: &[&Origin]) -> Proxy {
    let folder = Proxy::folder();
    std::fs::write(folder.join("caller.wasm"), guests::caller()).unwrap();
    let filters = json!({ "caller": {
        "component": "./caller.wasm",
        "grants": { "call": ["asked"] },
        "config": { "phase": "request", "cluster": "asked", "paths": ["/1", "/2"] },
    } });
    let asked: Vec<_> = asked
        .iter()
        .map(|asked| asked.address.to_string())
        .collect();
    let clusters = json!([
        { "name": "o", "endpoints": [origin.address.to_string()] },
        { "name": "asked", "endpoints": asked, "balance": "round_robin" },
    ]);
    Proxy::start_in(
        folder,
        &format!(
            "workers: 1\nadmin: {{ address: '127.0.0.1:0' }}\n\
             listeners: [{{ name: web, address: '127.0.0.1:0', cluster: o, filters: [caller] }}]\n\
             clusters: {clusters}\nfilters: {filters}\n"
        ),
    )
}

#[test]
fn calls_are_balanced_over_endpoints() {
    let (origin, one, other) = (
        Origin::saying("ok"),
        Origin::saying("one"),
        Origin::saying("other"),
    );
    let proxy = start(&origin, &[&one, &other]);
    let exchanges = 10;
    for _ in 0..exchanges {
        assert_eq!(proxy.get("/").status, 200);
        let seen = origin.seen();
        let mut answers = seen.all("x-call");
        answers.sort_unstable();
        assert_eq!(answers, ["200 one", "200 other"]);
    }
    for asked in [&one, &other] {
        let count = std::iter::from_fn(|| asked.seen_now()).count();
        assert_eq!(count, exchanges);
    }
}

#[test]
fn calls_are_of_the_trace_of_their_exchange() {
    let (origin, asked) = (Origin::saying("ok"), Origin::saying("asked"));
    let proxy = start(&origin, &[&asked]);
    let parent = format!("00-{TRACE}-b7ad6b7169203331-01");
    assert_eq!(proxy.ask("/", &[("traceparent", &parent)]).status, 200);
    for peer in [&asked, &asked, &origin] {
        let seen = peer.seen();
        let traceparent = seen.header("traceparent").unwrap();
        assert_eq!(&traceparent[3..35], TRACE, "{}", seen.line);
        assert_ne!(traceparent, parent, "each hop has a span of its own");
    }
    // What came without a trace has one, the same for all that is sent of it.
    assert_eq!(proxy.get("/").status, 200);
    let [first, second, last] = [&asked, &asked, &origin].map(|peer| {
        let seen = peer.seen();
        seen.header("traceparent").unwrap()[3..35].to_owned()
    });
    assert_ne!(first, TRACE);
    assert_eq!((&second, &last), (&first, &first));
}
