//! Bodies: the cut of the bytes changes nothing, and what is written back is read
//! back.

#![no_main]

use bytes::BytesMut;
use http::HeaderMap;
use libfuzzer_sys::fuzz_target;
use lockgate_fuzz::error::ErrorKind;
use lockgate_fuzz::http::Framing;
use lockgate_fuzz::http::h1::{BodyDecoder, Decoded, encode_chunk, encode_last_chunk};
use lockgate_fuzz::{limits, pieces};

fuzz_target!(|data: &[u8]| {
    let Some((size, wire)) = pieces(data) else {
        return;
    };
    let whole = read(wire, wire.len().max(1));
    let cut = read(wire, size);
    assert_eq!(whole.end, cut.end, "cut in {size}s");
    assert_eq!(whole.trailers, cut.trailers);
    if whole.end.is_ok() {
        assert_eq!(whole.data, cut.data);
        write_back(&whole, size);
    }
});

struct Body {
    data: Vec<u8>,
    trailers: HeaderMap,
    /// What is left behind the body; `ClientGone` stands for a body cut off.
    end: Result<Vec<u8>, ErrorKind>,
}

fn read(wire: &[u8], size: usize) -> Body {
    let mut body = Body {
        data: Vec::new(),
        trailers: HeaderMap::new(),
        end: Err(ErrorKind::ClientGone),
    };
    let mut decoder = BodyDecoder::new(Framing::Chunked, limits().max_body_bytes);
    let mut buffer = BytesMut::new();
    let mut pieces = wire.chunks(size);
    loop {
        match decoder.decode(&mut buffer) {
            Ok(Decoded::Data(data)) => {
                assert!(!data.is_empty());
                body.data.extend_from_slice(&data);
            }
            Ok(Decoded::Trailers(trailers)) => body.trailers = trailers,
            Ok(Decoded::End) => {
                let rest = [&buffer[..]].into_iter().chain(pieces);
                body.end = Ok(rest.collect::<Vec<_>>().concat());
                break;
            }
            Ok(Decoded::NeedMore) => match pieces.next() {
                Some(piece) => buffer.extend_from_slice(piece),
                None => break,
            },
            Err(error) => {
                body.end = Err(error.kind);
                break;
            }
        }
    }
    assert!(body.data.len() as u64 <= limits().max_body_bytes);
    assert_eq!(decoder.is_done(), body.end.is_ok());
    body
}

fn write_back(body: &Body, size: usize) {
    let mut wire = BytesMut::new();
    for data in body.data.chunks(size) {
        encode_chunk(&mut wire, data);
    }
    encode_last_chunk(&mut wire, Some(body.trailers.clone()));
    let again = read(&wire, wire.len());
    assert_eq!(again.end, Ok(Vec::new()));
    assert_eq!(again.data, body.data);
    assert_eq!(again.trailers, body.trailers);
}
