//! The components that the build made and put inside the binary.

/// A filter that comes with the program.
pub struct Shipped {
    /// By what a configuration asks for it.
    pub name: &'static str,
    pub bytes: &'static [u8],
    /// SHA-256 of the bytes, which a start then need not read.
    pub digest: [u8; 32],
}

include!(concat!(env!("OUT_DIR"), "/shipped.rs"));
