//! The keys of TLS, on listeners and toward endpoints.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Items;
use crate::config::tls::{ClientMode, MinVersion, UnknownName};

/// Among the roots: those of the system.
pub(in crate::config) const SYSTEM: &str = "system";

/// How clients are served over TLS. All files are in PEM unless it says otherwise, are
/// relative to the file that names them, and are watched: a change of one is a reload.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ListenerTls")]
pub(in crate::config) struct RawListenerTls {
    /// Certificates, of which each client gets the one for the name that it asks for
    /// (SNI): that name, else a wildcard for it, else the first. For one name there may
    /// be one of ECDSA, which is preferred, and one of RSA for clients that know no other.
    #[schemars(required, with = "Vec<RawCertificate>", length(min = 1))]
    #[serde(default)]
    pub(in crate::config) certificates: Items<RawCertificate>,
    /// What is done for a name that no certificate has: `default` gives the first
    /// certificate, `refuse` ends the handshake.
    #[serde(default)]
    pub(in crate::config) unknown_name: UnknownName,
    /// Whether clients must name who they want (SNI).
    #[serde(default)]
    pub(in crate::config) require_name: bool,
    /// The oldest version of TLS.
    #[serde(default)]
    pub(in crate::config) min_version: MinVersion,
    /// The cipher suites, the preferred first, by their names in the registry of IANA.
    /// Without this key those that rustls holds best, in the client's order; it has none
    /// that is not safe.
    #[schemars(with = "Vec<String>")]
    #[serde(default)]
    pub(in crate::config) cipher_suites: Items<String>,
    /// The groups for the exchange of keys; of these, the client's order decides. Without
    /// this key X25519MLKEM768, which no quantum computer undoes, and those that rustls
    /// holds safe.
    #[schemars(with = "Vec<String>")]
    #[serde(default)]
    pub(in crate::config) groups: Items<String>,
    /// Whether clients get tickets with which they resume a connection without a full
    /// handshake. Their keys are in memory only, are replaced every 6 hours, and are
    /// kept for 12.
    #[serde(default = "yes")]
    pub(in crate::config) session_tickets: bool,
    /// Whether clients that come again may send a request along with their first message
    /// (0-RTT, RFC 8470). **Whoever overhears it may send it in the client's stead.** So only
    /// requests of safe methods are served before the handshake is done, with `Early-Data: 1`
    /// for the origin, and others are answered 425. Not with `client`, and not with
    /// `protocols: [tcp]`. Sessions are in memory then, and each is good for one connection.
    #[serde(default)]
    pub(in crate::config) early_data: bool,
    /// A file to which the secrets of every connection are appended, in the form that
    /// Wireshark reads. **Whoever reads it reads everything.** For debugging only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(min = 1), extend("x-wanted" = "the path of a file"))]
    pub(in crate::config) key_log: Option<PathBuf>,
    /// What is asked of clients (mutual TLS). Without this key they are asked for no
    /// certificate.
    #[schemars(with = "RawClientCertificates")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::config) client: Option<RawClientCertificates>,
}

/// A certificate with its key.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Certificate")]
pub(in crate::config) struct RawCertificate {
    /// The certificate, and behind it those that lead to a root.
    #[schemars(required, with = "String", length(min = 1), extend("x-wanted" = "the path of a file"))]
    pub(in crate::config) chain: Option<PathBuf>,
    /// Its private key, without a passphrase.
    #[schemars(required, with = "String", length(min = 1), extend("x-wanted" = "the path of a file"))]
    pub(in crate::config) key: Option<PathBuf>,
    /// An answer of its authority that it is not revoked (OCSP), in DER, to be handed to
    /// clients with it. One that is not about it, or not good now, is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(min = 1), extend("x-wanted" = "the path of a file"))]
    pub(in crate::config) ocsp: Option<PathBuf>,
}

/// Certificates of clients.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ClientCertificates")]
pub(in crate::config) struct RawClientCertificates {
    /// Files of certificates, any of which may be the root of a client's. They may
    /// overlap. Those that are not valid now are left out, with a warning; one must be left.
    #[schemars(required, length(min = 1), with = "Vec<String>")]
    #[serde(default)]
    pub(in crate::config) ca: Items<PathBuf>,
    /// `required` refuses clients without a certificate; `optional` serves them too. A
    /// certificate that is not good is refused in either case.
    #[serde(default)]
    pub(in crate::config) mode: ClientMode,
    /// Files of revocation lists, in PEM or DER, each still valid. With any, each authority
    /// in a client's chain must have one that is.
    #[schemars(with = "Vec<String>")]
    #[serde(default)]
    pub(in crate::config) crl: Items<PathBuf>,
}

/// How endpoints are spoken to over TLS. All files are in PEM, are relative to the file
/// that names them, and are watched: a change of one is a reload.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ClusterTls")]
pub(in crate::config) struct RawClusterTls {
    /// Who may vouch for endpoints: files of certificates, and `system` for those that the
    /// system trusts, which are read at every reload. Those that are not valid now are left
    /// out, of files with a warning; one must be left.
    #[schemars(with = "Vec<String>", length(min = 1))]
    #[serde(default = "system")]
    pub(in crate::config) roots: Items<String>,
    /// The name that endpoints are asked for (SNI), and that their certificates have to
    /// be for. Without this key each has its own: the host name that it is given by. One
    /// that is given by its address is asked for none, and its certificate has to be for
    /// that address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("x-wanted" = "a host name"))]
    pub(in crate::config) sni: Option<String>,
    /// Who endpoints may be instead: host names, and SPIFFE IDs such as
    /// `spiffe://example.org/billing`. A certificate has to be for one of them.
    #[schemars(with = "Vec<String>")]
    #[serde(default)]
    pub(in crate::config) names: Items<String>,
    /// The certificate that the proxy shows to endpoints that ask for one.
    #[schemars(with = "RawKeyPair")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::config) certificate: Option<RawKeyPair>,
    /// The oldest version of TLS.
    #[serde(default)]
    pub(in crate::config) min_version: MinVersion,
    /// Whether whoever answers is believed to be the endpoint. **Who stands between reads
    /// and changes everything.** For tests only.
    #[serde(default)]
    pub(in crate::config) insecure_skip_verify: bool,
}

/// A certificate with its key.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "KeyPair")]
pub(in crate::config) struct RawKeyPair {
    /// The certificate, and behind it those that lead to a root.
    #[schemars(required, with = "String", length(min = 1), extend("x-wanted" = "the path of a file"))]
    pub(in crate::config) chain: Option<PathBuf>,
    /// Its private key, without a passphrase.
    #[schemars(required, with = "String", length(min = 1), extend("x-wanted" = "the path of a file"))]
    pub(in crate::config) key: Option<PathBuf>,
}

fn system() -> Items<String> {
    vec![Some(SYSTEM.to_owned())]
}

fn yes() -> bool {
    true
}
