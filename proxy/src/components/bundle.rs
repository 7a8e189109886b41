//! Sigstore bundles: what cosign 3 writes as a signature, of an image or of a file.
//!
//! Only what a key has signed is believed, and nothing that a certificate or a
//! transparency log says of it.

use base64::Engine;
use base64::alphabet::{self, Alphabet};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::trust::{self, Untrusted};
use crate::config::{Name, TrustedKey};
use crate::digest::Digest;

/// As the types of bundles begin, of all versions: `….bundle+json;version=0.2`,
/// `….bundle.v0.3+json`.
const TYPE: &str = "application/vnd.dev.sigstore.bundle";

/// The bytes of a bundle. Those of attestations may be larger, and are no signatures.
pub(super) const MAX_BYTES: usize = 256 << 10;

const STATEMENT: &str = "application/vnd.in-toto+json";
const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
/// What is said of an image. A key may also sign what a scanner found in it, which
/// does not speak for it.
pub(super) const PREDICATE_TYPE: &str = "https://sigstore.dev/cosign/sign/v1";

/// Of what is shown of an error about what somebody else wrote.
const MAX_SAID: usize = 200;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle {
    #[serde(default)]
    verification_material: Material,
    dsse_envelope: Option<Envelope>,
    message_signature: Option<MessageSignature>,
}

/// What a signature can be verified with. A key is only hinted at.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Material {
    certificate: Option<IgnoredAny>,
    x509_certificate_chain: Option<IgnoredAny>,
}

/// As DSSE has it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    payload: String,
    payload_type: String,
    signatures: Vec<Signature>,
}

#[derive(Deserialize)]
struct Signature {
    sig: String,
}

#[derive(Deserialize)]
struct MessageSignature {
    signature: String,
}

/// As in-toto has it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statement {
    #[serde(rename = "_type")]
    r#type: String,
    predicate_type: String,
    subject: Vec<Subject>,
}

#[derive(Deserialize)]
struct Subject {
    digest: Digests,
}

#[derive(Deserialize)]
struct Digests {
    sha256: Option<String>,
}

/// Whether this is the media type of a bundle.
pub(super) fn is_type(media_type: &str) -> bool {
    media_type.starts_with(TYPE)
}

/// By whom an image is signed, if this is a bundle with a signature of it.
pub(super) fn check_image(
    bundle: &[u8],
    image: &Digest,
    keys: &[TrustedKey],
    place: &str,
) -> Result<Name, Untrusted> {
    let bundle = read(bundle, place)?;
    let illegible = |reason| Untrusted::illegible(place, reason);
    let envelope = bundle.dsse_envelope.as_ref();
    let envelope = envelope.ok_or_else(|| illegible("which holds no statement"))?;
    let payload = decoded(&envelope.payload);
    let payload = payload.ok_or_else(|| illegible("whose statement is not in Base64"))?;
    let message = encoded(&envelope.payload_type, &payload);
    let signatures = envelope.signatures.iter().take(trust::MAX_SIGNATURES);
    let mut signatures = signatures.filter_map(|signature| decoded(&signature.sig));
    let signer = signatures.find_map(|signature| trust::signer(keys, &message, &signature));
    let signer = signer.ok_or_else(|| bundle.unknown())?;
    // Nothing is read of what nobody signed.
    match envelope.payload_type.as_str() {
        STATEMENT => is_of(&payload, image, place).map(|()| signer),
        _ => Err(unreadable(place, "it is no statement of in-toto")),
    }
}

/// By whom these bytes are signed, if this is a bundle with a signature of them.
pub(super) fn check_bytes(
    bundle: &[u8],
    bytes: &[u8],
    keys: &[TrustedKey],
    place: &str,
) -> Result<Name, Untrusted> {
    let bundle = read(bundle, place)?;
    let signature = bundle.message_signature.as_ref();
    let signature = signature.and_then(|signed| decoded(&signed.signature));
    let signature = signature
        .ok_or_else(|| Untrusted::illegible(place, "which holds no signature of a file"))?;
    let wrong = || match bundle.unknown() {
        Untrusted::Unknown => Untrusted::Wrong {
            place: place.to_owned(),
        },
        by_certificate => by_certificate,
    };
    trust::signer(keys, bytes, &signature).ok_or_else(wrong)
}

impl Bundle {
    /// Why it does not do where no trusted key has signed.
    fn unknown(&self) -> Untrusted {
        let material = &self.verification_material;
        let chain = material.x509_certificate_chain.is_some();
        match chain || material.certificate.is_some() {
            true => Untrusted::Certificate,
            false => Untrusted::Unknown,
        }
    }
}

/// Whether a statement is that this image is signed.
fn is_of(statement: &[u8], image: &Digest, place: &str) -> Result<(), Untrusted> {
    let statement: Statement = parsed(statement).map_err(|reason| unreadable(place, &reason))?;
    if statement.r#type != STATEMENT_TYPE {
        return Err(unreadable(place, &format!("it is no `{STATEMENT_TYPE}`")));
    }
    if statement.predicate_type != PREDICATE_TYPE {
        return Err(unreadable(place, &format!("it is no `{PREDICATE_TYPE}`")));
    }
    let digests = statement.subject.iter().filter_map(|subject| {
        let hex = subject.digest.sha256.as_ref()?;
        Digest::read(&format!("sha256:{hex}"))
    });
    let digests: Vec<_> = digests.collect();
    match digests.first() {
        _ if digests.contains(image) => Ok(()),
        Some(found) => Err(Untrusted::Other { found: *found }),
        None => Err(unreadable(place, "it names no digest")),
    }
}

/// What is signed of an envelope, DSSE's pre-authentication encoding.
fn encoded(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!(
        "DSSEv1 {} {payload_type} {} ",
        payload_type.len(),
        payload.len()
    );
    [head.as_bytes(), payload].concat()
}

/// In either alphabet, with padding or without: JSON of Protobuf and of DSSE may have
/// each.
fn decoded(text: &str) -> Option<Vec<u8>> {
    const fn engine(alphabet: &Alphabet) -> GeneralPurpose {
        let config = GeneralPurposeConfig::new();
        let config = config.with_decode_padding_mode(DecodePaddingMode::Indifferent);
        GeneralPurpose::new(alphabet, config)
    }
    const STANDARD: GeneralPurpose = engine(&alphabet::STANDARD);
    const URL_SAFE: GeneralPurpose = engine(&alphabet::URL_SAFE);
    STANDARD
        .decode(text)
        .or_else(|_| URL_SAFE.decode(text))
        .ok()
}

fn read(bundle: &[u8], place: &str) -> Result<Bundle, Untrusted> {
    parsed(bundle).map_err(|reason| {
        let reason = format!("whose bundle cannot be read: {reason}");
        Untrusted::illegible(place, &reason)
    })
}

/// The error may repeat what it does not understand.
fn parsed<T: DeserializeOwned>(json: &[u8]) -> Result<T, String> {
    serde_json::from_slice(json).map_err(|error| error.to_string().chars().take(MAX_SAID).collect())
}

fn unreadable(place: &str, reason: &str) -> Untrusted {
    Untrusted::Unreadable {
        place: place.to_owned(),
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_signed_is_encoded_as_dsse_has_it() {
        // The example of DSSE's own specification.
        let found = encoded("http://example.com/HelloWorld", b"hello world");
        let wanted = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world";
        assert_eq!(found, wanted);
    }

    #[test]
    fn every_base64_is_read() {
        for text in ["+/8=", "+/8", "-_8=", "-_8"] {
            assert_eq!(decoded(text).as_deref(), Some(&[0xfb, 0xff][..]), "{text}");
        }
        assert_eq!(decoded("a b"), None);
    }
}
