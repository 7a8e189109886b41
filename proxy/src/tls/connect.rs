//! From a socket to a connection with an origin over TLS.

use std::error::Error as StdError;
use std::io;

use rustls::client::danger::ServerCertVerifier;
use rustls::{AlertDescription, Error, HandshakeKind, InvalidMessage};
use rustls_pki_types::{ServerName, UnixTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::client::Client;
use crate::config::ClusterProtocol;

/// A connection with an origin, its handshake done.
pub type UpstreamTls<S> = TlsStream<S>;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum NoTls {
    #[error("the endpoint does not speak TLS")]
    Plain,
    #[error("the endpoint closed the connection in the middle of the TLS handshake")]
    Closed,
    #[error("the endpoint does not speak HTTP/2 over TLS (ALPN)")]
    NoHttp2,
    #[error("the endpoint speaks no version of HTTP that `protocol` allows (ALPN)")]
    NoVersion,
    #[error("TLS: {0}")]
    Refused(Error),
    #[error("the connection broke in the TLS handshake: {0}")]
    Broken(io::Error),
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// In a version that is agreed on (ALPN).
    Http,
    /// Whatever, of which nothing is said.
    Opaque,
}

/// Shakes hands, asking for the endpoint by `name`, or by the name that is configured.
pub async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
    client: &Client,
    used: Use,
    name: &ServerName<'static>,
    socket: S,
) -> Result<UpstreamTls<S>, NoTls> {
    let config = match used {
        Use::Http => &client.config,
        Use::Opaque => &client.opaque,
    };
    let connector = TlsConnector::from(config.clone());
    let name = client.configured.sni.as_ref().unwrap_or(name);
    let is_http2 = used == Use::Http && client.configured.protocol == ClusterProtocol::Http2;
    let tls = match connector
        .connect(name.clone(), socket)
        .await
        .map_err(NoTls::from)
    {
        Err(NoTls::NoVersion) if is_http2 => Err(NoTls::NoHttp2),
        connected => connected,
    }?;
    verify_again(client, name, &tls).map_err(NoTls::Refused)?;
    match is_http2 && !speaks_http2(&tls) {
        true => Err(NoTls::NoHttp2),
        false => Ok(tls),
    }
}

/// A session says who an endpoint was when it began. Meanwhile its certificate may have
/// expired.
fn verify_again<S>(
    client: &Client,
    name: &ServerName<'static>,
    tls: &UpstreamTls<S>,
) -> Result<(), Error> {
    let connection = tls.get_ref().1;
    if connection.handshake_kind() != Some(HandshakeKind::Resumed) {
        return Ok(());
    }
    let chain = connection.peer_certificates();
    let (first, others) = chain
        .and_then(<[_]>::split_first)
        .ok_or(Error::NoCertificatesPresented)?;
    let now = UnixTime::now();
    let verified = client
        .verifier
        .verify_server_cert(first, others, name, &[], now);
    verified.map(|_| ())
}

pub fn speaks_http2<S>(tls: &UpstreamTls<S>) -> bool {
    tls.get_ref().1.alpn_protocol() == Some(b"h2")
}

/// Whether TLS is what ended a connection that stood.
pub fn is_of_tls(error: &io::Error) -> bool {
    of_tls(error).is_some()
}

/// Whether an endpoint said that the certificate of this side is why it ended a
/// connection.
pub fn refuses_certificate(error: &io::Error) -> bool {
    use AlertDescription::{
        AccessDenied, BadCertificate, CertificateExpired, CertificateRequired, CertificateRevoked,
        CertificateUnknown, UnknownCA, UnsupportedCertificate,
    };
    let Some(Error::AlertReceived(alert)) = of_tls(error) else {
        return false;
    };
    matches!(
        alert,
        AccessDenied
            | BadCertificate
            | CertificateExpired
            | CertificateRequired
            | CertificateRevoked
            | CertificateUnknown
            | UnknownCA
            | UnsupportedCertificate
    )
}

fn of_tls(error: &io::Error) -> Option<&Error> {
    let inner: &(dyn StdError + 'static) = error.get_ref()?;
    inner.downcast_ref()
}

impl From<io::Error> for NoTls {
    fn from(error: io::Error) -> Self {
        match of_tls(&error) {
            Some(Error::InvalidMessage(InvalidMessage::InvalidContentType)) => Self::Plain,
            Some(Error::AlertReceived(AlertDescription::NoApplicationProtocol)) => Self::NoVersion,
            Some(refused) => Self::Refused(refused.clone()),
            None if error.kind() == io::ErrorKind::UnexpectedEof => Self::Closed,
            None => Self::Broken(error),
        }
    }
}
