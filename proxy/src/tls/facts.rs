//! What a handshake came to.

use std::fmt::Write as _;
use std::net::IpAddr;

use http::HeaderValue;
use rustls::{CipherSuite, HandshakeKind, ProtocolVersion, ServerConnection};
use rustls_pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::prelude::FromDer;
use x509_parser::x509::X509Name;

use crate::digest::Digest;

/// What filters and logs are told of a connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFacts {
    /// As in `TLSv1.3`.
    pub version: &'static str,
    /// As IANA names it.
    pub cipher: String,
    pub sni: Option<String>,
    pub alpn: Option<String>,
    pub is_resumed: bool,
    pub peer: Option<PeerFacts>,
}

/// Of a client's certificate, which was verified.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PeerFacts {
    /// As RFC 4514 writes it.
    pub subject: String,
    /// SHA-256 of the certificate, in hexadecimal.
    pub fingerprint: String,
    pub dns: Vec<String>,
    pub uris: Vec<String>,
    pub addresses: Vec<IpAddr>,
    pub emails: Vec<String>,
    /// As `X-Forwarded-Client-Cert` has it.
    pub element: Option<HeaderValue>,
}

impl TlsFacts {
    pub fn of(connection: &ServerConnection) -> Self {
        let suite = connection.negotiated_cipher_suite();
        let certificates = connection.peer_certificates();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            version: version(connection.protocol_version()),
            cipher: suite.map_or_else(String::new, |suite| name(suite.suite())),
            sni: connection.server_name().map(str::to_owned),
            alpn: connection.alpn_protocol().map(text),
            is_resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
            peer: certificates.and_then(<[_]>::first).and_then(PeerFacts::of),
        }
    }

    /// By the names that filters ask for.
    pub fn attribute(&self, name: &str) -> Option<String> {
        let peer = self.peer.as_ref();
        match name {
            "version" => Some(self.version.to_owned()),
            "cipher" => Some(self.cipher.clone()),
            "sni" => self.sni.clone(),
            "alpn" => self.alpn.clone(),
            "peer.subject" => peer.map(|peer| peer.subject.clone()),
            "peer.fingerprint" => peer.map(|peer| peer.fingerprint.clone()),
            "peer.spiffe" => peer.and_then(PeerFacts::spiffe).map(str::to_owned),
            "peer.sans" => peer.map(PeerFacts::sans),
            _ => None,
        }
    }
}

impl PeerFacts {
    pub fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let mut facts = Self {
            subject: subject(parsed.subject()),
            fingerprint: Digest::of(certificate).hex(),
            ..Self::default()
        };
        if let Ok(Some(alternative)) = parsed.subject_alternative_name() {
            for name in &alternative.value.general_names {
                match name {
                    GeneralName::DNSName(name) => facts.dns.push((*name).to_owned()),
                    GeneralName::URI(uri) => facts.uris.push((*uri).to_owned()),
                    GeneralName::IPAddress(bytes) => facts.addresses.extend(address(bytes)),
                    GeneralName::RFC822Name(email) => facts.emails.push((*email).to_owned()),
                    _ => {}
                }
            }
        }
        facts.element = HeaderValue::try_from(facts.told()).ok();
        Some(facts)
    }

    /// The identity of a workload. A certificate with several has none (SPIFFE's
    /// X509-SVID, section 2).
    pub fn spiffe(&self) -> Option<&str> {
        match self.uris.as_slice() {
            [uri] => Some(uri.as_str()).filter(|uri| uri.starts_with("spiffe://")),
            _ => None,
        }
    }

    /// In the form of Envoy. In the subject a quote has a backslash before it, and a
    /// backslash another: so RFC 4514 writes it, and what Envoy writes is no other. No name
    /// has a backslash: it is in none that is one, and would have to be doubled.
    fn told(&self) -> String {
        let mut told = format!("Hash={}", self.fingerprint);
        if !self.subject.chars().any(char::is_control) {
            write!(told, ";Subject=\"{}\"", self.subject).expect("a string takes every write");
        }
        let uris = self.uris.iter().map(|uri| ("URI", uri));
        let dns = self.dns.iter().map(|name| ("DNS", name));
        for (key, value) in uris.chain(dns) {
            if value.contains('\\') || value.chars().any(char::is_control) {
                continue;
            }
            let is_quoted = value.contains([',', ';', '=', '"']);
            let quote = if is_quoted { "\"" } else { "" };
            let value = value.replace('"', "\\\"");
            write!(told, ";{key}={quote}{value}{quote}").expect("a string takes every write");
        }
        told
    }

    /// `DNS:a,URI:b`, as OpenSSL is told them. None has a comma within: those that have
    /// are left out, so that no name can stand for two.
    fn sans(&self) -> String {
        let all = |kind, names: &[String]| {
            let names = names.iter().filter(|name| !name.contains(','));
            names
                .map(|name| format!("{kind}:{name}"))
                .collect::<Vec<_>>()
        };
        let addresses = self.addresses.iter().map(|address| format!("IP:{address}"));
        let sans = [
            all("DNS", &self.dns),
            all("URI", &self.uris),
            addresses.collect(),
            all("email", &self.emails),
        ];
        sans.concat().join(",")
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    let v6 = <[u8; 16]>::try_from(bytes).map(IpAddr::from);
    v4.or(v6).ok()
}

fn version(version: Option<ProtocolVersion>) -> &'static str {
    match version {
        Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
        Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
        _ => "",
    }
}

/// As RFC 4514 writes it, so that no value can be taken for two.
fn subject(name: &X509Name<'_>) -> String {
    let rdns: Vec<_> = name.iter_rdn().collect();
    let rdns = rdns.iter().rev().map(|rdn| {
        let attributes = rdn.iter().map(|attribute| {
            let kind = attribute.attr_type();
            let kind = oid2abbrev(kind, oid_registry())
                .map_or_else(|_| kind.to_id_string(), str::to_owned);
            format!("{kind}={}", escaped(attribute.as_str().unwrap_or_default()))
        });
        attributes.collect::<Vec<_>>().join("+")
    });
    rdns.collect::<Vec<_>>().join(",")
}

fn escaped(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    let last = value.chars().count().saturating_sub(1);
    for (at, letter) in value.chars().enumerate() {
        let is_at_end = at == 0 || at == last;
        match letter {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' | '=' => {
                escaped.push('\\');
                escaped.push(letter);
            }
            '#' if at == 0 => escaped.push_str("\\#"),
            ' ' if is_at_end => escaped.push_str("\\ "),
            letter if letter.is_ascii_control() => {
                write!(escaped, "\\{:02X}", letter as u32).expect("a string takes every write");
            }
            letter => escaped.push(letter),
        }
    }
    escaped
}

/// rustls tells suites of TLS 1.3 apart by `TLS13_`, IANA does not.
fn name(suite: CipherSuite) -> String {
    let name = suite.as_str().unwrap_or_default();
    name.replacen("TLS13_", "TLS_", 1)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SanType};

    use super::*;

    #[test]
    fn names_of_every_kind_are_told() {
        let mut params = CertificateParams::new(["a.test".to_owned()]).unwrap();
        params.subject_alt_names.extend([
            SanType::IpAddress([10, 0, 0, 7].into()),
            SanType::Rfc822Name("me@a.test".try_into().unwrap()),
            SanType::Rfc822Name("you,me@a.test".try_into().unwrap()),
            SanType::IpAddress(IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1_u16])),
            SanType::URI("urn:a".try_into().unwrap()),
        ]);
        let made = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let facts = PeerFacts::of(made.der()).unwrap();
        let wanted = "DNS:a.test,URI:urn:a,IP:10.0.0.7,IP:::1,email:me@a.test";
        assert_eq!(facts.sans(), wanted);
    }
}
