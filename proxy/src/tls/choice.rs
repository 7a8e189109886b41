//! Which certificate a client gets.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{AlertDescription, CipherSuite, NamedGroup, SignatureAlgorithm, SignatureScheme};

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

    /// Whether there are names, or clients without one, for which there is no certificate.
    pub fn refuses(&self) -> bool {
        self.is_name_required || self.unknown == UnknownName::Refuse
    }

    /// What a client is told for whose name there is none.
    pub fn refusal(&self, name: Option<&str>) -> Option<AlertDescription> {
        match self.find_keys(name) {
            Some(_) => None,
            None if name.is_none() => Some(AlertDescription::MissingExtension),
            None => Some(AlertDescription::UnrecognisedName),
        }
    }

    fn find_keys(&self, name: Option<&str>) -> Option<&Keys> {
        let name = name.map(str::to_ascii_lowercase);
        self.keys(name.as_deref())
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

    fn pick(&self, name: Option<&str>, client: &Client<'_>) -> Option<Arc<CertifiedKey>> {
        let keys = self.find_keys(name)?;
        let signs = |key: &&Arc<CertifiedKey>| key.key.choose_scheme(client.schemes).is_some();
        let fits = |key: &&Arc<CertifiedKey>| signs(key) && client.has_curve_of(key);
        let found = keys.iter().find(fits).or_else(|| keys.iter().find(signs));
        // Where none fits, rustls says by the first that there is nothing in common.
        found.or(keys.first()).cloned()
    }
}

impl ResolvesServerCert for Choice {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let is_old = |suite: &CipherSuite| !OF_TLS13.contains(suite);
        let client = Client {
            schemes: hello.signature_schemes(),
            curves: match hello.cipher_suites().iter().any(is_old) {
                true => hello.named_groups(),
                false => None,
            },
        };
        self.pick(hello.server_name(), &client)
    }
}

/// Who offers nothing but these speaks TLS 1.3. With others a client may speak an older
/// version, whatever it offers: which it will be is not told here.
const OF_TLS13: [CipherSuite; 4] = [
    CipherSuite::TLS_EMPTY_RENEGOTIATION_INFO_SCSV,
    CipherSuite::TLS13_AES_128_GCM_SHA256,
    CipherSuite::TLS13_AES_256_GCM_SHA384,
    CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
];

/// What the certificate of a client may be made of.
struct Client<'a> {
    schemes: &'a [SignatureScheme],
    /// Of keys of ECDSA, where they matter. Before TLS 1.3 a client's groups are those of
    /// certificates too (RFC 8422, section 5.1.1); since then its schemes tell.
    curves: Option<&'a [NamedGroup]>,
}

impl Client<'_> {
    fn has_curve_of(&self, key: &CertifiedKey) -> bool {
        match (self.curves, curve(key)) {
            (Some(curves), Some(curve)) => curves.contains(&curve),
            (None, _) | (_, None) => true,
        }
    }
}

/// Of a key of ECDSA, which signs by the scheme of its curve and by no other.
fn curve(key: &CertifiedKey) -> Option<NamedGroup> {
    const CURVES: [(SignatureScheme, NamedGroup); 3] = [
        (
            SignatureScheme::ECDSA_NISTP256_SHA256,
            NamedGroup::secp256r1,
        ),
        (
            SignatureScheme::ECDSA_NISTP384_SHA384,
            NamedGroup::secp384r1,
        ),
        (
            SignatureScheme::ECDSA_NISTP521_SHA512,
            NamedGroup::secp521r1,
        ),
    ];
    let signs = |(scheme, _): &&(SignatureScheme, _)| key.key.choose_scheme(&[*scheme]).is_some();
    CURVES.iter().find(signs).map(|(_, curve)| *curve)
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
