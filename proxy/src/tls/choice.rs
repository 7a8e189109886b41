//! Which certificate a client gets.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{SignatureAlgorithm, SignatureScheme};

use crate::config::{Certificate, ListenerTls, UnknownName};

/// The certificates of a listener by the names that they are for.
#[derive(Debug)]
pub struct Choice {
    exact: HashMap<String, Keys>,
    /// By what stands behind `*.`.
    wildcard: HashMap<String, Keys>,
    default: Keys,
    unknown: UnknownName,
    is_name_required: bool,
}

/// Of one name: one for each kind of key.
type Keys = Vec<Arc<CertifiedKey>>;

impl Choice {
    pub fn new(configured: &ListenerTls) -> Self {
        let mut exact: HashMap<_, Keys> = HashMap::new();
        let mut wildcard: HashMap<_, Keys> = HashMap::new();
        for certificate in &configured.certificates {
            for name in &certificate.names {
                let keys = match name.strip_prefix("*.") {
                    Some(rest) => wildcard.entry(rest.to_owned()),
                    None => exact.entry(name.clone()),
                };
                keys.or_default().push(certificate.certified.clone());
            }
        }
        let mut default = default(&configured.certificates);
        let keys = exact.values_mut().chain(wildcard.values_mut());
        keys.chain([&mut default]).for_each(prefer);
        Self {
            exact,
            wildcard,
            default,
            unknown: configured.unknown_name,
            is_name_required: configured.require_name,
        }
    }

    fn keys(&self, name: Option<&str>) -> Option<&Keys> {
        let Some(name) = name else {
            return (!self.is_name_required).then_some(&self.default);
        };
        let of_exact = || self.exact.get(name);
        let of_wildcard = || self.wildcard.get(name.split_once('.')?.1);
        let of_unknown = || (self.unknown == UnknownName::Default).then_some(&self.default);
        of_exact().or_else(of_wildcard).or_else(of_unknown)
    }

    fn pick(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let name = name.map(str::to_ascii_lowercase);
        let keys = self.keys(name.as_deref())?;
        let fits = |key: &&Arc<CertifiedKey>| key.key.choose_scheme(schemes).is_some();
        // Where none fits, rustls says by the first that there is nothing in common.
        keys.iter().find(fits).or(keys.first()).cloned()
    }
}

impl ResolvesServerCert for Choice {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.pick(hello.server_name(), hello.signature_schemes())
    }
}

/// The first certificate, and those that are for the same names with another key.
fn default(certificates: &[Certificate]) -> Keys {
    let first = certificates.first().map(|first| &first.names);
    let same = certificates.iter();
    let same = same.filter(|certificate| Some(&certificate.names) == first);
    same.map(|certificate| certificate.certified.clone())
        .collect()
}

/// Signing by RSA takes twenty times as long, so it is for those that want no other.
fn prefer(keys: &mut Keys) {
    keys.sort_by_key(|key| key.key.algorithm() == SignatureAlgorithm::RSA);
}
