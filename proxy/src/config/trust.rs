//! Keys whose signatures on components are believed.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ED25519, ParsedPublicKey, VerificationAlgorithm,
};
use rustls_pki_types::pem::{PemObject, SectionKind};

use super::checked::Name;

/// A key, and what it is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedKey {
    pub name: Name,
    pub key: PublicKey,
}

/// A public key that signatures can be verified with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    kind: Kind,
    /// As the algorithm has it, without what is around it in a PEM file.
    bytes: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// ECDSA with SHA-256, as cosign makes keys.
    P256,
    Ed25519,
}

/// Why a text is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoKey {
    #[error("is not in PEM")]
    NotPem,
    #[error("is a private key, which belongs to nobody but who signs")]
    Private,
    #[error("is in PEM and no `PUBLIC KEY`")]
    NotPublicKey,
    #[error("is of another kind")]
    OtherKind,
    #[error("is damaged")]
    Damaged,
}

/// What stands before the key itself in its `SubjectPublicKeyInfo` (RFC 5480, of an
/// uncompressed point; RFC 8410). There is no other way to write either in DER.
const P256: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
const ED25519_KEY: &[u8] = &[
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

impl PublicKey {
    /// Of a PEM file.
    pub fn read(pem: &[u8]) -> Result<Self, NoKey> {
        let (section, der) =
            <(SectionKind, Vec<u8>)>::from_pem_slice(pem).map_err(|_| NoKey::NotPem)?;
        match section {
            SectionKind::PublicKey => {}
            SectionKind::PrivateKey | SectionKind::EcPrivateKey | SectionKind::RsaPrivateKey => {
                return Err(NoKey::Private);
            }
            _ => return Err(NoKey::NotPublicKey),
        }
        let (kind, bytes) = match (der.strip_prefix(P256), der.strip_prefix(ED25519_KEY)) {
            (Some(bytes), _) => (Kind::P256, bytes),
            (_, Some(bytes)) => (Kind::Ed25519, bytes),
            (None, None) => return Err(NoKey::OtherKind),
        };
        let bytes = bytes.to_vec();
        let key = Self { kind, bytes };
        // A point that is not on the curve would only ever say no.
        key.parsed().map(|_| key).ok_or(NoKey::Damaged)
    }

    /// Whether this is a signature of the message by the key: 64 bytes of Ed25519, or
    /// the DER form of ECDSA.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let parsed = self.parsed();
        parsed.is_some_and(|key| key.verify_sig(message, signature).is_ok())
    }

    fn parsed(&self) -> Option<ParsedPublicKey> {
        let algorithm: &'static dyn VerificationAlgorithm = match self.kind {
            Kind::P256 => &ECDSA_P256_SHA256_ASN1,
            Kind::Ed25519 => &ED25519,
        };
        ParsedPublicKey::new(algorithm, &self.bytes).ok()
    }
}
