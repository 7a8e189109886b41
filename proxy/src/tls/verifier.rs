//! Whether an endpoint is who it should be.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::facts::PeerFacts;
use crate::config::{PeerName, Verify};

/// rustls' own verifier knows names of hosts only, so this one puts its parts together.
#[derive(Debug)]
pub struct Verifier {
    wanted: Option<Wanted>,
    algorithms: WebPkiSupportedAlgorithms,
}

#[derive(Debug)]
struct Wanted {
    roots: RootCertStore,
    names: Vec<PeerName>,
}

impl Verifier {
    pub fn new(verify: &Verify, provider: &Arc<CryptoProvider>) -> Result<Self, Error> {
        let wanted = match verify {
            Verify::Nothing => None,
            Verify::Peer { roots, names } => {
                let mut store = RootCertStore::empty();
                for root in roots.certificates.iter() {
                    store.add(root.clone())?;
                }
                Some(Wanted {
                    roots: store,
                    names: names.clone(),
                })
            }
        };
        Ok(Self {
            wanted,
            algorithms: provider.signature_verification_algorithms,
        })
    }
}

impl Wanted {
    fn verify_name(
        &self,
        der: &CertificateDer<'_>,
        parsed: &ParsedCertificate<'_>,
        asked: &ServerName<'_>,
    ) -> Result<(), Error> {
        if self.names.is_empty() {
            return verify_server_name(parsed, asked);
        }
        let spiffe = PeerFacts::of(der).and_then(|facts| facts.spiffe().map(str::to_owned));
        let is_it = |name: &PeerName| match name {
            PeerName::Dns(name) => verify_server_name(parsed, name).is_ok(),
            PeerName::Spiffe(id) => spiffe.as_ref() == Some(id),
        };
        match self.names.iter().any(is_it) {
            true => Ok(()),
            false => Err(CertificateError::NotValidForName.into()),
        }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        der: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        asked: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some(wanted) = &self.wanted {
            let parsed = ParsedCertificate::try_from(der)?;
            let (roots, algorithms) = (&wanted.roots, self.algorithms.all);
            verify_server_cert_signed_by_trust_anchor(
                &parsed,
                roots,
                intermediates,
                now,
                algorithms,
            )?;
            wanted.verify_name(der, &parsed, asked)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
