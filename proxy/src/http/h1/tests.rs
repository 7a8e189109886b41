//! Tests of whole request heads; bodies, answers and the gate have their own.

mod differential;
mod requests;
mod smuggling;

use bytes::BytesMut;

use super::{HeadScanner, parse_request};
use crate::config::{EncodedSlashes, Limits, PathRules};
use crate::error::ErrorKind;
use crate::http::{HeadError, ParsedRequest, Role};

fn limits() -> Limits {
    Limits {
        max_head_bytes: 600,
        max_headers: 10,
        max_target_bytes: 100,
        max_body_bytes: 1000,
        min_body_rate: 0,
        max_requests: 10,
        max_connections: 10,
        max_client_connections: 10,
        client_ipv6_prefix: 64,
        max_handshakes: 10,
        max_client_handshakes: 10,
    }
}

const RULES: PathRules = PathRules {
    merge_slashes: true,
    encoded_slashes: EncodedSlashes::Refuse,
};

/// A head in words that can be compared, with what it left in the buffer.
type Outcome = Result<Option<(String, Vec<u8>)>, HeadError>;

/// Feeds `wire` in pieces of at most `piece` bytes, up to the first outcome.
fn read(wire: &[u8], piece: usize) -> Outcome {
    let mut scanner = HeadScanner::default();
    let mut buffer = BytesMut::new();
    let mut pieces = wire.chunks(piece);
    for piece in pieces.by_ref() {
        buffer.extend_from_slice(piece);
        if let Some(parsed) =
            parse_request(&mut buffer, &mut scanner, &limits(), &RULES, Role::Gateway)?
        {
            let mut rest = buffer.to_vec();
            rest.extend(pieces.flatten());
            return Ok(Some((format!("{parsed:?}"), rest)));
        }
    }
    Ok(None)
}

/// However the bytes are cut, the outcome is the same.
fn outcome(wire: &[u8]) -> Outcome {
    let whole = read(wire, wire.len().max(1));
    for piece in (1..wire.len().min(20)).chain([wire.len() / 2]) {
        assert_eq!(
            read(wire, piece.max(1)),
            whole,
            "{} in {piece}s",
            wire.escape_ascii()
        );
    }
    whole
}

fn parse(wire: &[u8]) -> Result<Option<ParsedRequest>, HeadError> {
    let found = outcome(wire);
    let mut buffer = BytesMut::from(wire);
    let parsed = parse_request(
        &mut buffer,
        &mut HeadScanner::default(),
        &limits(),
        &RULES,
        Role::Gateway,
    );
    assert_eq!(found.is_ok(), parsed.is_ok());
    parsed
}

fn good(wire: &[u8]) -> ParsedRequest {
    let parsed = parse(wire);
    parsed
        .unwrap_or_else(|error| panic!("{}: {error:?}", wire.escape_ascii()))
        .unwrap_or_else(|| panic!("{}: incomplete", wire.escape_ascii()))
}

fn check_refused(wire: &[u8], kind: ErrorKind) {
    match parse(wire) {
        Err(error) => assert_eq!(error.kind, kind, "{}: {error:?}", wire.escape_ascii()),
        Ok(parsed) => panic!("{}: {parsed:?}", wire.escape_ascii()),
    }
}
