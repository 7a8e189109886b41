//! PROXY headers, without what reads them from sockets.

#[path = "../../proxy/src/proxy_protocol/header.rs"]
mod header;
#[path = "../../proxy/src/proxy_protocol/introduction.rs"]
mod introduction;

#[path = "../../proxy/src/proxy_protocol/version.rs"]
mod version;
#[path = "../../proxy/src/proxy_protocol/write.rs"]
mod write;

pub use introduction::Introduction;
pub use version::Version;
pub use write::Ends;

use header::{Begin, begin_of, parse};

/// What is written for both ends of a stream is read as the same.
pub fn write_and_read(introduction: &Introduction) {
    let (Some(source), Some(destination)) = (introduction.client(), introduction.destination())
    else {
        return;
    };
    let ends = Ends::new(source, destination);
    for version in [Version::V1, Version::V2] {
        let read = read(&write::header(version, Some(ends))).expect("a whole header");
        if let (Some(client), Some(to)) = (read.client(), read.destination()) {
            assert_eq!(Ends::new(client, to), ends);
        }
    }
}

/// Reads the header that `bytes` begin with, after checking that no shorter beginning
/// of them is taken for something else.
pub fn read(bytes: &[u8]) -> Option<Introduction> {
    let whole = match begin_of(bytes) {
        Begin::Whole(whole) => whole,
        Begin::Header(known) => {
            assert!(known <= bytes.len());
            return None;
        }
        Begin::Other | Begin::TooLong => return None,
    };
    for end in 0..whole {
        let begin = begin_of(&bytes[..end]);
        assert_eq!(begin, Begin::Header(end), "of {whole}");
    }
    parse(&bytes[..whole])
}
