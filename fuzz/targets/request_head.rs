//! Request heads: the cut of the bytes changes nothing, httparse reads the same,
//! and what is written back is read back.

#![no_main]

use std::net::IpAddr;

use bytes::BytesMut;
use http::Version;
use libfuzzer_sys::fuzz_target;
use lockgate_fuzz::config::{ForwardedStyle, Limits, Network};
use lockgate_fuzz::http::forwarded::{self, Client, Peer};
use lockgate_fuzz::http::h1::{HeadScanner, parse_request};
use lockgate_fuzz::http::hop;
use lockgate_fuzz::http::request_id;
use lockgate_fuzz::http::trace::Trace;
use lockgate_fuzz::http::{HeadError, ParsedRequest, Role, TargetForm};
use lockgate_fuzz::{all_path_rules, limits, pieces};

fuzz_target!(|data: &[u8]| {
    let Some((size, wire)) = pieces(data) else {
        return;
    };
    for role in [Role::Gateway, Role::Proxy] {
        let whole = read(wire, wire.len().max(1), &limits(), role);
        let cut = read(wire, size, &limits(), role);
        assert_eq!(format!("{whole:?}"), format!("{cut:?}"), "cut in {size}s");
        if let Ok(Some((parsed, rest))) = whole {
            agree_with_httparse(wire, wire.len() - rest.len(), &parsed);
            write_back(&parsed, role);
            pass_on(parsed);
        }
    }
});

type Outcome = Result<Option<(ParsedRequest, Vec<u8>)>, HeadError>;

/// Feeds the wire in pieces up to the first outcome.
fn read(wire: &[u8], size: usize, limits: &Limits, role: Role) -> Outcome {
    let rules = &all_path_rules()[0];
    let mut scanner = HeadScanner::default();
    let mut buffer = BytesMut::new();
    let mut pieces = wire.chunks(size);
    while let Some(piece) = pieces.next() {
        buffer.extend_from_slice(piece);
        if let Some(parsed) = parse_request(&mut buffer, &mut scanner, limits, rules, role)? {
            let rest = [&buffer[..]].into_iter().chain(pieces);
            return Ok(Some((parsed, rest.collect::<Vec<_>>().concat())));
        }
    }
    Ok(None)
}

fn agree_with_httparse(wire: &[u8], head_bytes: usize, parsed: &ParsedRequest) {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut fields);
    let status = request.parse(wire);
    assert_eq!(status, Ok(httparse::Status::Complete(head_bytes)));
    assert_eq!(request.method, Some(parsed.head.method.as_str()));
    let theirs = request.headers.iter();
    let mut theirs: Vec<_> = theirs
        .map(|field| (field.name.to_ascii_lowercase(), field.value))
        .filter(|(name, _)| name != "host" && name != "content-length")
        .collect();
    let ours = parsed.head.headers.iter();
    let mut ours: Vec<_> = ours
        .map(|(name, value)| (name.to_string(), value.as_bytes()))
        .filter(|(name, _)| name != "content-length")
        .collect();
    theirs.sort();
    ours.sort();
    assert_eq!(ours, theirs);
}

/// A head in its plainest form is read as the same head.
fn write_back(parsed: &ParsedRequest, role: Role) {
    let head = &parsed.head;
    let version = if parsed.version == Version::HTTP_10 {
        "1.0"
    } else {
        "1.1"
    };
    let target = match (parsed.form, &head.authority) {
        (TargetForm::Authority, Some(authority)) => authority.as_str(),
        _ => head.path.as_str(),
    };
    let mut wire = format!("{} {target} HTTP/{version}\r\n", head.method).into_bytes();
    if let Some(authority) = &head.authority {
        wire.extend_from_slice(format!("host: {authority}\r\n").as_bytes());
    }
    for (name, value) in &head.headers {
        wire.extend_from_slice(name.as_str().as_bytes());
        wire.extend_from_slice(b": ");
        wire.extend_from_slice(value.as_bytes());
        wire.extend_from_slice(b"\r\n");
    }
    wire.extend_from_slice(b"\r\n");
    let wider = Limits {
        max_head_bytes: 8192,
        ..limits()
    };
    let again = read(&wire, wire.len(), &wider, role);
    let (again, rest) = again
        .expect("what was taken is taken again")
        .expect("it is whole");
    assert!(rest.is_empty());
    assert_eq!(format!("{head:?}"), format!("{:?}", again.head));
    assert_eq!(parsed.framing, again.framing);
    assert_eq!(parsed.keep_alive, again.keep_alive);
    assert_eq!(parsed.expects_continue, again.expects_continue);
}

/// What the proxy does with fields takes whatever a head may hold.
fn pass_on(parsed: ParsedRequest) {
    let mut head = parsed.head;
    hop::remove_hop_by_hop(&mut head.headers);
    assert!(!head.headers.contains_key("connection"));
    assert!(!head.headers.contains_key("transfer-encoding"));
    let peer = Peer::new(IpAddr::from([10, 0, 0, 1]));
    let trusted = Network {
        address: IpAddr::from([10, 0, 0, 0]),
        prefix: 8,
    };
    for style in [
        ForwardedStyle::Both,
        ForwardedStyle::Forwarded,
        ForwardedStyle::XForwarded,
    ] {
        for trusted in [&[trusted][..], &[]] {
            let client = Client::find(&peer, &head.headers, style, trusted);
            let mut headers = head.headers.clone();
            let authority = head.authority.as_ref();
            forwarded::write(
                &mut headers,
                style,
                &peer,
                client,
                &head.scheme,
                authority,
                None,
            );
        }
    }
    let trace = Trace::from_headers(&head.headers);
    trace.write(&mut head.headers);
    let again = Trace::from_headers(&head.headers);
    assert_eq!(
        trace.trace_id(),
        again.trace_id(),
        "what is written is valid"
    );
    let name = http::HeaderName::from_static("x-request-id");
    request_id::take_or_make(&mut head.headers, &name, true);
}
