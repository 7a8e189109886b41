//! How a listener serves TLS.

use std::io;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{
    NoClientAuth, NoServerSessionStorage, ProducesTickets, ServerConfig, StoresServerSessions,
    VerifierBuilderError, WebPkiClientVerifier,
};
use rustls::{AlertDescription, RootCertStore, SupportedProtocolVersion, version};

use super::choice::Choice;
use super::key_log::KeyLogFile;
use super::sessions::KeptSessions;
use super::tickets::VerifiedTickets;
use crate::config::{ClientCertificates, ClientMode, ListenerTls, MinVersion, Protocol};

/// What may be offered by ALPN (RFC 7301), the preferred first.
const PROTOCOLS: [(Protocol, &[u8]); 2] =
    [(Protocol::Http2, b"h2"), (Protocol::Http1, b"http/1.1")];

/// Of early data, for each connection: a request's head.
const MAX_EARLY_BYTES: u32 = 16 * 1024;

/// That are kept where there may be early data: some 400 bytes each.
const MAX_SESSIONS: usize = 16 * 1024;

/// The TLS of a listener, the same for all workers.
#[derive(Debug)]
pub struct Server {
    pub configured: ListenerTls,
    pub config: Arc<ServerConfig>,
    /// For clients that offer none of the listener's protocols, where they may speak
    /// something else.
    opaque: Option<Arc<ServerConfig>>,
    choice: Arc<Choice>,
    /// Who checks the certificates of clients, once more when a connection is resumed.
    pub verifier: Option<Arc<dyn ClientCertVerifier>>,
    sessions: Sessions,
}

/// How clients resume a connection. Shared by all workers, and by those that come after a
/// reload.
#[derive(Debug, Clone)]
enum Sessions {
    None,
    /// A session is in its ticket, sealed: nothing is kept, and nothing is locked.
    Tickets(Arc<dyn ProducesTickets>),
    /// Kept here, and good for one connection, for clients of whom no certificate is asked
    /// (`client` excludes early data): who repeats what was overheard finds none
    /// (RFC 8446, section 8.1).
    Kept(Arc<dyn StoresServerSessions>),
}

impl Sessions {
    fn of(configured: &ListenerTls, known: Option<&Self>) -> Result<Self, rustls::Error> {
        Ok(
            match (configured.session_tickets, configured.early_data, known) {
                (false, _, _) => Self::None,
                (true, true, Some(known @ Self::Kept(_))) => known.clone(),
                (true, true, _) => Self::Kept(Arc::new(KeptSessions::new(MAX_SESSIONS))),
                (true, false, Some(known @ Self::Tickets(_))) => known.clone(),
                (true, false, _) => Self::Tickets(aws_lc_rs::Ticketer::new()?),
            },
        )
    }
}

#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error("the key log cannot be opened: {0}")]
    KeyLog(#[from] io::Error),
    #[error("these certificates of authorities cannot be used: {0}")]
    Roots(#[from] VerifierBuilderError),
    #[error("{0}")]
    Tls(#[from] rustls::Error),
}

impl Server {
    /// Whether it matters what a client says first.
    pub fn looks_at_hello(&self) -> bool {
        self.opaque.is_some() || self.choice.refuses()
    }

    /// What a client is told that asks for a name for which there is no certificate.
    pub fn refusal(&self, name: Option<&str>) -> Option<AlertDescription> {
        self.choice.refusal(name)
    }

    /// For a client that offers these protocols, if it offers any.
    pub fn config_for<'a>(
        &self,
        mut offered: impl Iterator<Item = &'a [u8]>,
    ) -> &Arc<ServerConfig> {
        let ours = &self.config.alpn_protocols;
        match &self.opaque {
            Some(opaque) if !offered.any(|offered| ours.iter().any(|own| own == offered)) => opaque,
            _ => &self.config,
        }
    }

    /// The same as `before`, if nothing of it changed. Else tickets that were given out
    /// under `before` are still taken, unless other clients were served there: what a
    /// ticket says of a client was checked by those rules.
    pub fn build(
        configured: &ListenerTls,
        before: Option<&Arc<Self>>,
    ) -> Result<Arc<Self>, SetupError> {
        if let Some(before) = before.filter(|before| before.configured == *configured) {
            return Ok(before.clone());
        }
        let known = before.filter(|before| before.configured.client == configured.client);
        let sessions = Sessions::of(configured, known.map(|known| &known.sessions))?;
        let provider = Arc::new(provider(configured));
        let client = configured.client.as_ref();
        let verifier = client.map(client_verifier);
        let verifier = verifier.transpose()?;
        let choice = Arc::new(Choice::new(configured));
        let (verified, kept) = (verifier.clone(), sessions.clone());
        let config = config(configured, provider, &choice, verified, kept)?;
        let takes_others = configured.protocols.contains(&Protocol::Tcp);
        let opaque = takes_others.then(|| Arc::new(without_protocols(&config)));
        Ok(Arc::new(Self {
            configured: configured.clone(),
            config: Arc::new(config),
            opaque,
            choice,
            verifier,
            sessions,
        }))
    }
}

fn config(
    configured: &ListenerTls,
    provider: Arc<CryptoProvider>,
    choice: &Arc<Choice>,
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    sessions: Sessions,
) -> Result<ServerConfig, SetupError> {
    let builder = ServerConfig::builder_with_provider(provider);
    let builder = builder.with_protocol_versions(versions(configured.min_version))?;
    let builder = match verifier.clone() {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_client_cert_verifier(Arc::new(NoClientAuth)),
    };
    let mut config = builder.with_cert_resolver(choice.clone());
    let spoken = PROTOCOLS.iter();
    let spoken = spoken.filter(|(protocol, _)| configured.protocols.contains(protocol));
    // Without them the client's order counts: it knows what it has hardware for.
    config.ignore_client_order = configured.cipher_suites.is_some();
    config.alpn_protocols = spoken.map(|(_, id)| id.to_vec()).collect();
    config.session_storage = Arc::new(NoServerSessionStorage {});
    match sessions {
        Sessions::None => config.send_tls13_tickets = 0,
        Sessions::Tickets(sealed) => {
            config.ticketer = match verifier {
                Some(verifier) => Arc::new(VerifiedTickets { sealed, verifier }),
                None => sealed,
            }
        }
        Sessions::Kept(sessions) => {
            config.session_storage = sessions;
            config.max_early_data_size = MAX_EARLY_BYTES;
            // An answer need not wait for the handshake either.
            config.send_half_rtt_data = true;
        }
    }
    if let Some(file) = &configured.key_log {
        config.key_log = Arc::new(KeyLogFile::open(file)?);
    }
    Ok(config)
}

/// Where none is offered, none is refused.
fn without_protocols(config: &ServerConfig) -> ServerConfig {
    let mut config = config.clone();
    config.alpn_protocols.clear();
    config
}

pub(super) fn versions(oldest: MinVersion) -> &'static [&'static SupportedProtocolVersion] {
    static BOTH: &[&SupportedProtocolVersion] = &[&version::TLS13, &version::TLS12];
    static NEW: &[&SupportedProtocolVersion] = &[&version::TLS13];
    match oldest {
        MinVersion::Tls12 => BOTH,
        MinVersion::Tls13 => NEW,
    }
}

fn provider(configured: &ListenerTls) -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    if let Some(suites) = &configured.cipher_suites {
        provider.cipher_suites.clone_from(suites);
    }
    if let Some(groups) = &configured.groups {
        provider.kx_groups = groups.iter().map(|group| group.0).collect();
    }
    provider
}

/// Who checks the certificates of clients by these rules.
pub fn client_verifier(
    client: &ClientCertificates,
) -> Result<Arc<dyn ClientCertVerifier>, SetupError> {
    let mut roots = RootCertStore::empty();
    for root in &client.roots {
        roots.add(root.clone())?;
    }
    // Suites and groups have no say in it.
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .with_crls(client.revoked.iter().cloned())
        .enforce_revocation_expiration();
    let builder = match client.mode {
        ClientMode::Required => builder,
        ClientMode::Optional => builder.allow_unauthenticated(),
    };
    Ok(builder.build()?)
}
