//! TLS of listeners and clusters, after checking: what was read of their files is good.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::SupportedCipherSuite;
use rustls::crypto::SupportedKxGroup;
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, ServerName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::checked::{ClusterProtocol, Protocol};
use crate::digest::Digest;

/// How clients are served over TLS.
#[derive(Debug, Clone, PartialEq)]
pub struct ListenerTls {
    /// The default first.
    pub certificates: Vec<Certificate>,
    pub unknown_name: UnknownName,
    pub require_name: bool,
    /// Those of the listener.
    pub protocols: Vec<Protocol>,
    pub min_version: MinVersion,
    /// `None`: as rustls prefers them.
    pub cipher_suites: Option<Vec<SupportedCipherSuite>>,
    pub groups: Option<Vec<Group>>,
    pub session_tickets: bool,
    pub early_data: bool,
    pub key_log: Option<PathBuf>,
    pub client: Option<ClientCertificates>,
}

/// A group for the exchange of keys.
#[derive(Debug, Clone, Copy)]
pub struct Group(pub &'static dyn SupportedKxGroup);

impl PartialEq for Group {
    fn eq(&self, other: &Self) -> bool {
        self.0.name() == other.0.name()
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UnknownName {
    #[default]
    Default,
    Refuse,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MinVersion {
    #[default]
    #[serde(rename = "TLSv1.2")]
    Tls12,
    #[serde(rename = "TLSv1.3")]
    Tls13,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClientMode {
    #[default]
    Required,
    Optional,
}

/// A certificate that fits its key and is valid now.
#[derive(Clone)]
pub struct Certificate {
    pub file: PathBuf,
    /// In lower case; `*.example.org` is a wildcard.
    pub names: Vec<String>,
    /// Since 1970, in seconds.
    pub expires: u64,
    pub certified: Arc<CertifiedKey>,
    /// Of chain, key and staple together: what it is compared by.
    pub digest: Digest,
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.file == other.file && self.digest == other.digest
    }
}

impl Eq for Certificate {}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("file", &self.file)
            .field("digest", &self.digest.hex())
            .finish_non_exhaustive()
    }
}

/// What is asked of clients.
#[derive(Debug, Clone, PartialEq)]
pub struct ClientCertificates {
    pub roots: Vec<CertificateDer<'static>>,
    pub mode: ClientMode,
    pub revoked: Vec<CertificateRevocationListDer<'static>>,
    /// Of the files of all these.
    pub endings: Vec<Ending>,
}

/// When the first of the authorities or revocation lists of a file is none any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    pub file: PathBuf,
    /// Since 1970, in seconds.
    pub at: u64,
}

/// How the endpoints of a cluster are spoken to over TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterTls {
    pub verify: Verify,
    /// Who is asked for. `None`: each endpoint by its own name.
    pub sni: Option<ServerName<'static>>,
    /// That of the proxy, for endpoints that ask for one.
    pub certificate: Option<Certificate>,
    pub min_version: MinVersion,
    /// That of the cluster.
    pub protocol: ClusterProtocol,
}

/// What an endpoint has to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verify {
    Peer {
        roots: Roots,
        /// Of which its certificate has one at least. Where there is none here, it has
        /// the name that was asked for.
        names: Vec<PeerName>,
    },
    /// Whoever answers is believed.
    Nothing,
}

/// Who an endpoint may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerName {
    Dns(ServerName<'static>),
    /// A SPIFFE ID.
    Spiffe(String),
}

/// Authorities of which any may vouch for an endpoint. At least one.
#[derive(Clone)]
pub struct Roots {
    pub certificates: Arc<[CertificateDer<'static>]>,
    /// Of the files that they are from.
    pub endings: Vec<Ending>,
    /// What they are compared by, and shown as: the system has a hundred.
    digest: Digest,
}

impl Roots {
    /// `None` where there is none.
    pub fn new(certificates: Vec<CertificateDer<'static>>, endings: Vec<Ending>) -> Option<Self> {
        let all: Vec<u8> = certificates.iter().flat_map(|der| der.to_vec()).collect();
        (!certificates.is_empty()).then(|| Self {
            certificates: certificates.into(),
            endings,
            digest: Digest::of(&all),
        })
    }
}

impl PartialEq for Roots {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl Eq for Roots {}

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Roots({})", self.digest.hex())
    }
}
