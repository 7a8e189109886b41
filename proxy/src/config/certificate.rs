//! Certificates and keys as files have them.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::time::ASN1Time;

use super::staple::BadStaple;
use super::tls::Certificate;
use crate::digest::Digest;

/// Of one file.
const MAX_BYTES: u64 = 4 << 20;

/// RSA keys that are shorter can be broken by those who can pay for it.
const MIN_RSA_BITS: usize = 2048;

/// Why a file is not what it should be: each reads on after "a file that".
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    #[error("cannot be read: {0}")]
    Unreadable(#[from] std::io::Error),
    #[error("is larger than 4 MiB")]
    TooLarge,
    #[error("is not in PEM: {0}")]
    NotPem(pem::Error),
    #[error("has no certificate in it")]
    NoCertificate,
    #[error("has no private key in it")]
    NoKey,
    #[error("has a private key with a passphrase, which nobody is there to type")]
    Encrypted,
    #[error("has a private key that cannot be used: {0}")]
    OddKey(rustls::Error),
    #[error("has a certificate that cannot be read")]
    BadCertificate,
    #[error("has a certificate with an RSA key of {0} bits")]
    WeakKey(usize),
    #[error("has the certificate of {subject}, which expired at {at}")]
    Expired { subject: String, at: String },
    #[error("has the certificate of {subject}, which is not valid before {at}")]
    NotYetValid { subject: String, at: String },
    #[error(
        "has the certificate of {subject} behind none that it has issued: the next would be that of {wanted}"
    )]
    OutOfOrder { subject: String, wanted: String },
    #[error("has another key than the one that the certificate is for")]
    Mismatch,
    #[error("has a revocation list that cannot be read")]
    BadRevocationList,
    #[error(
        "has a revocation list of {issuer} that was to be replaced by {at}: all its clients would be refused"
    )]
    OldRevocationList { issuer: String, at: String },
    #[error(transparent)]
    Staple(#[from] BadStaple),
}

/// What is told of a certificate.
pub struct Facts {
    /// Names of hosts, in lower case.
    pub names: Vec<String>,
    /// The first of its chain, since 1970, in seconds.
    pub expires: u64,
    /// What is wrong with one of the chain behind it, for which clients may refuse it.
    pub stale: Option<Unfit>,
}

/// A whole file, if it is one and not too large.
pub fn read_bytes(file: &Path) -> Result<Vec<u8>, Unfit> {
    // Asked before it is opened, because opening a pipe waits for its writer.
    if !fs::metadata(file)?.is_file() {
        return Err(std::io::Error::other("it is no regular file").into());
    }
    let mut bytes = Vec::new();
    File::open(file)?
        .take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)?;
    match u64::try_from(bytes.len()).is_ok_and(|length| length <= MAX_BYTES) {
        true => Ok(bytes),
        false => Err(Unfit::TooLarge),
    }
}

/// The certificates of a file, at least one.
pub fn read_certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Unfit> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let certificates = certificates.map_err(Unfit::NotPem)?;
    if certificates.is_empty() {
        return Err(Unfit::NoCertificate);
    }
    for certificate in &certificates {
        X509Certificate::from_der(certificate).map_err(|_| Unfit::BadCertificate)?;
    }
    Ok(certificates)
}

/// The first private key of a file.
pub fn read_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, Unfit> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| match error {
        pem::Error::NoItemsFound if has(pem, b"ENCRYPTED PRIVATE KEY") => Unfit::Encrypted,
        pem::Error::NoItemsFound => Unfit::NoKey,
        error => Unfit::NotPem(error),
    })
}

/// Whether the first certificate of a chain may serve now with those behind it, and what
/// it says.
pub fn look(chain: &[CertificateDer<'_>], now: SystemTime) -> Result<Facts, Unfit> {
    let chain: Result<Vec<_>, _> = chain
        .iter()
        .map(|der| X509Certificate::from_der(der))
        .collect();
    let chain = chain.map_err(|_| Unfit::BadCertificate)?;
    let chain: Vec<_> = chain
        .into_iter()
        .map(|(_, certificate)| certificate)
        .collect();
    let (first, others) = chain.split_first().ok_or(Unfit::NoCertificate)?;
    is_valid(first, now)?;
    if let Ok(PublicKey::RSA(key)) = first.public_key().parsed()
        && key.key_size() < MIN_RSA_BITS
    {
        return Err(Unfit::WeakKey(key.key_size()));
    }
    is_in_order(&chain)?;
    let ends = chain
        .iter()
        .map(|certificate| since_1970(certificate.validity().not_after));
    Ok(Facts {
        names: names(first),
        expires: ends.min().unwrap_or_default(),
        stale: others.iter().find_map(|other| is_valid(other, now).err()),
    })
}

pub(super) fn is_valid(certificate: &X509Certificate<'_>, now: SystemTime) -> Result<(), Unfit> {
    let subject = || format!("`{}`", certificate.subject());
    let validity = certificate.validity();
    let now = seconds(now);
    if now > validity.not_after.timestamp() {
        let (subject, at) = (subject(), written(validity.not_after));
        return Err(Unfit::Expired { subject, at });
    }
    if now < validity.not_before.timestamp() {
        let (subject, at) = (subject(), written(validity.not_before));
        return Err(Unfit::NotYetValid { subject, at });
    }
    Ok(())
}

/// Each has issued one before it. Not always the very one: an authority that another
/// vouches for beside itself has two certificates (RFC 8446, section 4.4.2).
fn is_in_order(chain: &[X509Certificate<'_>]) -> Result<(), Unfit> {
    for (index, certificate) in chain.iter().enumerate().skip(1) {
        let before = &chain[..index];
        if !before.iter().any(|issued| has_issued(certificate, issued)) {
            let last = &chain[index - 1];
            return Err(Unfit::OutOfOrder {
                subject: format!("`{}`", certificate.subject()),
                wanted: format!("`{}`", last.issuer()),
            });
        }
    }
    Ok(())
}

/// As clients look for an issuer: by its name, and by the number of its key where both
/// tell it (RFC 5280, section 4.2.1.1).
pub fn has_issued(issuer: &X509Certificate<'_>, issued: &X509Certificate<'_>) -> bool {
    let own = issuer
        .extensions()
        .iter()
        .find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(key) => Some(key.0),
            _ => None,
        });
    let wanted =
        issued
            .extensions()
            .iter()
            .find_map(|extension| match extension.parsed_extension() {
                ParsedExtension::AuthorityKeyIdentifier(key) => {
                    Some(key.key_identifier.as_ref()?.0)
                }
                _ => None,
            });
    // The same name may be in other encodings, as OpenSSL reads them.
    let (name, asked) = (issuer.subject().to_string(), issued.issuer().to_string());
    name.eq_ignore_ascii_case(&asked) && (own.is_none() || wanted.is_none() || own == wanted)
}

/// A chain, which was looked at, with the key of its first certificate.
pub fn pair(
    file: PathBuf,
    chain: Vec<CertificateDer<'static>>,
    facts: Facts,
    key: &PrivateKeyDer<'_>,
    staple: Option<Vec<u8>>,
) -> Result<Certificate, Unfit> {
    let mut content: Vec<u8> = chain.iter().flat_map(|der| der.to_vec()).collect();
    content.extend_from_slice(key.secret_der());
    content.extend_from_slice(staple.as_deref().unwrap_or_default());
    let key = any_supported_type(key).map_err(Unfit::OddKey)?;
    let mut certified = CertifiedKey::new(chain, key);
    certified.keys_match().map_err(|_| Unfit::Mismatch)?;
    certified.ocsp = staple;
    Ok(Certificate {
        names: facts.names,
        expires: facts.expires,
        certified: Arc::new(certified),
        digest: Digest::of(&content),
        file,
    })
}

/// Names of hosts. What a subject calls itself beside them counts for no client.
fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(alternative)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    let names = alternative.value.general_names.iter();
    let names = names.filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    });
    names.collect()
}

/// As certificates count.
pub(super) fn seconds(now: SystemTime) -> i64 {
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    i64::try_from(now).unwrap_or(i64::MAX)
}

pub(super) fn since_1970(time: ASN1Time) -> u64 {
    u64::try_from(time.timestamp()).unwrap_or_default()
}

pub(super) fn written(time: ASN1Time) -> String {
    time.to_rfc2822().unwrap_or_else(|odd| odd)
}

fn has(bytes: &[u8], wanted: &[u8]) -> bool {
    memchr::memmem::find(bytes, wanted).is_some()
}
