//! Tickets of clients that have shown a certificate.

use std::sync::Arc;

use rustls::server::ProducesTickets;
use rustls::server::danger::ClientCertVerifier;
use rustls_pki_types::{CertificateDer, UnixTime};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

/// Takes a ticket only if its client would be let in now. With any other it is a full
/// handshake, in which a client shows the certificate that it has renewed meanwhile, and
/// one that has none is told why it is refused.
#[derive(Debug)]
pub struct VerifiedTickets {
    pub sealed: Arc<dyn ProducesTickets>,
    pub verifier: Arc<dyn ClientCertVerifier>,
}

impl ProducesTickets for VerifiedTickets {
    fn enabled(&self) -> bool {
        self.sealed.enabled()
    }

    fn lifetime(&self) -> u32 {
        self.sealed.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.sealed.encrypt(plain)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        let plain = self.sealed.decrypt(cipher)?;
        let verifier = &self.verifier;
        let is_let_in = match chain(&plain).split_first() {
            Some((first, others)) => verifier
                .verify_client_cert(first, others, UnixTime::now())
                .is_ok(),
            None => !verifier.client_auth_mandatory(),
        };
        is_let_in.then_some(plain)
    }
}

/// The certificates in what rustls keeps of a session, the client's first. How it keeps
/// them is its own affair, so they are found by what they are. Of what stands before them,
/// the name that the client asked for is made of letters and digits, of which no
/// certificate is, and the secret is random. Who is found in error is verified in vain, or
/// looked at again once the handshake is done.
fn chain(session: &[u8]) -> Vec<CertificateDer<'_>> {
    /// What a certificate begins with (X.690, section 8.9).
    const SEQUENCE: u8 = 0x30;
    let mut chain = Vec::new();
    let mut rest = session;
    while let Some(at) = memchr::memchr(SEQUENCE, rest) {
        let from = &rest[at..];
        rest = match X509Certificate::from_der(from) {
            Ok((after, _)) => {
                chain.push(from[..from.len() - after.len()].into());
                after
            }
            Err(_) => &from[1..],
        };
    }
    chain
}

#[cfg(test)]
mod tests {
    use rcgen::generate_simple_self_signed;

    use super::*;

    #[test]
    fn certificates_are_found_wherever_they_stand() {
        let made = |name: &str| {
            let made = generate_simple_self_signed([name.to_owned()]).unwrap();
            made.cert.der().clone()
        };
        let (first, second) = (made("first.test"), made("second.test"));
        let session = |pieces: &[&[u8]]| pieces.concat();
        let check = |session: &[u8], wanted: &[&CertificateDer<'_>]| {
            assert_eq!(chain(session).iter().collect::<Vec<_>>(), wanted);
        };
        check(b"", &[]);
        check(b"0000.test 0\x820", &[]);
        let one = session(&[b"0\x82\x01\x00 0.test", &first, b"0"]);
        check(&one, &[&first]);
        check(
            &session(&[b"00", &first, b"\x00\x01\x30", &second, b"h2"]),
            &[&first, &second],
        );
        for end in 0..first.len() {
            check(&first[..end], &[]);
        }
    }
}
