//! A failed call leaves nothing behind.

use super::*;

#[test]
fn everything_is_as_it_was() {
    let everything = [
        "request.set x-new 1",
        "request.set accept all",
        "request.append accept more",
        "request.append x-new 2",
        "request.remove user-agent",
        "request.remove x-absent",
        "request.method PUT",
        "request.authority other.test",
        "request.path /other",
        "set-route r",
        "route-to c",
        "set-hash-key k",
        "mirror-to c copy",
        "attribute kept changed",
        "attribute fresh 1",
        "state changed",
        "timeout total 5",
        "timeout try 5",
        "timeout idle 5",
        "delay 1",
    ];
    for end in [
        "trap",
        "error no",
        "respond 99 bad",
        "respond 204 x",
        "loop",
    ] {
        let mut steps = everything.to_vec();
        steps.push(end);
        let config = json!({
            "wants": { "phases": ["request"], "clusters": ["c"], "routes": ["r"] },
            "request": steps,
        });
        let mut bench = Bench::new(&[entry("guest", config)]);
        bench
            .view
            .attributes
            .push(("guest.kept".into(), "before".into()));
        bench.view.states.push((0, b"before".to_vec()));
        bench.view.decisions.route = Some("earlier".into());
        let before = format!("{:?}", WithSortedFields(&mut bench.view));
        failure(bench.on_request());
        let after = format!("{:?}", WithSortedFields(&mut bench.view));
        assert_eq!(before, after, "after `{end}`");
    }
}

#[test]
fn an_answer_is_as_it_was() {
    let config = json!({
        "wants": { "phases": ["response"] },
        "response": [
            "response.set x-a new",
            "response.append x-b 2",
            "response.remove x-c",
            "response.status 503",
            "trap",
        ],
    });
    let mut bench = Bench::new(&[entry("guest", config)]);
    bench.answer(200);
    let headers = &mut bench.view.response.as_mut().unwrap().headers;
    for name in ["x-a", "x-b", "x-c"] {
        headers.append(name, HeaderValue::from_static("1"));
        headers.append(name, HeaderValue::from_static("2"));
    }
    let before = headers.clone();
    failure(bench.on_response());
    let response = bench.view.response.as_ref().unwrap();
    assert_eq!(response.headers, before);
    assert_eq!(response.status, StatusCode::OK);
}

#[test]
fn what_went_well_stays() {
    let mut bench = Bench::request(&["request.set x-a 1", "request.append x-a 2", "state s"]);
    bench.on_request();
    assert_eq!(bench.request_field("x-a"), ["1", "2"]);
    assert_eq!(bench.view.states, [(0, b"s".to_vec())]);
}

/// Fields in one order: going back may change which field stands first, but
/// not the order of the values of one.
struct WithSortedFields<'a>(&'a mut Lendable);

impl std::fmt::Debug for WithSortedFields<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let View {
            request,
            decisions,
            attributes,
            states,
            ..
        } = &**self.0;
        let fields = request
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value));
        let mut fields: Vec<_> = fields.collect();
        fields.sort_by_key(|(name, _)| *name);
        let line = (&request.method, &request.authority, &request.path);
        write!(
            f,
            "{line:?} {fields:?} {decisions:?} {attributes:?} {states:?}"
        )
    }
}
