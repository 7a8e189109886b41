//! The components that the build made and put inside the binary.

include!(concat!(env!("OUT_DIR"), "/shipped.rs"));
