//! TLS of listeners. Reads files of certificates and keys: what they are cannot be
//! told from the configuration alone.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::SupportedCipherSuite;
use rustls::crypto::aws_lc_rs::{ALL_CIPHER_SUITES, ALL_KX_GROUPS};
use rustls_pki_types::CertificateDer;

use super::Checker;
use super::address::Wrong;
use super::authorities::Found;
use crate::config::authority;
use crate::config::certificate::{self, Unfit};
use crate::config::checked::Protocol;
use crate::config::place::below;
use crate::config::raw::{RawCertificate, RawClientCertificates, RawListenerTls};
use crate::config::staple;
use crate::config::tls::{Certificate, ClientCertificates, Ending, Group, ListenerTls, MinVersion};

/// A certificate that has less time left is warned about.
const SOON: Duration = Duration::from_secs(14 * DAY);

const DAY: u64 = 24 * 60 * 60;

const CHAIN: &str =
    "a chain of certificates in PEM, the one for the key first, each issued by the next, valid now";
const KEY: &str = "the key of the certificate in PEM: ECDSA, RSA of 2048 bits or more, or Ed25519";
const REVOKED: &str = "revocation lists in PEM or DER, none past its next update";
const STAPLE: &str =
    "an answer of OCSP in DER, of the certificate's authority, that the certificate is good now";

impl Checker<'_> {
    pub(super) fn listener_tls(
        &mut self,
        at: &str,
        raw: &RawListenerTls,
        protocols: &[Protocol],
    ) -> Option<ListenerTls> {
        let certificates = self.certificates(&below(at, "certificates"), &raw.certificates);
        let cipher_suites = self.texts(at, "cipher_suites", &raw.cipher_suites, read_suite);
        let groups = self.texts(at, "groups", &raw.groups, read_group);
        let is_new = |suite: &SupportedCipherSuite| suite.tls13().is_some();
        let is_too_old = !cipher_suites.is_empty() && !cipher_suites.iter().any(is_new);
        if raw.min_version == MinVersion::Tls13 && is_too_old {
            let found = "no cipher suite of TLS 1.3, which is the oldest version allowed";
            self.mistake(&below(at, "cipher_suites"), found, "one of them at least");
        }
        let pointer = below(at, "key_log");
        let key_log = raw.key_log.as_ref().map(|file| self.path(&pointer, file));
        if key_log.is_some() {
            let found = "`key_log`, which gives away all that clients say";
            self.warning(&pointer, found, "this key only while you look for a fault");
        }
        if raw.early_data {
            self.early_data(&below(at, "early_data"), raw, protocols, is_too_old);
        }
        let client = raw.client.as_ref();
        let client = client.map(|raw| self.client_certificates(&below(at, "client"), raw));
        Some(ListenerTls {
            certificates,
            unknown_name: raw.unknown_name,
            require_name: raw.require_name,
            protocols: protocols.to_vec(),
            min_version: raw.min_version,
            cipher_suites: (!cipher_suites.is_empty()).then_some(cipher_suites),
            groups: (!groups.is_empty()).then_some(groups),
            session_tickets: raw.session_tickets,
            early_data: raw.early_data,
            key_log,
            client,
        })
    }

    /// What was overheard may be said again by anybody.
    fn early_data(
        &mut self,
        at: &str,
        raw: &RawListenerTls,
        protocols: &[Protocol],
        is_too_old: bool,
    ) {
        let beside = match () {
            () if raw.client.is_some() => "`client`: who a client is is not known before its end",
            () if protocols.contains(&Protocol::Tcp) => {
                "`protocols: [tcp]`: what is safe to be repeated is not known there"
            }
            () if is_too_old => "`cipher_suites` of TLS 1.2 alone, which has none",
            () if !raw.session_tickets => "`session_tickets: false`: there is nothing to resume",
            () => return,
        };
        let found = format!("data before the end of the handshake, with {beside}");
        self.mistake(at, found, "one of them");
    }

    fn certificates(&mut self, at: &str, raw: &[Option<RawCertificate>]) -> Vec<Certificate> {
        let mut certificates = Vec::new();
        let mut taken: HashMap<(String, u8), PathBuf> = HashMap::new();
        for (index, raw) in raw.iter().enumerate() {
            let pointer = below(at, index);
            let certificate = raw.as_ref();
            let certificate = certificate.and_then(|raw| self.certificate(&pointer, raw));
            let Some(certificate) = certificate else {
                continue;
            };
            let kind = u8::from(certificate.certified.key.algorithm());
            for name in &certificate.names {
                let file = certificate.file.clone();
                if let Some(first) = taken.insert((name.clone(), kind), file) {
                    let found = format!(
                        "a certificate for `{name}` again, with a key of the same kind as `{}` has",
                        first.display()
                    );
                    self.mistake(
                        &below(&pointer, "chain"),
                        found,
                        "one for each name and kind",
                    );
                    break;
                }
            }
            certificates.push(certificate);
        }
        certificates
    }

    fn certificate(&mut self, at: &str, raw: &RawCertificate) -> Option<Certificate> {
        let (chain, key) = (raw.chain.as_ref()?, raw.key.as_ref()?);
        self.key_pair(at, chain, key, raw.ocsp.as_deref())
    }

    /// A certificate that fits its key.
    pub(super) fn key_pair(
        &mut self,
        at: &str,
        chain: &Path,
        key: &Path,
        staple: Option<&Path>,
    ) -> Option<Certificate> {
        let chain_at = below(at, "chain");
        let now = SystemTime::now();
        let (file, chain) = self.file_of(&chain_at, chain, CHAIN, |bytes| {
            let chain = certificate::read_certificates(bytes)?;
            let facts = certificate::look(&chain, now)?;
            Ok((chain, facts))
        });
        let key_at = below(at, "key");
        let (key_file, key) = self.file_of(&key_at, key, KEY, certificate::read_key);
        let staple = match staple {
            Some(staple) => {
                let of = chain.as_ref().map(|(chain, _)| chain);
                let read = |bytes: &[u8]| {
                    if let Some(chain) = of {
                        staple::look(bytes, chain, now)?;
                    }
                    Ok(bytes.to_vec())
                };
                Some(self.file_of(&below(at, "ocsp"), staple, STAPLE, read).1?)
            }
            None => None,
        };
        let ((chain, facts), key) = (chain?, key?);
        match &facts.stale {
            Some(stale) => {
                let found = format!("`{}`, a file that {stale}", file.display());
                self.warning(
                    &chain_at,
                    found,
                    "one that is valid now: clients may refuse it",
                );
            }
            None => self.expires_soon(&chain_at, &file, facts.expires, now),
        }
        match certificate::pair(file, chain, facts, &key, staple) {
            Ok(certificate) => Some(certificate),
            Err(unfit) => {
                self.unfit(&key_at, &key_file, &unfit, KEY);
                None
            }
        }
    }

    fn expires_soon(&mut self, pointer: &str, file: &Path, expires: u64, now: SystemTime) {
        if let Some(days) = days_left(expires, now) {
            let found = format!(
                "`{}`, a certificate that expires in {days} days",
                file.display()
            );
            self.warning(pointer, found, "a new one before that");
        }
    }

    fn client_certificates(&mut self, at: &str, raw: &RawClientCertificates) -> ClientCertificates {
        let now = SystemTime::now();
        let (roots, mut endings) = self.authorities_of_clients(&below(at, "ca"), &raw.ca, now);
        let mut revoked = Vec::new();
        for (index, file) in raw.crl.iter().enumerate() {
            let Some(file) = file else { continue };
            let pointer = below(&below(at, "crl"), index);
            let read = |bytes: &[u8]| authority::read_revoked(bytes, now);
            let (file, Some(read)) = self.file_of(&pointer, file, REVOKED, read) else {
                continue;
            };
            revoked.extend(read.lists);
            endings.extend(read.ends.map(|at| Ending { file, at }));
        }
        ClientCertificates {
            roots,
            mode: raw.mode,
            revoked,
            endings,
        }
    }

    fn authorities_of_clients(
        &mut self,
        at: &str,
        files: &[Option<PathBuf>],
        now: SystemTime,
    ) -> (Vec<CertificateDer<'static>>, Vec<Ending>) {
        let mut found = Found::default();
        for (index, file) in files.iter().enumerate() {
            let Some(file) = file else { continue };
            let pointer = below(at, index);
            for leaf in self.authorities(&pointer, file, now, &mut found) {
                let found = format!(
                    "`{}`, a file that has the certificate of {leaf}, which is no authority's: \
                     whom its key vouches for is let in all the same",
                    file.display()
                );
                self.warning(&pointer, found, "that of the authority that issued it");
            }
        }
        self.tell_stale(&found);
        (found.certificates, found.endings)
    }

    /// What a file gives, and its path. It is watched, whatever comes of it.
    pub(super) fn file_of<T>(
        &mut self,
        pointer: &str,
        file: &Path,
        wanted: &str,
        read: impl FnOnce(&[u8]) -> Result<T, Unfit>,
    ) -> (PathBuf, Option<T>) {
        let file = self.path(pointer, file);
        if !self.outside.files.may_include() {
            let wanted = "no file: this configuration is not read from one";
            self.mistake(pointer, format!("`{}`", file.display()), wanted);
            return (file, None);
        }
        self.read_files.push(file.clone());
        match certificate::read_bytes(&file).and_then(|bytes| read(&bytes)) {
            Ok(good) => (file, Some(good)),
            Err(unfit) => {
                self.unfit(pointer, &file, &unfit, wanted);
                (file, None)
            }
        }
    }

    fn unfit(&mut self, pointer: &str, file: &Path, unfit: &Unfit, wanted: &str) {
        let found = format!("`{}`, a file that {unfit}", file.display());
        self.mistake(pointer, found, wanted);
    }
}

/// What is left of the days of something that has few.
pub(super) fn days_left(expires: u64, now: SystemTime) -> Option<u64> {
    let left = (UNIX_EPOCH + Duration::from_secs(expires)).duration_since(now);
    let left = left.unwrap_or_default();
    (left < SOON).then_some(left.as_secs() / DAY)
}

/// A cipher suite by its name in IANA's registry, of those that rustls has.
fn read_suite(text: &str) -> Result<SupportedCipherSuite, Wrong> {
    let mut known = ALL_CIPHER_SUITES.iter();
    let found = known.find(|suite| suite_name(suite) == text);
    found.copied().ok_or_else(|| {
        let names: Vec<_> = ALL_CIPHER_SUITES.iter().map(suite_name).collect();
        Wrong::new(format!("one of `{}`", names.join("`, `")))
    })
}

fn suite_name(suite: &SupportedCipherSuite) -> String {
    let name = suite.suite().as_str().unwrap_or_default();
    name.replacen("TLS13_", "TLS_", 1)
}

/// A group by its name in IANA's registry.
fn read_group(text: &str) -> Result<Group, Wrong> {
    let name = |group: &Group| format!("{:?}", group.0.name());
    let known = || ALL_KX_GROUPS.iter().map(|group| Group(*group));
    let found = known().find(|group| name(group).eq_ignore_ascii_case(text));
    found.ok_or_else(|| {
        let names: Vec<_> = known().map(|group| name(&group)).collect();
        Wrong::new(format!("one of `{}`", names.join("`, `")))
    })
}
