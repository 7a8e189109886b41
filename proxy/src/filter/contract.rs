//! What a component may import and must export. Imports are the permission
//! list, so this decides what loads. Pure: names in, refusals out.

use std::fmt;

use super::log::clean;
use crate::config::Grants;

/// The package of the contract and the version that this host serves.
const PACKAGE: &str = "lockgate:filter";
pub const VERSION: &str = "0.1.0";

/// The interfaces of `lockgate:filter` that filters may import. [`SHARED`] and
/// [`HTTP_CLIENT`] need a grant. `secrets` needs none to be imported: each use of it
/// names a secret and is denied unless that one is granted, so the import alone
/// gives nothing. And what a component imports it imports for every configuration,
/// also for one that has no use for secrets.
const SERVED: [&str; 12] = [
    "types",
    "request",
    "response",
    "trailers",
    "exchange",
    CONNECTION,
    "log",
    "metrics",
    "host",
    "secrets",
    SHARED,
    HTTP_CLIENT,
];
const CONNECTION: &str = "connection";
/// What there is of an exchange, and not of a connection.
const OF_EXCHANGES: [&str; 4] = ["request", "response", "trailers", "exchange"];
const SHARED: &str = "shared";
pub(super) const HTTP_CLIENT: &str = "http-client";
/// What a component exports: one of these.
const HTTP_FILTER: &str = "http-filter";
const CONNECTION_FILTER: &str = "connection-filter";
/// What a component may export beside its filter.
const BACKGROUND: &str = "background";
const HAND_OVER: &str = "hand-over";

/// WASI interfaces that are linked; all are empty or harmless.
const WASI: [&str; 20] = [
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/stderr",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:cli/terminal-stderr",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:random/random",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
];

/// Why a component is not a filter that this version can run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// `lockgate:filter` in another version: its full name.
    OtherVersion(String),
    /// `wasi:sockets` or `wasi:http`: filters reach the network by `http-client`.
    Network(String),
    UnknownImport(String),
    /// It exports a filter of exchanges and one of connections.
    TwoFilters,
    /// What it imports is not there where it is called.
    OfTheOther(String, Kind),
    NoFilter,
}

/// What a filter is called for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Exchanges,
    Connections,
}

impl Kind {
    /// The world that it is built for, as far as this host knows.
    pub fn world(self) -> &'static str {
        match self {
            Kind::Exchanges => "lockgate:filter/filter@0.1.0",
            Kind::Connections => "lockgate:filter/tcp-filter@0.1.0",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Exchanges => "a filter of exchanges",
            Kind::Connections => "a filter of connections",
        })
    }
}

/// A name that a component gave to what it imports: of URLs anything may stand there.
fn shown(name: &str) -> String {
    clean(name, 256)
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::OtherVersion(name) => {
                let name = shown(name);
                write!(f, "`{name}` is not the version served here ({VERSION})")
            }
            Refusal::Network(name) => {
                let name = shown(name);
                write!(f, "imports `{name}`: filters have no network of their own")
            }
            Refusal::UnknownImport(name) => {
                write!(f, "imports `{}`, which nobody provides", shown(name))
            }
            Refusal::TwoFilters => f.write_str(
                "is a filter of exchanges (`http-filter`) and of connections \
                 (`connection-filter`), and must be one of them",
            ),
            Refusal::OfTheOther(name, kind) => {
                let name = shown(name);
                write!(f, "imports `{name}`, which {kind} has no use for")
            }
            Refusal::NoFilter => write!(
                f,
                "is a component of another world: it exports neither `{PACKAGE}/{HTTP_FILTER}@{VERSION}` nor `{PACKAGE}/{CONNECTION_FILTER}@{VERSION}`"
            ),
        }
    }
}

/// Everything that speaks against a component with these imports and exports; or what
/// it is called for.
pub fn check<'a>(
    imports: impl IntoIterator<Item = &'a str>,
    exports: impl IntoIterator<Item = &'a str>,
) -> Result<Kind, Vec<Refusal>> {
    let imports: Vec<_> = imports.into_iter().collect();
    let imported = imports.iter().copied();
    let mut refusals: Vec<Refusal> = imported.filter_map(check_import).collect();
    let mut kinds = Vec::new();
    for export in exports {
        match check_export(export) {
            Ok(Export::Filter(kind)) => kinds.push(kind),
            Ok(Export::Optional | Export::Other) => {}
            Err(refusal) => refusals.push(refusal),
        }
    }
    let explains_itself = |refusal: &Refusal| matches!(refusal, Refusal::OtherVersion(_));
    match kinds.as_slice() {
        [kind] => refusals.extend(of_the_other(&imports, *kind)),
        [] if refusals.iter().any(explains_itself) => {}
        [] => refusals.push(Refusal::NoFilter),
        [_, ..] => refusals.push(Refusal::TwoFilters),
    }
    refusals.dedup();
    match (refusals.is_empty(), kinds.first()) {
        (true, Some(kind)) => Ok(*kind),
        (true | false, _) => Err(refusals),
    }
}

/// Imports that are served, and not to a filter of this kind.
fn of_the_other(imports: &[&str], kind: Kind) -> Vec<Refusal> {
    let is_of_other = |interface: &str| match kind {
        Kind::Exchanges => interface == CONNECTION,
        Kind::Connections => OF_EXCHANGES.contains(&interface),
    };
    let others = imports
        .iter()
        .filter(|import| of_package(split(import).0).is_some_and(is_of_other));
    others
        .map(|import| Refusal::OfTheOther((*import).to_owned(), kind))
        .collect()
}

/// The grants that a component with these imports needs and does not have, each
/// as it would be written.
pub fn missing_grants<'a>(
    imports: impl IntoIterator<Item = &'a str>,
    grants: &Grants,
) -> Vec<(&'static str, &'static str)> {
    let imports = imports.into_iter();
    let needs = imports.filter_map(|import| match of_package(split(import).0) {
        Some(SHARED) if !grants.shared => Some((SHARED, "grants: { shared: true }")),
        Some(HTTP_CLIENT) if grants.call.is_empty() => {
            Some((HTTP_CLIENT, "grants: { call: [CLUSTER] }"))
        }
        _ => None,
    });
    needs.collect()
}

/// Whether a component with these imports may have to wait in the middle of a
/// call.
pub fn waits<'a>(imports: impl IntoIterator<Item = &'a str>) -> bool {
    let mut imports = imports.into_iter();
    imports.any(|import| of_package(split(import).0) == Some(HTTP_CLIENT))
}

/// Whether a component with these exports has a job for each configuration.
pub fn has_job<'a>(exports: impl IntoIterator<Item = &'a str>) -> bool {
    let mut exports = exports.into_iter();
    exports.any(|export| of_package(split(export).0) == Some(BACKGROUND))
}

/// Whether a component with these exports brings shared entries into a form of its
/// own.
pub fn hands_over<'a>(exports: impl IntoIterator<Item = &'a str>) -> bool {
    let mut exports = exports.into_iter();
    exports.any(|export| of_package(split(export).0) == Some(HAND_OVER))
}

fn check_import(import: &str) -> Option<Refusal> {
    let (name, version) = split(import);
    if let Some(interface) = of_package(name) {
        return match interface {
            _ if !SERVED.contains(&interface) => Some(Refusal::UnknownImport(import.to_owned())),
            _ if version != VERSION => Some(Refusal::OtherVersion(import.to_owned())),
            _ => None,
        };
    }
    if name.starts_with("wasi:sockets/") || name.starts_with("wasi:http/") {
        return Some(Refusal::Network(import.to_owned()));
    }
    let is_wasi = WASI.contains(&name) && version.starts_with("0.2.");
    (!is_wasi).then(|| Refusal::UnknownImport(import.to_owned()))
}

enum Export {
    Filter(Kind),
    /// What is called where it is there.
    Optional,
    /// What nobody calls, `_start` of some tool for example.
    Other,
}

fn check_export(export: &str) -> Result<Export, Refusal> {
    let (name, version) = split(export);
    match of_package(name) {
        Some(HTTP_FILTER) if version == VERSION => Ok(Export::Filter(Kind::Exchanges)),
        Some(CONNECTION_FILTER) if version == VERSION => Ok(Export::Filter(Kind::Connections)),
        Some(BACKGROUND | HAND_OVER) if version == VERSION => Ok(Export::Optional),
        Some(HTTP_FILTER | CONNECTION_FILTER | BACKGROUND | HAND_OVER) => {
            Err(Refusal::OtherVersion(export.to_owned()))
        }
        Some(_) | None => Ok(Export::Other),
    }
}

/// `package:name/interface@version` without and with only the version.
fn split(name: &str) -> (&str, &str) {
    name.split_once('@').unwrap_or((name, ""))
}

/// The interface, when it is one of the contract.
fn of_package(name: &str) -> Option<&str> {
    name.strip_prefix(PACKAGE)?.strip_prefix('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILTER: &str = "lockgate:filter/http-filter@0.1.0";

    #[test]
    fn what_a_filter_needs_is_let_in() {
        check(
            &[
                "lockgate:filter/types@0.1.0",
                "lockgate:filter/request@0.1.0",
                "lockgate:filter/trailers@0.1.0",
                "wasi:cli/stderr@0.2.6",
                "wasi:io/streams@0.2.0",
            ],
            &[
                FILTER,
                "lockgate:filter/background@0.1.0",
                "lockgate:filter/hand-over@0.1.0",
                "run",
            ],
            &[],
        );
    }

    #[test]
    fn what_needs_a_grant_is_told_with_what_would_grant_it() {
        let imports = ["lockgate:filter/shared@0.1.0", "lockgate:filter/log@0.1.0"];
        let missing = |shared| {
            let grants = Grants {
                shared,
                ..Grants::default()
            };
            missing_grants(imports, &grants)
        };
        assert_eq!(missing(false), [("shared", "grants: { shared: true }")]);
        assert_eq!(missing(true), []);
        let none = Grants::default();
        assert_eq!(
            missing_grants(["lockgate:filter/http-client@0.1.0"], &none),
            [("http-client", "grants: { call: [CLUSTER] }")]
        );
        assert_eq!(missing_grants(["lockgate:filter/log@0.1.0"], &none), []);
        assert_eq!(missing_grants(["lockgate:filter/secrets@0.1.0"], &none), []);
    }

    #[test]
    fn imports_beyond_that_are_refused() {
        let refused = |import: &str, message: &str| check(&[import], &[FILTER], &[message]);
        refused(
            "wasi:sockets/tcp@0.2.6",
            "imports `wasi:sockets/tcp@0.2.6`: filters have no network of their own",
        );
        refused(
            "wasi:http/outgoing-handler@0.2.6",
            "imports `wasi:http/outgoing-handler@0.2.6`: filters have no network of their own",
        );
        refused(
            "wasi:keyvalue/store@0.2.0",
            "imports `wasi:keyvalue/store@0.2.0`, which nobody provides",
        );
        refused(
            "wasi:io/streams@0.3.0",
            "imports `wasi:io/streams@0.3.0`, which nobody provides",
        );
        refused(
            "lockgate:filter/request@0.2.0",
            "`lockgate:filter/request@0.2.0` is not the version served here (0.1.0)",
        );
    }

    #[test]
    fn exports_beyond_that_are_refused() {
        check(
            &[],
            &[FILTER, "lockgate:filter/hand-over@0.2.0"],
            &["`lockgate:filter/hand-over@0.2.0` is not the version served here (0.1.0)"],
        );
        check(
            &[],
            &[FILTER, "lockgate:filter/background@0.2.0"],
            &["`lockgate:filter/background@0.2.0` is not the version served here (0.1.0)"],
        );
    }

    #[test]
    fn a_component_is_one_filter_and_imports_what_its_kind_has() {
        const CONNECTIONS: &str = "lockgate:filter/connection-filter@0.1.0";
        let connection = "lockgate:filter/connection@0.1.0";
        let kind = super::check([connection], [CONNECTIONS]).unwrap();
        assert_eq!(kind, Kind::Connections);
        assert_eq!(super::check([], [FILTER]).unwrap(), Kind::Exchanges);
        let two = "is a filter of exchanges (`http-filter`) and of connections \
                   (`connection-filter`), and must be one of them";
        check(&[], &[FILTER, CONNECTIONS], &[two]);
        check(
            &["lockgate:filter/request@0.1.0", "lockgate:filter/log@0.1.0"],
            &[CONNECTIONS],
            &[
                "imports `lockgate:filter/request@0.1.0`, which a filter of connections has no use for",
            ],
        );
        check(
            &[connection],
            &[FILTER],
            &[
                "imports `lockgate:filter/connection@0.1.0`, which a filter of exchanges has no use for",
            ],
        );
    }

    #[test]
    fn other_worlds_are_refused() {
        let other = "is a component of another world: it exports neither \
                     `lockgate:filter/http-filter@0.1.0` nor \
                     `lockgate:filter/connection-filter@0.1.0`";
        check(&[], &[], &[other]);
        check(&[], &["wasi:cli/run@0.2.6"], &[other]);
        check(
            &[],
            &["lockgate:filter/http-filter@0.2.0"],
            &["`lockgate:filter/http-filter@0.2.0` is not the version served here (0.1.0)"],
        );
    }

    fn check(imports: &[&str], exports: &[&str], messages: &[&str]) {
        let found = super::check(imports.iter().copied(), exports.iter().copied());
        let found = found.err().unwrap_or_default();
        let found: Vec<String> = found.iter().map(Refusal::to_string).collect();
        assert_eq!(found, messages);
    }
}
