//! How the endpoints of a cluster are spoken to over TLS.

use std::sync::Arc;

use rustls::client::ResolvesClientCert;
use rustls::crypto::aws_lc_rs;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, SignatureScheme};

use super::server::{SetupError, versions};
use super::verifier::Verifier;
use crate::config::{ClusterProtocol, ClusterTls};

/// The TLS of a cluster, the same for all workers: a session that one of them has begun
/// is resumed by all. rustls locks for that, twice in a handshake.
#[derive(Debug)]
pub struct Client {
    pub configured: ClusterTls,
    pub(super) config: Arc<ClientConfig>,
    /// The same where it is not HTTP that is spoken.
    pub(super) opaque: Arc<ClientConfig>,
    pub(super) verifier: Arc<Verifier>,
}

impl Client {
    pub fn build(configured: &ClusterTls) -> Result<Arc<Self>, SetupError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = Arc::new(Verifier::new(&configured.verify, &provider)?);
        let builder = ClientConfig::builder_with_provider(provider);
        let builder = builder.with_protocol_versions(versions(configured.min_version))?;
        let builder = builder
            .dangerous()
            .with_custom_certificate_verifier(verifier.clone());
        let certificate = configured.certificate.as_ref();
        let mut config = match certificate.map(|certificate| certificate.certified.clone()) {
            Some(own) => builder.with_client_cert_resolver(Arc::new(Own(own))),
            None => builder.with_no_client_auth(),
        };
        let opaque = Arc::new(config.clone());
        config.alpn_protocols = match configured.protocol {
            ClusterProtocol::Http1 => vec![b"http/1.1".to_vec()],
            ClusterProtocol::Http2 => vec![b"h2".to_vec()],
            ClusterProtocol::Auto => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        };
        Ok(Arc::new(Self {
            configured: configured.clone(),
            config: Arc::new(config),
            opaque,
            verifier,
        }))
    }
}

/// The proxy's own certificate, for whoever asks: it was configured for these endpoints,
/// and one that it does not suit says so best itself.
#[derive(Debug)]
struct Own(Arc<CertifiedKey>);

impl ResolvesClientCert for Own {
    fn resolve(&self, _: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let fits = self.0.key.choose_scheme(schemes).is_some();
        fits.then(|| self.0.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}
