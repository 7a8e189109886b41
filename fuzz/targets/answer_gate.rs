//! The gate before answers: the cut of the bytes changes nothing, and where it
//! sees a head end, httparse, which hyper reads answers with, sees it end too.

#![no_main]

use httparse::Status;
use libfuzzer_sys::fuzz_target;
use lockgate_fuzz::http::h1::AnswerGate;
use lockgate_fuzz::pieces;

fuzz_target!(|data: &[u8]| {
    let Some((size, wire)) = pieces(data) else {
        return;
    };
    let whole = read(wire, wire.len().max(1));
    assert_eq!(whole, read(wire, size), "cut in {size}s");
    if whole == Ok(false) {
        agree_with_httparse(wire, head_end(wire));
    }
});

/// Whether the gate is still armed at the end.
fn read(wire: &[u8], size: usize) -> Result<bool, &'static str> {
    let mut gate = AnswerGate::new(2048);
    gate.expect_answer();
    for piece in wire.chunks(size) {
        gate.check(piece)?;
    }
    Ok(gate.is_armed())
}

/// Behind the final head.
fn head_end(wire: &[u8]) -> usize {
    let mut gate = AnswerGate::new(2048);
    gate.expect_answer();
    wire.iter()
        .take_while(|&&byte| {
            let was_armed = gate.is_armed();
            gate.check(&[byte]).expect("the whole passed");
            was_armed
        })
        .count()
}

fn agree_with_httparse(wire: &[u8], head_end: usize) {
    let mut start = 0;
    loop {
        let mut fields = [httparse::EMPTY_HEADER; 512];
        let mut answer = httparse::Response::new(&mut fields);
        // What httparse refuses, hyper refuses: that is no harm.
        let Ok(status) = answer.parse(&wire[start..]) else {
            return;
        };
        let Status::Complete(length) = status else {
            panic!("the gate saw a head end at {head_end} that httparse goes on with");
        };
        start += length;
        if answer.code.is_none_or(|code| !(100..200).contains(&code)) {
            break;
        }
    }
    assert_eq!(start, head_end);
}
