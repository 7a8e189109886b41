//! TLS of clusters. Reads files as that of listeners does.

use std::path::Path;
use std::time::SystemTime;

use rustls_pki_types::{CertificateDer, ServerName};

use super::Checker;
use super::address::{Wrong, is_host};
use super::authorities::Found;
use crate::config::authority;
use crate::config::checked::{ClusterProtocol, Endpoint, EndpointAddress};
use crate::config::place::below;
use crate::config::raw::{RawClusterTls, SYSTEM};
use crate::config::tls::{ClusterTls, PeerName, Roots, Verify};

impl Checker<'_> {
    pub(super) fn cluster_tls(
        &mut self,
        at: &str,
        raw: &RawClusterTls,
        protocol: ClusterProtocol,
        endpoints: &[Endpoint],
    ) -> Option<ClusterTls> {
        let sni = raw.sni.as_ref();
        let sni = sni.and_then(|name| self.text(&below(at, "sni"), name, read_host));
        let certificate = raw.certificate.as_ref().and_then(|raw| {
            let (chain, key) = (raw.chain.as_ref()?, raw.key.as_ref()?);
            self.key_pair(&below(at, "certificate"), chain, key, None)
        });
        let verify = match raw.insecure_skip_verify {
            true => self.nothing(at, raw),
            false => self.peer(at, raw)?,
        };
        self.nameless(at, raw, &verify, endpoints);
        Some(ClusterTls {
            verify,
            sni,
            certificate,
            min_version: raw.min_version,
            protocol,
        })
    }

    fn peer(&mut self, at: &str, raw: &RawClusterTls) -> Option<Verify> {
        let names = self.texts(at, "names", &raw.names, read_peer_name);
        let roots = self.roots(&below(at, "roots"), &raw.roots)?;
        Some(Verify::Peer { roots, names })
    }

    fn nothing(&mut self, at: &str, raw: &RawClusterTls) -> Verify {
        let pointer = below(at, "insecure_skip_verify");
        if !raw.names.is_empty() {
            let found = "`names`, of which none is looked at with `insecure_skip_verify`";
            self.mistake(&below(at, "names"), found, "one of the two");
        }
        let found = "`insecure_skip_verify`: whoever stands between is taken for the endpoint";
        let wanted = "`roots` and `names` that the endpoints' certificates fit";
        self.warning(&pointer, found, wanted);
        Verify::Nothing
    }

    /// A path names no host that a certificate could be for.
    fn nameless(&mut self, at: &str, raw: &RawClusterTls, verify: &Verify, all: &[Endpoint]) {
        let is_any = matches!(verify, Verify::Nothing) || !raw.names.is_empty();
        let is_path = |one: &Endpoint| matches!(one.address, EndpointAddress::Unix(_));
        if raw.sni.is_none() && !is_any && all.iter().any(is_path) {
            let found = "an endpoint at a path, which names nobody that its certificate is for";
            self.mistake(at, found, "`sni` or `names`");
        }
    }

    fn roots(&mut self, at: &str, raw: &[Option<String>]) -> Option<Roots> {
        let now = SystemTime::now();
        let mut found = Found::default();
        for (index, item) in raw.iter().enumerate() {
            let Some(item) = item else { continue };
            let pointer = below(at, index);
            match item.as_str() {
                SYSTEM => found.certificates.extend(self.system_roots(&pointer, now)),
                // A certificate that vouches for itself alone may be one's own.
                file => drop(self.authorities(&pointer, Path::new(file), now, &mut found)),
            }
        }
        self.tell_stale(&found);
        Roots::new(found.certificates, found.endings)
    }

    /// What of it is no certificate, or not valid now, is left out, as everybody does.
    fn system_roots(&mut self, pointer: &str, now: SystemTime) -> Vec<CertificateDer<'static>> {
        let load = || {
            let mut loaded = rustls_native_certs::load_native_certs().certs;
            loaded.retain(|one| authority::is_good(one, now));
            loaded
        };
        let roots = self.system_roots.get_or_init(load).clone();
        if roots.is_empty() {
            let found = "`system`, which trusts nobody here: no certificates were found";
            let wanted = "files of certificates, or the package `ca-certificates`";
            self.mistake(pointer, found, wanted);
        }
        roots
    }
}

fn read_host(text: &str) -> Result<ServerName<'static>, Wrong> {
    let wrong = || Wrong::new("a host name, such as `origin.example.org`");
    let name = text.to_ascii_lowercase();
    match is_host(&name) {
        true => ServerName::try_from(name).map_err(|_| wrong()),
        false => Err(wrong()),
    }
}

fn read_peer_name(text: &str) -> Result<PeerName, Wrong> {
    match text.contains("://") {
        true => read_spiffe(text).map(PeerName::Spiffe),
        false => read_host(text).map(PeerName::Dns),
    }
}

/// As the SPIFFE ID specification has it, section 2.
fn read_spiffe(text: &str) -> Result<String, Wrong> {
    let rest = text.strip_prefix("spiffe://").unwrap_or_default();
    let (domain, path) = match rest.split_once('/') {
        Some((domain, path)) => (domain, Some(path)),
        None => (rest, None),
    };
    let is_low =
        |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-' | '_');
    let is_segment = |segment: &str| {
        let is_known = |c: char| c.is_ascii_uppercase() || is_low(c);
        !matches!(segment, "" | "." | "..") && segment.chars().all(is_known)
    };
    let is_domain = !domain.is_empty() && domain.chars().all(is_low);
    let is_path = path.is_none_or(|path| path.split('/').all(is_segment));
    match is_domain && is_path && text.len() <= 2048 {
        true => Ok(text.to_owned()),
        false => Err(Wrong::new(
            "a host name or a SPIFFE ID, such as `spiffe://example.org/billing`",
        )),
    }
}
