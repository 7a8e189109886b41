//! Packed fields: unpacking takes every byte string, and packing gives back what
//! was unpacked.

#![no_main]

use libfuzzer_sys::fuzz_target;
use lockgate_fuzz::packed::{pack, unpack};

fuzz_target!(|data: &[u8]| {
    let Ok(fields) = unpack(data) else {
        return;
    };
    let mut packed = Vec::new();
    for values in &fields {
        pack(&mut packed, values.iter().copied());
    }
    assert_eq!(packed, data, "there is one form only");
});
