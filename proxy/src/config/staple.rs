//! Answers of OCSP as files have them (RFC 6960), to be stapled to a certificate.
//!
//! x509-parser knows none, so this walks their structure by the reader of DER that it
//! stands on, and has its own look at what it does know: certificates and signatures.

use std::iter::once;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest;
use rustls_pki_types::CertificateDer;
use x509_parser::asn1_rs::{Any, BitString, Class, FromDer, Oid, Tag, oid};
use x509_parser::certificate::X509Certificate;
use x509_parser::error::X509Error;
use x509_parser::oid_registry::{
    OID_HASH_SHA1, OID_NIST_HASH_SHA256, OID_NIST_HASH_SHA384, OID_NIST_HASH_SHA512,
};
use x509_parser::time::ASN1Time;
use x509_parser::verify::verify_signature;
use x509_parser::x509::AlgorithmIdentifier;

use super::certificate::{has_issued, is_valid, seconds, written};

/// By which the clock of an authority may be ahead.
const SKEW: Duration = Duration::from_secs(5 * 60);

/// Why an answer is none for its certificate: each reads on after "a file that".
#[derive(Debug, thiserror::Error)]
pub enum BadStaple {
    #[error("is no answer of OCSP in DER")]
    NoAnswer,
    #[error("has no answer in it: `{0}` is what the responder says")]
    Unsuccessful(&'static str),
    #[error("has an answer about another certificate than that of {0}")]
    OfAnother(String),
    #[error("has an answer that was signed neither by {0} nor by who may do so for it")]
    Forged(String),
    #[error("says that the certificate of {subject} was revoked at {at}")]
    Revoked { subject: String, at: String },
    #[error("says that the authority does not know the certificate of {0}")]
    Unknown(String),
    #[error("has an answer that was good until {0}")]
    Expired(String),
    #[error("has an answer that is not good before {0}")]
    NotYetGood(String),
}

/// Whether the answer says now, of the first of this chain, that it is good.
pub(super) fn look(
    bytes: &[u8],
    chain: &[CertificateDer<'_>],
    now: SystemTime,
) -> Result<(), BadStaple> {
    let answer = Answer::read(bytes)?;
    let chain = chain.iter().filter_map(|der| parse(der));
    let chain: Vec<_> = chain.collect();
    let (first, others) = chain.split_first().ok_or(BadStaple::NoAnswer)?;
    let subject = format!("`{}`", first.subject());
    let issuer = others.iter().find(|other| has_issued(other, first));
    let is_about = |single: &&Single<'_>| single.is_about(first, issuer);
    let Some(single) = answer.singles.iter().find(is_about) else {
        return Err(BadStaple::OfAnother(subject));
    };
    if issuer.is_some_and(|issuer| answer.is_forged(issuer, now)) {
        return Err(BadStaple::Forged(format!("`{}`", first.issuer())));
    }
    match single.status {
        Status::Good => {}
        Status::Revoked(at) => {
            let at = written(at);
            return Err(BadStaple::Revoked { subject, at });
        }
        Status::Unknown => return Err(BadStaple::Unknown(subject)),
    }
    if single.begins.timestamp() > seconds(now + SKEW) {
        return Err(BadStaple::NotYetGood(written(single.begins)));
    }
    match single.ends {
        Some(ends) if ends.timestamp() < seconds(now) => Err(BadStaple::Expired(written(ends))),
        _ => Ok(()),
    }
}

/// An answer that a responder gave (`BasicOCSPResponse`).
struct Answer<'a> {
    singles: Vec<Single<'a>>,
    signed: &'a [u8],
    algorithm: AlgorithmIdentifier<'a>,
    signature: BitString<'a>,
    /// Among which may be that of the signer.
    certificates: Vec<X509Certificate<'a>>,
}

/// What it says of one certificate (`SingleResponse`).
struct Single<'a> {
    hash: Oid<'a>,
    issuer_name: &'a [u8],
    issuer_key: &'a [u8],
    serial: &'a [u8],
    status: Status,
    begins: ASN1Time,
    ends: Option<ASN1Time>,
}

enum Status {
    Good,
    Revoked(ASN1Time),
    Unknown,
}

impl<'a> Answer<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, BadStaple> {
        let outer = Element::only(bytes).and_then(|outer| outer.sequence());
        let outer = outer.ok_or(BadStaple::NoAnswer)?;
        let status = outer.first().and_then(|status| status.enumerated());
        match status.ok_or(BadStaple::NoAnswer)? {
            0 => Self::of(&outer).ok_or(BadStaple::NoAnswer),
            1 => Err(BadStaple::Unsuccessful("malformedRequest")),
            2 => Err(BadStaple::Unsuccessful("internalError")),
            3 => Err(BadStaple::Unsuccessful("tryLater")),
            5 => Err(BadStaple::Unsuccessful("sigRequired")),
            6 => Err(BadStaple::Unsuccessful("unauthorized")),
            _ => Err(BadStaple::NoAnswer),
        }
    }

    fn of(outer: &[Element<'a>]) -> Option<Self> {
        const BASIC: Oid<'_> = oid!(1.3.6.1.5.5.7.48.1.1);
        let bytes = outer.get(1)?.tagged(0)?.sequence()?;
        let [kind, content] = bytes.as_slice() else {
            return None;
        };
        if kind.any.as_oid().ok()? != BASIC || content.any.tag() != Tag::OctetString {
            return None;
        }
        let basic = Element::only(content.any.data)?.sequence()?;
        let [data, algorithm, signature, more @ ..] = basic.as_slice() else {
            return None;
        };
        let certificates = match more.first() {
            Some(certificates) => certificates.tagged(0)?.sequence()?,
            None => Vec::new(),
        };
        let certificates = certificates.iter();
        Some(Self {
            singles: singles(data)?,
            signed: data.raw,
            algorithm: AlgorithmIdentifier::from_der(algorithm.raw).ok()?.1,
            signature: BitString::from_der(signature.raw).ok()?.1,
            certificates: certificates.filter_map(|one| parse(one.raw)).collect(),
        })
    }

    /// Where the kind of signature is not known here, nobody is called a forger.
    fn is_forged(&self, issuer: &X509Certificate<'_>, now: SystemTime) -> bool {
        let delegates = self.certificates.iter().filter(|one| {
            let purposes = one.extended_key_usage().ok().flatten();
            purposes.is_some_and(|purposes| purposes.value.ocsp_signing)
                && is_valid(one, now).is_ok()
                && one.verify_signature(Some(issuer.public_key())).is_ok()
        });
        let keys = once(issuer.public_key()).chain(delegates.map(|one| one.public_key()));
        let mut may_be = false;
        for key in keys {
            match verify_signature(key, &self.algorithm, &self.signature, self.signed) {
                Ok(()) => return false,
                Err(X509Error::SignatureUnsupportedAlgorithm) => {}
                Err(_) => may_be = true,
            }
        }
        may_be
    }
}

/// Of a `ResponseData`, which has its version only where that is not the first, and then
/// the responder and the time of day.
fn singles<'a>(data: &Element<'a>) -> Option<Vec<Single<'a>>> {
    let data = data.sequence()?;
    let has_version = usize::from(data.first()?.tagged(0).is_some());
    let singles = data.get(has_version + 2)?.sequence()?;
    singles.iter().map(Single::of).collect()
}

impl<'a> Single<'a> {
    fn of(element: &Element<'a>) -> Option<Self> {
        let parts = element.sequence()?;
        let [id, status, begins, more @ ..] = parts.as_slice() else {
            return None;
        };
        let id = id.sequence()?;
        let [hash, issuer_name, issuer_key, serial] = id.as_slice() else {
            return None;
        };
        let ends = more.first().and_then(|next| next.tagged(0));
        let ends = ends.map(|next| next.time());
        Some(Self {
            hash: AlgorithmIdentifier::from_der(hash.raw).ok()?.1.algorithm,
            issuer_name: issuer_name.any.data,
            issuer_key: issuer_key.any.data,
            serial: serial.any.data,
            status: Status::of(status)?,
            begins: begins.time()?,
            // One that is there and cannot be read is no answer.
            ends: match ends {
                Some(ends) => Some(ends?),
                None => None,
            },
        })
    }

    /// By the number that its issuer gave it, and by the issuer's name and, where the
    /// issuer is known, key.
    fn is_about(
        &self,
        certificate: &X509Certificate<'_>,
        issuer: Option<&X509Certificate<'_>>,
    ) -> bool {
        let Some(hash) = algorithm(&self.hash) else {
            return false;
        };
        let is = |told: &[u8], of: &[u8]| digest::digest(hash, of).as_ref() == told;
        let has_key = |issuer: &X509Certificate<'_>| {
            is(
                self.issuer_key,
                &issuer.public_key().subject_public_key.data,
            )
        };
        self.serial == certificate.raw_serial()
            && is(self.issuer_name, certificate.issuer().as_raw())
            && issuer.is_none_or(has_key)
    }
}

impl Status {
    fn of(element: &Element<'_>) -> Option<Self> {
        if element.any.class() != Class::ContextSpecific {
            return None;
        }
        match element.any.tag().0 {
            0 => Some(Self::Good),
            1 => Some(Self::Revoked(elements(element.any.data)?.first()?.time()?)),
            2 => Some(Self::Unknown),
            _ => None,
        }
    }
}

fn algorithm(hash: &Oid<'_>) -> Option<&'static digest::Algorithm> {
    let known = [
        // Which is no weakness here: nobody gains by an answer about another certificate.
        (OID_HASH_SHA1, &digest::SHA1_FOR_LEGACY_USE_ONLY),
        (OID_NIST_HASH_SHA256, &digest::SHA256),
        (OID_NIST_HASH_SHA384, &digest::SHA384),
        (OID_NIST_HASH_SHA512, &digest::SHA512),
    ];
    let found = known.into_iter().find(|(name, _)| name == hash);
    found.map(|(_, algorithm)| algorithm)
}

fn parse(der: &[u8]) -> Option<X509Certificate<'_>> {
    let (_, parsed) = X509Certificate::from_der(der).ok()?;
    Some(parsed)
}

/// A value in DER, and the bytes that it is written in.
struct Element<'a> {
    any: Any<'a>,
    raw: &'a [u8],
}

impl<'a> Element<'a> {
    fn only(bytes: &'a [u8]) -> Option<Self> {
        let mut all = elements(bytes)?;
        let only = all.pop();
        only.filter(|_| all.is_empty())
    }

    fn sequence(&self) -> Option<Vec<Self>> {
        let is_one = self.any.class() == Class::Universal && self.any.tag() == Tag::Sequence;
        is_one.then(|| elements(self.any.data)).flatten()
    }

    /// What is within this tag (`EXPLICIT`).
    fn tagged(&self, tag: u32) -> Option<Self> {
        let is_it = self.any.class() == Class::ContextSpecific && self.any.tag() == Tag(tag);
        is_it.then(|| Self::only(self.any.data)).flatten()
    }

    fn enumerated(&self) -> Option<u32> {
        self.any.as_enumerated().ok().map(|number| number.0)
    }

    fn time(&self) -> Option<ASN1Time> {
        let time = self.any.as_generalizedtime().ok()?;
        Some(ASN1Time::from(time.utc_datetime().ok()?))
    }
}

/// Values one after the other, to the end.
fn elements(mut bytes: &[u8]) -> Option<Vec<Element<'_>>> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let (rest, any) = Any::from_der(bytes).ok()?;
        let raw = &bytes[..bytes.len() - rest.len()];
        all.push(Element { any, raw });
        bytes = rest;
    }
    Some(all)
}
