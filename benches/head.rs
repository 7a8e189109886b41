//! Heads of HTTP/1: reading a request's, writing an answer's.

use std::hint::black_box;

use bytes::BytesMut;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use http::HeaderValue;
use lockgate::http::h1::{
    HeadScanner, OwnFields, Persistence, encode_chunk_head, encode_response, parse_request,
};
use lockgate::http::{AnswerFraming, Role};
use lockgate_benches::{BROWSER_REQUEST, answer, listener};

/// What curl asks: three fields.
const SMALL_REQUEST: &[u8] = b"GET /checkout HTTP/1.1\r\n\
    Host: localhost:8080\r\nUser-Agent: curl/8.14.1\r\nAccept: */*\r\n\r\n";

fn parsing(criterion: &mut Criterion) {
    let listener = listener();
    let mut group = criterion.benchmark_group("head/parse");
    for (name, request) in [("3 fields", SMALL_REQUEST), ("12 fields", BROWSER_REQUEST)] {
        group.throughput(Throughput::Bytes(request.len() as u64));
        // One for a connection's life, as a connection has it.
        let mut scanner = HeadScanner::default();
        group.bench_function(name, |bencher| {
            bencher.iter_batched_ref(
                || BytesMut::from(request),
                |buffer| {
                    let role = Role::of(&listener);
                    parse_request(buffer, &mut scanner, &listener.limits, &listener.path, role)
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

fn encoding(criterion: &mut Criterion) {
    let head = answer();
    let own = OwnFields {
        date: &HeaderValue::from_static("Tue, 03 Mar 2026 12:00:00 GMT"),
        server: Some(&HeaderValue::from_static("lockgate")),
    };
    let mut out = BytesMut::with_capacity(4096);
    criterion.bench_function("head/encode/8 fields", |bencher| {
        bencher.iter(|| {
            out.clear();
            let framing = AnswerFraming::Length(1024);
            encode_response(
                &mut out,
                black_box(&head),
                framing,
                Persistence::KeepAlive,
                own,
            );
            out.len()
        });
    });
    criterion.bench_function("head/encode/chunk", |bencher| {
        bencher.iter(|| {
            out.clear();
            encode_chunk_head(&mut out, black_box(16_384));
            out.len()
        });
    });
}

criterion_group!(benches, parsing, encoding);
criterion_main!(benches);
