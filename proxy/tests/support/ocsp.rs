//! Answers of OCSP, made for a test, and a client that sees what is stapled. Written in DER
//! by hand (RFC 6960, section 4.2.1): nothing here that makes certificates knows them.

use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use rcgen::{KeyPair, SigningKey};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::time::ASN1Time;

use super::tls::{Authority, Pair};

const SHA1: &[u8] = &[0x30, 9, 6, 5, 0x2b, 0x0e, 3, 2, 0x1a, 5, 0];
const ECDSA_WITH_SHA256: &[u8] = &[0x30, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
const BASIC: &[u8] = &[6, 9, 0x2b, 6, 1, 5, 5, 7, 0x30, 1, 1];

/// What a responder says.
#[derive(Clone, Copy)]
pub enum Status {
    Good,
    Revoked,
    Unknown,
}

/// An answer about one certificate.
pub struct Says<'a> {
    pub about: &'a Pair,
    /// Who has issued it.
    pub issuer: &'a Authority,
    pub status: Status,
    /// Days from now on, between which it is good.
    pub days: (i64, i64),
    pub signer: &'a KeyPair,
    /// The signer's certificate, where it is not the issuer.
    pub delegate: Option<&'a Pair>,
}

impl<'a> Says<'a> {
    pub fn good(about: &'a Pair, issuer: &'a Authority) -> Self {
        Self {
            about,
            issuer,
            status: Status::Good,
            days: (-1, 6),
            signer: issuer.key(),
            delegate: None,
        }
    }

    pub fn der(&self) -> Vec<u8> {
        let chain = self.about.chain();
        let (_, certificate) = X509Certificate::from_der(&chain[0]).unwrap();
        let hash = |bytes: &[u8]| octets(digest(&SHA1_FOR_LEGACY_USE_ONLY, bytes).as_ref());
        let key = hash(self.issuer.key().public_key_raw());
        let id = sequence(&[
            SHA1,
            &hash(certificate.issuer().as_raw()),
            &key,
            &value(2, certificate.raw_serial()),
        ]);
        let status = match self.status {
            Status::Good => value(0x80, &[]),
            Status::Revoked => value(0xa1, &time(-1)),
            Status::Unknown => value(0x82, &[]),
        };
        let (from, to) = self.days;
        let single = sequence(&[&id, &status, &time(from), &value(0xa0, &time(to))]);
        let data = sequence(&[&value(0xa2, &key), &time(0), &sequence(&[&single])]);
        let signature = [&[0], &*self.signer.sign(&data).unwrap()].concat();
        let certificates = match self.delegate {
            Some(delegate) => value(0xa0, &sequence(&[&delegate.chain()[0]])),
            None => Vec::new(),
        };
        let signature = value(3, &signature);
        let basic = sequence(&[&data, ECDSA_WITH_SHA256, &signature, &certificates]);
        let bytes = sequence(&[BASIC, &octets(&basic)]);
        sequence(&[&value(10, &[0]), &value(0xa0, &bytes)])
    }
}

/// A responder that has no answer now.
pub fn try_later() -> Vec<u8> {
    sequence(&[&value(10, &[3])])
}

fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    value(0x30, &parts.concat())
}

fn octets(bytes: &[u8]) -> Vec<u8> {
    value(4, bytes)
}

fn time(days: i64) -> Vec<u8> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let day = Duration::from_secs(24 * 60 * 60).as_secs().cast_signed();
    let at = ASN1Time::from_timestamp(now.as_secs().cast_signed() + days * day).unwrap();
    let at = at.to_datetime();
    let (year, month, day) = (at.year(), u8::from(at.month()), at.day());
    let (hour, minute, second) = at.to_hms();
    let text = format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}Z");
    value(0x18, text.as_bytes())
}

fn value(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let [.., high, low] = length.to_be_bytes();
    let length = match length {
        0..128 => vec![low],
        128..256 => vec![0x81, low],
        _ => vec![0x82, high, low],
    };
    [&[tag], &*length, content].concat()
}

/// Believes whoever answers, and keeps what was stapled.
#[derive(Debug, Default)]
pub struct Sees(pub Mutex<Vec<u8>>);

impl ServerCertVerifier for Sees {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        staple: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        *self.0.lock().unwrap() = staple.to_vec();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}
