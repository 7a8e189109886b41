//! The first bytes of a connection behind a balancer: whatever they are, where a header
//! ends does not depend on how they are cut, and nothing that it says panics.

#![no_main]

use libfuzzer_sys::fuzz_target;
use lockgate_fuzz::proxy_protocol;

fuzz_target!(|bytes: &[u8]| {
    let Some(introduction) = proxy_protocol::read(bytes) else {
        return;
    };
    proxy_protocol::write_and_read(&introduction);
    for name in [
        "version",
        "source",
        "destination",
        "authority",
        "alpn",
        "unique_id",
        "ssl",
        "ssl.cn",
        "ssl.verified",
        "tlv.05",
        "tlv.ea",
    ] {
        introduction.attribute(name);
    }
});
