//! Certificates made for a test, and clients that speak TLS.

use std::io::{self, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams,
    SerialNumber,
};
use rustls::crypto::SupportedKxGroup;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
};

use super::LIMIT;
use super::client::{Answer, read_answer};

/// Only one version.
pub static TLS12: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];
pub static TLS13: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];

pub const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Who signs certificates.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate with its key, in PEM.
#[derive(Debug, Clone)]
pub struct Pair {
    pub chain: String,
    pub key: String,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let issuer = CertifiedIssuer::self_signed(authority(name), key);
        Self(issuer.unwrap())
    }

    /// Another that this one vouches for.
    pub fn authorize(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = authority(name);
        change(&mut params);
        let issuer = CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), &self.0);
        Self(issuer.unwrap())
    }

    /// A second certificate of another that has this name, in PEM.
    pub fn authorize_again(&self, name: &str, other: &Self) -> String {
        let params = authority(name);
        params.signed_by(other.0.key(), &self.0).unwrap().pem()
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    pub fn key(&self) -> &KeyPair {
        self.0.key()
    }

    pub fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        roots
    }

    /// A certificate of ECDSA for these names.
    pub fn issue(&self, names: &[&str]) -> Pair {
        self.issue_with(names, &KeyPair::generate().unwrap(), |_| {})
    }

    pub fn issue_rsa(&self, names: &[&str]) -> Pair {
        let key = KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
        self.issue_with(names, &key, |_| {})
    }

    /// A certificate that is changed before it is signed.
    pub fn issue_with(
        &self,
        names: &[&str],
        key: &KeyPair,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Pair {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = (SystemTime::now() - DAY).into();
        params.not_after = (SystemTime::now() + 90 * DAY).into();
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        change(&mut params);
        let certificate = params.signed_by(key, &self.0).unwrap();
        Pair {
            chain: certificate.pem(),
            key: key.serialize_pem(),
        }
    }

    /// A list on which the certificates with these serial numbers are revoked.
    pub fn revoke(&self, serials: &[u64]) -> String {
        self.revoke_until(serials, SystemTime::now() + 30 * DAY)
    }

    pub fn revoke_until(&self, serials: &[u64], next: SystemTime) -> String {
        let now = SystemTime::now();
        let revoked = serials.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: (now - DAY).into(),
            reason_code: None,
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: (now - 9 * DAY).into(),
            next_update: next.into(),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.0).unwrap().pem().unwrap()
    }
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = true;
    params
}

/// Days from now on which a certificate begins or ends.
pub fn valid(params: &mut CertificateParams, from: i32, to: i32) {
    let day = |days: i32| match u32::try_from(days) {
        Ok(days) => SystemTime::now() + days * DAY,
        Err(_) => SystemTime::now() - days.unsigned_abs() * DAY,
    };
    params.not_before = day(from).into();
    params.not_after = day(to).into();
}

impl Pair {
    /// Writes `NAME.pem` and `NAME.key`, each aside and then put in place.
    pub fn write(&self, folder: &Path, name: &str) {
        put(&folder.join(format!("{name}.key")), &self.key);
        put(&folder.join(format!("{name}.pem")), &self.chain);
    }

    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        let chain = CertificateDer::pem_slice_iter(self.chain.as_bytes());
        chain.collect::<Result<_, _>>().unwrap()
    }

    pub fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap()
    }
}

pub fn put(path: &Path, text: impl AsRef<[u8]>) {
    let aside = path.with_extension("aside");
    std::fs::write(&aside, text).unwrap();
    std::fs::rename(aside, path).unwrap();
}

/// How a client speaks.
pub struct Speaks {
    pub roots: RootCertStore,
    pub versions: &'static [&'static SupportedProtocolVersion],
    pub suites: Option<Vec<rustls::SupportedCipherSuite>>,
    pub groups: Option<Vec<&'static dyn SupportedKxGroup>>,
    pub alpn: Vec<Vec<u8>>,
    pub certificate: Option<Pair>,
}

impl Speaks {
    /// One that believes this authority, and knows everything else that rustls does.
    pub fn new(authority: &Authority) -> Self {
        Self {
            roots: authority.roots(),
            versions: rustls::ALL_VERSIONS,
            suites: None,
            groups: None,
            alpn: Vec::new(),
            certificate: None,
        }
    }

    /// One client, which resumes what it did before.
    pub fn config(&self) -> Arc<ClientConfig> {
        let mut provider = rustls::crypto::aws_lc_rs::default_provider();
        if let Some(suites) = &self.suites {
            provider.cipher_suites.clone_from(suites);
        }
        if let Some(groups) = &self.groups {
            provider.kx_groups.clone_from(groups);
        }
        let builder = ClientConfig::builder_with_provider(provider.into());
        let builder = builder.with_protocol_versions(self.versions).unwrap();
        let builder = builder.with_root_certificates(self.roots.clone());
        let mut config = match &self.certificate {
            Some(pair) => builder
                .with_client_auth_cert(pair.chain(), pair.key())
                .unwrap(),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols.clone_from(&self.alpn);
        Arc::new(config)
    }
}

/// A client over TLS, its handshake done.
pub struct TlsClient {
    reader: BufReader<StreamOwned<ClientConnection, TcpStream>>,
}

impl TlsClient {
    pub fn connect(
        address: SocketAddr,
        config: &Arc<ClientConfig>,
        name: &str,
    ) -> io::Result<Self> {
        Self::connect_behind(address, config, name, &[])
    }

    /// Sends `first` before TLS, in one segment with its beginning.
    pub fn connect_behind(
        address: SocketAddr,
        config: &Arc<ClientConfig>,
        name: &str,
        first: &[u8],
    ) -> io::Result<Self> {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let connection = ClientConnection::new(config.clone(), name).unwrap();
        let tcp = TcpStream::connect(address)?;
        tcp.set_read_timeout(Some(LIMIT))?;
        tcp.set_write_timeout(Some(LIMIT))?;
        tcp.set_nodelay(true)?;
        let mut stream = StreamOwned::new(connection, tcp);
        let mut hello = first.to_vec();
        stream.conn.write_tls(&mut hello)?;
        stream.sock.write_all(&hello)?;
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Self {
            reader: BufReader::new(stream),
        })
    }

    pub fn connection(&self) -> &ClientConnection {
        &self.reader.get_ref().conn
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.try_send(bytes).unwrap();
        self
    }

    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.reader.get_mut().write_all(bytes.as_ref())?;
        self.reader.get_mut().flush()
    }

    pub fn answer(&mut self) -> Answer {
        read_answer(&mut self.reader, false)
    }

    pub fn exactly(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.reader.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// Says that nothing more will come.
    pub fn end(&mut self) {
        let stream = self.reader.get_mut();
        stream.conn.send_close_notify();
        stream.flush().unwrap();
        stream.sock.shutdown(std::net::Shutdown::Write).unwrap();
    }

    /// Everything up to the end, which is one only with a `close_notify`.
    pub fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.reader.read_to_end(&mut bytes).map(|_| bytes)
    }

    pub fn get(&mut self, path: &str) -> Answer {
        self.send(format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n"))
            .answer()
    }
}

/// A whole exchange on a connection of its own, or why there was none. In TLS 1.3 a
/// client hears of a refusal when it reads.
pub fn get(address: SocketAddr, config: &Arc<ClientConfig>, name: &str) -> io::Result<Answer> {
    let mut client = TlsClient::connect(address, config, name)?;
    client.try_send("GET / HTTP/1.1\r\nhost: test\r\n\r\n")?;
    let answer = io::BufRead::fill_buf(&mut client.reader)?;
    if answer.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(client.answer())
}
