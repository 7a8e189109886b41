//! An origin that speaks TLS, and in it what was agreed on: HTTP/1.1 or HTTP/2. Its
//! answers tell what it knows of the connection.

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use rustls::server::WebPkiClientVerifier;
use rustls::{HandshakeKind, ServerConfig, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::http2_origin::read_body;
use super::tls::{Authority, Pair};

/// How an origin speaks.
pub struct Serves<'a> {
    pub pair: &'a Pair,
    /// Who has to have signed the certificates of clients, which are then required.
    pub clients: Option<&'a Authority>,
    pub versions: &'static [&'static SupportedProtocolVersion],
    pub alpn: &'a [&'a str],
}

impl<'a> Serves<'a> {
    pub fn new(pair: &'a Pair) -> Self {
        Self {
            pair,
            clients: None,
            versions: rustls::ALL_VERSIONS,
            alpn: &[],
        }
    }

    pub fn config(&self) -> Arc<ServerConfig> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone());
        let builder = builder.with_protocol_versions(self.versions).unwrap();
        let builder = match self.clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let roots = Arc::new(authority.roots());
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let (chain, key) = (self.pair.chain(), self.pair.key());
        let mut config = builder.with_single_cert(chain, key).unwrap();
        config.alpn_protocols = self.alpn.iter().map(|id| id.as_bytes().to_vec()).collect();
        Arc::new(config)
    }

    pub fn start(&self) -> TlsOrigin {
        TlsOrigin::start(self.config())
    }
}

pub struct TlsOrigin {
    pub address: SocketAddr,
    config: Arc<Mutex<Arc<ServerConfig>>>,
    connections: Arc<AtomicUsize>,
    _runtime: tokio::runtime::Runtime,
}

impl TlsOrigin {
    fn start(config: Arc<ServerConfig>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let config = Arc::new(Mutex::new(config));
        let connections = Arc::new(AtomicUsize::new(0));
        let (current, counter) = (config.clone(), connections.clone());
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((socket, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::Relaxed);
                socket.set_nodelay(true).unwrap();
                let acceptor = TlsAcceptor::from(current.lock().unwrap().clone());
                tokio::spawn(async move {
                    if let Ok(tls) = acceptor.accept(socket).await {
                        serve(tls).await.ok();
                    }
                });
            }
        });
        Self {
            address,
            config,
            connections,
            _runtime: runtime,
        }
    }

    /// For connections from now on.
    pub fn change(&self, serves: &Serves<'_>) {
        *self.config.lock().unwrap() = serves.config();
    }

    /// Connections that it has accepted.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

/// `http1 TLSv1_3 full sni=origin.test client=-`: the serial number of the client's.
fn told(tls: &TlsStream<TcpStream>) -> String {
    let connection = tls.get_ref().1;
    let is_http2 = connection.alpn_protocol() == Some(b"h2");
    let mut told = String::from(if is_http2 { "http2" } else { "http1" });
    write!(told, " {:?}", connection.protocol_version().unwrap()).unwrap();
    let is_resumed = connection.handshake_kind() == Some(HandshakeKind::Resumed);
    told.push_str(if is_resumed { " resumed" } else { " full" });
    let sni = connection.server_name().unwrap_or("-");
    let client = connection.peer_certificates().map(|chain| {
        let (_, parsed) = X509Certificate::from_der(&chain[0]).unwrap();
        parsed.serial.to_string()
    });
    let client = client.as_deref().unwrap_or("-");
    write!(told, " sni={sni} client={client}").unwrap();
    told
}

async fn serve(tls: TlsStream<TcpStream>) -> io::Result<()> {
    let told = told(&tls);
    match told.starts_with("http2") {
        true => serve_http2(tls, told).await,
        false => serve_http1(tls, told).await,
    }
}

async fn serve_http1(mut tls: TlsStream<TcpStream>, told: String) -> io::Result<()> {
    let mut read = Vec::new();
    loop {
        let end = loop {
            if let Some(at) = memchr::memmem::find(&read, b"\r\n\r\n") {
                break at + 4;
            }
            if tls.read_buf(&mut read).await? == 0 {
                return Ok(());
            }
        };
        let head = String::from_utf8_lossy(&read[..end]).to_ascii_lowercase();
        let length = head.split_once("content-length: ");
        let length = length.map_or(0, |(_, rest)| {
            rest.split("\r\n").next().unwrap().parse().unwrap()
        });
        while read.len() < end + length {
            tls.read_buf(&mut read).await?;
        }
        read.drain(..end + length);
        let is_whole = head.starts_with("get /whole ");
        if is_whole || head.starts_with("get /cut ") {
            // The end of the connection is that of the body, if TLS says so.
            tls.write_all(b"HTTP/1.1 200 OK\r\n\r\nto the end").await?;
            tls.flush().await?;
            if is_whole {
                tls.shutdown().await?;
            }
            return Ok(());
        }
        let body = match head.starts_with("get /big ") {
            true => "x".repeat(3 << 20),
            false => format!("{told} sent={length}"),
        };
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
        tls.write_all(answer.as_bytes()).await?;
        tls.write_all(body.as_bytes()).await?;
        tls.flush().await?;
    }
}

async fn serve_http2(tls: TlsStream<TcpStream>, told: String) -> io::Result<()> {
    let connection = h2::server::handshake(tls).await;
    let mut connection = connection.map_err(io::Error::other)?;
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let scheme = request.uri().scheme_str().unwrap_or("-").to_owned();
        let told = told.clone();
        tokio::spawn(async move {
            let Some((body, _)) = read_body(request.into_body()).await else {
                return;
            };
            let body = format!("{told} sent={} scheme={scheme}", body.len());
            let mut stream = respond.send_response(Response::new(()), false).unwrap();
            stream.send_data(Bytes::from(body), false).unwrap();
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", HeaderValue::from_static("0"));
            stream.send_trailers(trailers).unwrap();
        });
    }
    Ok(())
}
