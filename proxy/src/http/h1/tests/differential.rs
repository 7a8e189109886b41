//! The reading of heads compared with httparse's, which most of the ecosystem
//! uses: what is taken here is taken there, and means the same.

use super::*;

const PIECES: &[&[u8]] = &[
    b"GET",
    b"POST",
    b" ",
    b"/",
    b"/a?b=c",
    b"http://a/",
    b"*",
    b"OPTIONS",
    b" HTTP/1.1\r\n",
    b" HTTP/1.0\r\n",
    b"\r\n",
    b"\n",
    b"\r",
    b"Host: a\r\n",
    b"Host: a\r\n",
    b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"x: y\r\n",
    b"x",
    b": ",
    b"\t",
    b"\0",
    b"a",
    b"\r\n\r\n",
    b"\xe9",
    b"Connection: close\r\n",
];

/// Mostly a good head, with random pieces put in and bytes changed.
fn wire(random: &mut fastrand::Rng) -> Vec<u8> {
    let mut pieces: Vec<&[u8]> = vec![
        b"GET",
        b" ",
        b"/",
        b" HTTP/1.1\r\n",
        b"Host: a\r\n",
        b"x: y\r\n",
        b"\r\n",
    ];
    for _ in 0..random.usize(0..4) {
        let piece = PIECES[random.usize(..PIECES.len())];
        pieces.insert(random.usize(..=pieces.len()), piece);
    }
    let mut wire = pieces.concat();
    if random.u8(0..4) == 0 {
        let at = random.usize(..wire.len());
        wire[at] = random.u8(..);
    }
    wire
}

/// Fields as httparse reads them, without `Host`, in lower case.
fn theirs(request: &httparse::Request<'_, '_>) -> Vec<(String, Vec<u8>)> {
    let mut fields: Vec<_> = request
        .headers
        .iter()
        .map(|field| (field.name.to_ascii_lowercase(), field.value.to_vec()))
        .filter(|(name, _)| name != "host")
        .collect();
    fields.sort();
    fields
}

fn ours(parsed: &ParsedRequest) -> Vec<(String, Vec<u8>)> {
    let mut fields: Vec<_> = parsed
        .head
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()))
        .collect();
    fields.sort();
    fields
}

#[test]
fn what_is_taken_here_httparse_reads_alike() {
    let seed = 11;
    let mut random = fastrand::Rng::with_seed(seed);
    let mut taken = 0;
    for _ in 0..100_000 {
        let wire = wire(&mut random);
        let mut buffer = BytesMut::from(&wire[..]);
        let parsed = parse_request(
            &mut buffer,
            &mut HeadScanner::default(),
            &limits(),
            &RULES,
            Role::Gateway,
        );
        let Ok(Some(parsed)) = parsed else {
            continue;
        };
        taken += 1;
        let mut fields = [httparse::EMPTY_HEADER; 16];
        let mut request = httparse::Request::new(&mut fields);
        let status = request.parse(&wire);
        let shown = wire.escape_ascii();
        assert_eq!(
            status,
            Ok(httparse::Status::Complete(wire.len() - buffer.len())),
            "seed {seed}: {shown}"
        );
        assert_eq!(request.method, Some(parsed.head.method.as_str()), "{shown}");
        let minor = u8::from(parsed.version == http::Version::HTTP_11);
        assert_eq!(request.version, Some(minor), "{shown}");
        assert_eq!(theirs(&request), ours(&parsed), "{shown}");
    }
    assert!(
        taken > 10_000,
        "the pieces make too few good heads: {taken}"
    );
}
