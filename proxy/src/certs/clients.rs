//! Which clients a listener would refuse.

use rustls_pki_types::{CertificateDer, UnixTime};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use crate::config::certificate::has_issued;
use crate::config::{ClientCertificates, Config, Name, Roots};
use crate::tls::{PeerFacts, SetupError, client_verifier};

/// A client that would be refused.
#[derive(Debug)]
pub struct Refused {
    pub listener: Name,
    /// The subject of its certificate.
    pub subject: String,
    pub why: String,
    /// Whether it is refused by what is configured, too.
    pub already: bool,
}

/// Of the chains in `certificates`, those that listeners which ask for certificates would
/// refuse if these roots replaced theirs. `only` names listeners, or all where it is empty.
/// Gives too how many were looked at.
pub fn refused(
    config: &Config,
    roots: &Roots,
    certificates: Vec<CertificateDer<'static>>,
    only: &[String],
) -> Result<(usize, Vec<Refused>), SetupError> {
    let chains = chains(certificates);
    let mut all = Vec::new();
    let mut looked_at = 0;
    for listener in &config.listeners {
        let is_meant = only.is_empty() || only.iter().any(|name| **name == *listener.name);
        let client = listener.tls.as_ref().and_then(|tls| tls.client.as_ref());
        let Some(client) = client.filter(|_| is_meant) else {
            continue;
        };
        let then = ClientCertificates {
            roots: roots.certificates.to_vec(),
            ..client.clone()
        };
        for chain in &chains {
            looked_at += 1;
            if let Some(why) = refusal(&then, chain)? {
                all.push(Refused {
                    listener: listener.name.clone(),
                    subject: subject(chain),
                    why,
                    already: refusal(client, chain)?.is_some(),
                });
            }
        }
    }
    Ok((looked_at, all))
}

/// The certificates of one after the other, each of which begins with that of a client:
/// an authority that has issued one before it belongs to it, and whatever else begins the
/// next, an authority that speaks for itself among it.
fn chains(certificates: Vec<CertificateDer<'static>>) -> Vec<Vec<CertificateDer<'static>>> {
    let mut chains: Vec<Vec<CertificateDer<'static>>> = Vec::new();
    for certificate in certificates {
        match chains.last_mut() {
            Some(chain)
                if chain
                    .iter()
                    .any(|issued| may_have_issued(&certificate, issued)) =>
            {
                chain.push(certificate);
            }
            _ => chains.push(vec![certificate]),
        }
    }
    chains
}

fn may_have_issued(issuer: &CertificateDer<'_>, issued: &CertificateDer<'_>) -> bool {
    let issuer = X509Certificate::from_der(issuer);
    let issued = X509Certificate::from_der(issued);
    let (Ok((_, issuer)), Ok((_, issued))) = (issuer, issued) else {
        return false;
    };
    issuer.is_ca() && has_issued(&issuer, &issued)
}

fn refusal(
    client: &ClientCertificates,
    chain: &[CertificateDer<'static>],
) -> Result<Option<String>, SetupError> {
    let verifier = client_verifier(client)?;
    let Some((first, others)) = chain.split_first() else {
        return Ok(None);
    };
    let verified = verifier.verify_client_cert(first, others, UnixTime::now());
    Ok(verified.err().map(|error| error.to_string()))
}

fn subject(chain: &[CertificateDer<'static>]) -> String {
    let facts = chain.first().and_then(PeerFacts::of);
    facts.map_or_else(String::new, |facts| match facts.spiffe() {
        Some(id) => format!("{} ({id})", facts.subject),
        None => facts.subject,
    })
}
