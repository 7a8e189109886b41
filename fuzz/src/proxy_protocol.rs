//! PROXY headers, without what reads them from sockets.

#[path = "../../proxy/src/proxy_protocol/header.rs"]
mod header;
#[path = "../../proxy/src/proxy_protocol/introduction.rs"]
mod introduction;

#[path = "../../proxy/src/proxy_protocol/version.rs"]
mod version;
#[path = "../../proxy/src/proxy_protocol/write.rs"]
#[allow(dead_code, reason = "nothing is written to sockets")]
mod write;

pub use introduction::Introduction;
pub use version::Version;
pub use write::Ends;

use header::{Begin, begin_of, parse};

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
