//! Authorities, and the lists of what they have revoked, as files have them.

use std::time::SystemTime;

use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

use super::certificate::{Unfit, is_valid, read_certificates, seconds, since_1970, written};

/// Those of a file, each of which may vouch for others.
pub struct Authorities {
    /// Valid now.
    pub certificates: Vec<CertificateDer<'static>>,
    /// The first that expires, by its subject and when, since 1970.
    pub first: Option<(String, u64)>,
    /// Those that are not valid now, for which nobody is to be believed.
    pub stale: Vec<Unfit>,
    /// Subjects of those that say that they vouch for nobody.
    pub leaves: Vec<String>,
}

/// The certificates of a file, of which those that are valid now are for use. rustls looks
/// at no dates of a root.
pub fn read(pem: &[u8], now: SystemTime) -> Result<Authorities, Unfit> {
    let mut read = Authorities {
        certificates: Vec::new(),
        first: None,
        stale: Vec::new(),
        leaves: Vec::new(),
    };
    for der in read_certificates(pem)? {
        let (_, parsed) = X509Certificate::from_der(&der).map_err(|_| Unfit::BadCertificate)?;
        if !is_root(&der) {
            return Err(Unfit::BadCertificate);
        }
        if let Err(stale) = is_valid(&parsed, now) {
            read.stale.push(stale);
            continue;
        }
        let subject = format!("`{}`", parsed.subject());
        if let Ok(Some(constraints)) = parsed.basic_constraints()
            && !constraints.value.ca
        {
            read.leaves.push(subject.clone());
        }
        let ends = since_1970(parsed.validity().not_after);
        if read.first.as_ref().is_none_or(|(_, first)| ends < *first) {
            read.first = Some((subject, ends));
        }
        read.certificates.push(der);
    }
    Ok(read)
}

fn is_root(certificate: &CertificateDer<'_>) -> bool {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone().into_owned()).is_ok()
}

/// Whether it may vouch for others now.
pub fn is_good(certificate: &CertificateDer<'_>, now: SystemTime) -> bool {
    let parsed = X509Certificate::from_der(certificate);
    parsed.is_ok_and(|(_, parsed)| is_valid(&parsed, now).is_ok()) && is_root(certificate)
}

/// Lists of a file, each of which is still to be believed.
pub struct Revoked {
    pub lists: Vec<CertificateRevocationListDer<'static>>,
    /// When the first has to have been replaced, since 1970.
    pub ends: Option<u64>,
}

/// The revocation lists of a file, in PEM or one in DER.
pub fn read_revoked(bytes: &[u8], now: SystemTime) -> Result<Revoked, Unfit> {
    let lists: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(bytes).collect();
    let mut lists = lists.map_err(Unfit::NotPem)?;
    if lists.is_empty() {
        lists.push(bytes.to_vec().into());
    }
    let mut first = None;
    for list in &lists {
        let parsed = CertificateRevocationList::from_der(list);
        let (_, list) = parsed.map_err(|_| Unfit::BadRevocationList)?;
        let Some(ends) = list.next_update() else {
            continue;
        };
        if ends.timestamp() < seconds(now) {
            return Err(Unfit::OldRevocationList {
                issuer: format!("`{}`", list.issuer()),
                at: written(ends),
            });
        }
        let ends = since_1970(ends);
        first = Some(first.map_or(ends, |first: u64| first.min(ends)));
    }
    Ok(Revoked { lists, ends: first })
}
