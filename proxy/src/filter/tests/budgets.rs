//! Guests that take more than they may, and what it costs.

use super::*;
use crate::error::ErrorKind;

#[test]
fn every_way_of_breaking_a_promise_has_its_name() {
    use FilterFault::*;
    check(
        "trap",
        Trap,
        "wasm trap: wasm `unreachable` instruction executed",
    );
    check(
        "panic oh no",
        Trap,
        "wasm trap: wasm `unreachable` instruction executed",
    );
    check("exit", Trap, "");
    check("sleep 1", Trap, "a filter cannot wait");
    check("loop", Overrun, "");
    check("allocate", Memory, "");
    check("recurse", Stack, "");
    check("leak", Trap, "store handle limit exceeded");
    check("error refused\nhere", Error, "refused\\nhere");
    check(
        "respond 99 x",
        InvalidReply,
        "99 is no status of a final answer",
    );
    check(
        "respond 199 x",
        InvalidReply,
        "199 is no status of a final answer",
    );
    check(
        "respond 600 x",
        InvalidReply,
        "600 is no status of a final answer",
    );
    check(
        "respond 204 x",
        InvalidReply,
        "an answer of status 204 No Content has no body",
    );
    check(
        "respond-with connection close",
        InvalidReply,
        "the field `connection`",
    );
    check(
        "respond-with content-length 3",
        InvalidReply,
        "the field `content-length`",
    );
    check("respond-with a\nb c", InvalidReply, "the field `a\\nb`");
    check("respond-with x a\nb", InvalidReply, "the field `x`");
    check(
        "respond-huge 10001",
        ReplyTooLarge,
        "an answer of more than 10000 bytes",
    );
    check(
        "state-fill 65",
        OutputLimit,
        "a state of more than 64 bytes",
    );
    check(
        "attribute-fill a 4096",
        OutputLimit,
        "attributes of more than 4096 bytes",
    );
}

/// One exchange fails under that name; the next one is served.
fn check(step: &str, fault: FilterFault, detail: &str) {
    let config = json!({
        "wants": { "phases": ["request", "response"] },
        "request": ["request.set x-half done", step],
    });
    let mut bench = Bench::new(&[entry("guest", config)]);
    let failed = failure(bench.on_request());
    assert_eq!(failed.failure.fault, fault, "{step}: {failed}");
    assert!(failed.failure.detail.contains(detail), "{step}: {failed}");
    assert_eq!(failed.kind, ErrorKind::FilterFailed);
    assert_eq!(bench.faults(fault), 1);
    assert!(bench.request_field("x-half").is_empty(), "{step}");

    let spared = matches!(
        fault,
        FilterFault::Error | FilterFault::InvalidReply | FilterFault::ReplyTooLarge
    );
    assert_eq!(bench.lost(), u64::from(!spared), "{step}");
    bench.again();
    failure(bench.on_request());
    assert_eq!(bench.faults(fault), 2, "{step}");
}

#[test]
fn one_lost_instance_costs_one_exchange() {
    let mut good = on_request(&["request.set x-a 1"]);
    good["response"] = json!(["trap"]);
    good["wants"]["phases"] = json!(["request", "response"]);
    let mut bench = Bench::new(&[entry("guest", good)]);
    for _ in 0..3 {
        bench.again();
        assert!(matches!(bench.on_request(), Flow::Next));
        assert_eq!(bench.request_field("x-a"), ["1"]);
        bench.answer(200);
        failure(bench.on_response());
    }
    let stats = bench.filters[0].stats();
    assert_eq!(stats.instances_lost.get(), 3);
    assert_eq!(stats.instances_made.get(), 3);
}

#[test]
fn a_filter_that_overruns_again_and_again_is_paused() {
    let mut bench = Bench::request(&["loop"]);
    for _ in 0..3 {
        assert_eq!(
            failure(bench.on_request()).failure.fault,
            FilterFault::Overrun
        );
        bench.again();
    }
    let failed = failure(bench.on_request());
    assert_eq!(failed.failure.fault, FilterFault::Paused);
    assert_eq!(failed.kind, ErrorKind::FilterUnavailable);
    assert_eq!(bench.faults(FilterFault::Overrun), 3);
    assert_eq!(bench.faults(FilterFault::Paused), 1);
}

#[test]
fn a_busy_but_honest_call_is_let_through() {
    let mut bench = Bench::request(&["busy 1000000", "request.set x-a 1"]);
    assert!(matches!(bench.on_request(), Flow::Next));
    assert_eq!(bench.request_field("x-a"), ["1"]);
}

#[test]
fn logs_are_cut_and_counted() {
    let mut bench = Bench::request(&["log-flood 25", "stderr one more"]);
    let _guard = tracing::subscriber::set_default(
        tracing_subscriber::fmt()
            .with_writer(std::io::sink)
            .finish(),
    );
    bench.on_request();
    assert_eq!(bench.filters[0].stats().log_lines_dropped.get(), 16);
}

#[test]
fn what_a_guest_measures_is_kept() {
    let filter = entry(
        "guest",
        on_request(&["count hits a", "count hits b", "count hits a"]),
    );
    let stats = Arc::new(PerWorker::new(1, FilterStats::default));
    let metrics = Arc::new(GuestMetrics::new(1, 10));
    let loaded = LoadedFilter::build(
        module(),
        filter.clone(),
        &filter,
        stats,
        metrics.clone(),
        Granted::default(),
        1,
    )
    .unwrap();
    let mut bench = Bench::request(&[]);
    bench.chain = WorkerChain::new(vec![WorkerFilter::new(loaded, 0).into()]);
    assert!(matches!(bench.on_request(), Flow::Next));
    let told = crate::stats::guest::Told::new(1);
    metrics.tell(&told);
    let families = told.families();
    assert_eq!(families[0].definition.name, "hits");
    let counts: Vec<_> = families[0]
        .series
        .iter()
        .map(|(labels, _)| labels[0].as_str())
        .collect();
    assert_eq!(counts, ["a", "b"]);
}

#[test]
fn calls_are_counted_and_measured() {
    let mut bench = Bench::request(&[]);
    for _ in 0..100 {
        bench.again();
        bench.on_request();
    }
    let stats = bench.filters[0].stats();
    assert_eq!(stats.calls(0).get(), 100);
    assert_eq!(stats.cpu(1).get(), 0, "bodies were not asked for");
    assert_ne!(stats.cpu(0).get(), 0, "of a hundred calls, some took time");
}
