//! Whether a component is signed by who is trusted: beside a file, or beside an image
//! as cosign 1 and 2 sign it.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::manifest::Descriptor;
use super::{NoFile, bundle, file};
use crate::config::{Name, TrustedKey};
use crate::digest::Digest;

/// The type of a payload that cosign signs.
const PAYLOAD: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
const TYPE: &str = "cosign container image signature";

/// The bytes of a payload, and of a file with a signature.
pub(super) const MAX_PAYLOAD: usize = 64 << 10;
const MAX_SIGNATURE: usize = 4 << 10;

/// Signatures of one image that are looked at.
pub(super) const MAX_SIGNATURES: usize = 32;

/// Why a component is not trusted. Reads on from its name.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Untrusted {
    #[error("which is not signed: there is no {place}")]
    Unsigned { place: String },
    #[error("whose signature in {place} is none of these bytes by a key that is trusted for it")]
    Wrong { place: String },
    #[error("whose signature is for {found}, which is another component")]
    Other { found: Digest },
    #[error("which is signed, but not by a key that is trusted for it")]
    Unknown,
    #[error("which is signed with a certificate, and by no key that is trusted for it")]
    Certificate,
    #[error(
        "whose signature in {place} is neither 64 bytes (Ed25519) nor DER (P-256), raw or in Base64"
    )]
    Shapeless { place: String },
    #[error("whose signature in {place} cannot be read: {reason}")]
    Unreadable { place: String, reason: String },
    /// The reason reads on from the place.
    #[error("which has no signature that can be read: there is {place}, {reason}")]
    Illegible { place: String, reason: String },
}

impl Untrusted {
    pub const WANTED: &str = "a signature of it by a key that is trusted for it";

    pub(super) fn illegible(place: &str, reason: &str) -> Self {
        Self::Illegible {
            place: place.to_owned(),
            reason: reason.to_owned(),
        }
    }

    /// The one that tells more, where there are several signatures; else the first.
    pub(super) fn or(self, other: Self) -> Self {
        match other.weight() > self.weight() {
            true => other,
            false => self,
        }
    }

    /// The closer to a good one, the more.
    fn weight(&self) -> u8 {
        match self {
            Self::Unsigned { .. } => 0,
            Self::Illegible { .. } | Self::Shapeless { .. } => 1,
            Self::Certificate => 2,
            Self::Unknown | Self::Wrong { .. } => 3,
            Self::Other { .. } | Self::Unreadable { .. } => 4,
        }
    }
}

/// Where the signature of a file may be: on its own, or in a bundle.
pub fn signatures_of(file: &Path) -> [PathBuf; 2] {
    [".sig", ".sigstore.json"].map(|extension| {
        let mut path = file.as_os_str().to_owned();
        path.push(extension);
        PathBuf::from(path)
    })
}

/// By whom the bytes of a file are signed. One good signature does.
pub fn check_file(file: &Path, bytes: &[u8], keys: &[TrustedKey]) -> Result<Name, Untrusted> {
    let [signature, bundle] = signatures_of(file);
    let mut why = Untrusted::Unsigned {
        place: format!("`{}` and no `{}`", signature.display(), bundle.display()),
    };
    let checked = [
        check_signature(&signature, bytes, keys),
        check_bundle(&bundle, bytes, keys),
    ];
    for checked in checked.into_iter().flatten() {
        match checked {
            Ok(signer) => return Ok(signer),
            Err(other) => why = why.or(other),
        }
    }
    Err(why)
}

/// `None` where there is no such file.
fn check_signature(
    path: &Path,
    bytes: &[u8],
    keys: &[TrustedKey],
) -> Option<Result<Name, Untrusted>> {
    let place = place_of(path);
    Some(read(path, MAX_SIGNATURE)?.and_then(|written| {
        let signature = decoded(written);
        if !has_shape(&signature) {
            return Err(Untrusted::Shapeless { place });
        }
        signer(keys, bytes, &signature).ok_or(Untrusted::Wrong { place })
    }))
}

fn check_bundle(path: &Path, bytes: &[u8], keys: &[TrustedKey]) -> Option<Result<Name, Untrusted>> {
    let bundle = read(path, bundle::MAX_BYTES)?;
    Some(bundle.and_then(|bundle| bundle::check_bytes(&bundle, bytes, keys, &place_of(path))))
}

fn read(path: &Path, limit: usize) -> Option<Result<Vec<u8>, Untrusted>> {
    match file::read(path, limit) {
        Ok(bytes) => Some(Ok(bytes)),
        Err(NoFile::Unreadable(error)) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => {
            let reason = match error {
                // Not the limit of components, which somebody may raise.
                NoFile::TooLarge { limit } => format!("it is larger than {limit} bytes"),
                error => error.to_string(),
            };
            let place = place_of(path);
            Some(Err(Untrusted::Unreadable { place, reason }))
        }
    }
}

fn place_of(path: &Path) -> String {
    format!("`{}`", path.display())
}

/// As it is, or in Base64: `openssl` writes the one and cosign the other, and `base64`
/// breaks lines. No signature is text by chance.
fn decoded(written: Vec<u8>) -> Vec<u8> {
    let is_text = |byte: &u8| !byte.is_ascii_whitespace();
    let text: Vec<u8> = written.iter().copied().filter(is_text).collect();
    STANDARD.decode(text).unwrap_or(written)
}

/// Whether it may be a signature by either kind of key: 64 bytes for Ed25519, for P-256
/// two integers in a sequence of DER.
fn has_shape(signature: &[u8]) -> bool {
    const ED25519: usize = 64;
    const SEQUENCE: u8 = 0x30;
    signature.len() == ED25519
        || matches!(signature, [SEQUENCE, length, rest @ ..] if usize::from(*length) == rest.len())
}

pub(super) fn signer(keys: &[TrustedKey], message: &[u8], signature: &[u8]) -> Option<Name> {
    let mut keys = keys.iter();
    let key = keys.find(|trusted| trusted.key.verifies(message, signature))?;
    Some(key.name.clone())
}

/// Under which tag cosign keeps the signatures of an image.
pub(super) fn tag_of(image: &Digest) -> String {
    format!("sha256-{}.sig", image.hex())
}

/// The payloads that are signed, as the manifest behind that tag names them.
pub(super) fn payloads(layers: &[Descriptor]) -> impl Iterator<Item = (&Descriptor, Vec<u8>)> {
    let payloads = layers.iter().filter(|layer| layer.media_type == PAYLOAD);
    let signed = payloads.filter_map(|layer| {
        let signature = STANDARD.decode(layer.annotations.get(SIGNATURE)?).ok()?;
        Some((layer, signature))
    });
    signed.take(MAX_SIGNATURES)
}

/// What cosign signs.
#[derive(Deserialize)]
struct Payload {
    critical: Critical,
}

#[derive(Deserialize)]
struct Critical {
    image: Image,
    r#type: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Image {
    docker_manifest_digest: String,
}

/// By whom an image is signed, if this is a signature of it.
pub(super) fn check_payload(
    payload: &[u8],
    signature: &[u8],
    image: &Digest,
    keys: &[TrustedKey],
) -> Result<Name, Untrusted> {
    // Nothing is read of what nobody signed.
    let signer = signer(keys, payload, signature).ok_or(Untrusted::Unknown)?;
    let unreadable = |reason: String| Untrusted::Unreadable {
        place: format!("`{}`", tag_of(image)),
        reason,
    };
    let payload: Payload =
        serde_json::from_slice(payload).map_err(|error| unreadable(error.to_string()))?;
    if payload.critical.r#type != TYPE {
        return Err(unreadable(format!("it is no `{TYPE}`")));
    }
    let found = Digest::read(&payload.critical.image.docker_manifest_digest)
        .ok_or_else(|| unreadable("it names no digest".to_owned()))?;
    match found == *image {
        true => Ok(signer),
        false => Err(Untrusted::Other { found }),
    }
}
