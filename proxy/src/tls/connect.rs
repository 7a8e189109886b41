//! From a socket to a connection with an origin over TLS.

use std::error::Error as StdError;
use std::io;

use rustls::{AlertDescription, Error, InvalidMessage};
use rustls_pki_types::ServerName;
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
    let name = client.configured.sni.as_ref().unwrap_or(name).clone();
    let tls = connector.connect(name, socket).await?;
    let is_http2 = used == Use::Http && client.configured.protocol == ClusterProtocol::Http2;
    match is_http2 && !speaks_http2(&tls) {
        true => Err(NoTls::NoHttp2),
        false => Ok(tls),
    }
}

pub fn speaks_http2<S>(tls: &UpstreamTls<S>) -> bool {
    tls.get_ref().1.alpn_protocol() == Some(b"h2")
}

/// Whether TLS is what ended a connection that stood.
pub fn is_of_tls(error: &io::Error) -> bool {
    of_tls(error).is_some()
}

fn of_tls(error: &io::Error) -> Option<&Error> {
    let inner: &(dyn StdError + 'static) = error.get_ref()?;
    inner.downcast_ref()
}

impl From<io::Error> for NoTls {
    fn from(error: io::Error) -> Self {
        match of_tls(&error) {
            Some(Error::InvalidMessage(InvalidMessage::InvalidContentType)) => Self::Plain,
            Some(Error::AlertReceived(AlertDescription::NoApplicationProtocol)) => Self::NoHttp2,
            Some(refused) => Self::Refused(refused.clone()),
            None if error.kind() == io::ErrorKind::UnexpectedEof => Self::Closed,
            None => Self::Broken(error),
        }
    }
}
