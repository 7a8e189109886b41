//! From a socket to a connection over TLS.

use std::io;

use rustls::Error;
use rustls::server::ClientHello;
use rustls_pki_types::UnixTime;
use tokio::net::TcpStream;

use super::failure::Failure;
use super::server::Server;
use crate::client::TlsStream;
use crate::stats::HandshakeFailure as Reason;

/// The first byte of every handshake (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 22;

/// Shakes hands. Where that fails, the socket comes back too: the client may have to be
/// told, or be let read what it was told. Dropping it closes the connection.
pub async fn accept(
    server: &Server,
    tcp: TcpStream,
) -> Result<TlsStream, (Failure, Option<TcpStream>)> {
    let mut first = [0];
    match tcp.peek(&mut first).await {
        Ok(1) if first[0] == HANDSHAKE => {}
        Ok(0) => return Err((Reason::Closed.into(), None)),
        // A method, and be it one that nobody knows.
        Ok(_) if first[0].is_ascii_uppercase() => {
            return Err((Reason::PlainHttp.into(), Some(tcp)));
        }
        // Let rustls say what it thinks of it.
        Ok(_) => {}
        Err(error) => return Err((error.into(), None)),
    }
    let began = UnixTime::now();
    let accepted = match server.looks_at_hello() {
        false => TlsStream::accept(server.config.clone(), tcp).await,
        true => {
            // What a client asks for and offers decides what it is offered.
            let choose = |hello: &ClientHello<'_>| match server.refusal(hello.server_name()) {
                Some(alert) => Err(alert),
                None => {
                    let offered = hello.alpn().into_iter().flatten();
                    Ok(server.config_for(offered).clone())
                }
            };
            TlsStream::accept_by(choose, tcp).await
        }
    };
    let tls = accepted.map_err(|(error, tcp)| (error.into(), Some(tcp)))?;
    match verify_again(server, &tls, began) {
        Ok(()) => Ok(tls),
        Err(error) => {
            let error = io::Error::new(io::ErrorKind::InvalidData, error);
            Err((error.into(), Some(tls.into_tcp())))
        }
    }
}

/// A ticket says who a client was when it got it. Whether that still holds was looked at
/// when it was taken, as far as what is in it could be found. Here it is what rustls makes
/// of it, without exception, as of when the handshake began: a certificate that expired since
/// was good when its ticket was taken, and is asked for again the next time.
fn verify_again(server: &Server, tls: &TlsStream, began: UnixTime) -> Result<(), Error> {
    let connection = tls.session();
    let Some(verifier) = &server.verifier else {
        return Ok(());
    };
    if connection.handshake_kind() != Some(rustls::HandshakeKind::Resumed) {
        return Ok(());
    }
    match connection.peer_certificates().and_then(<[_]>::split_first) {
        Some((first, others)) => verifier
            .verify_client_cert(first, others, began)
            .map(|_| ()),
        None if verifier.client_auth_mandatory() => Err(Error::NoCertificatesPresented),
        None => Ok(()),
    }
}
