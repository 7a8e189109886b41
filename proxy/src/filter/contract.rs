//! What a component may import and must export. Imports are the permission
//! list, so this decides what loads. Pure: names in, refusals out.

use std::fmt;

use crate::config::Grants;

/// The package of the contract and the version that this host serves.
const PACKAGE: &str = "lockgate:filter";
pub const VERSION: &str = "0.1.0";

/// The interfaces of `lockgate:filter` that filters may import. [`SHARED`] and
/// [`HTTP_CLIENT`] need a grant. `secrets` needs none to be imported: each use of it
/// names a secret and is denied unless that one is granted, so the import alone
/// gives nothing. And what a component imports it imports for every configuration,
/// also for one that has no use for secrets.
const SERVED: [&str; 11] = [
    "types",
    "request",
    "response",
    "trailers",
    "exchange",
    "log",
    "metrics",
    "host",
    "secrets",
    SHARED,
    HTTP_CLIENT,
];
const SHARED: &str = "shared";
pub(super) const HTTP_CLIENT: &str = "http-client";
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
    /// It imports what only connection filters have, or exports no HTTP filter.
    ConnectionFilter,
    NoFilter,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::OtherVersion(name) => {
                write!(f, "`{name}` is not the version served here ({VERSION})")
            }
            Refusal::Network(name) => {
                write!(f, "imports `{name}`: filters have no network of their own")
            }
            Refusal::UnknownImport(name) => write!(f, "imports `{name}`, which nobody provides"),
            Refusal::ConnectionFilter => f.write_str(
                "is a connection filter (`connection-filter`), \
                 which is not served by this version",
            ),
            Refusal::NoFilter => write!(
                f,
                "is a component of another world: it does not export `{PACKAGE}/http-filter@{VERSION}`"
            ),
        }
    }
}

/// Everything that speaks against a component with these imports and exports.
pub fn check<'a>(
    imports: impl IntoIterator<Item = &'a str>,
    exports: impl IntoIterator<Item = &'a str>,
) -> Vec<Refusal> {
    let mut refusals: Vec<Refusal> = imports.into_iter().filter_map(check_import).collect();
    let mut has_filter = false;
    for export in exports {
        match check_export(export) {
            Ok(Export::HttpFilter) => has_filter = true,
            Ok(Export::Optional | Export::Other) => {}
            Err(refusal) => refusals.push(refusal),
        }
    }
    let explains_itself = |refusal: &Refusal| {
        matches!(
            refusal,
            Refusal::OtherVersion(_) | Refusal::ConnectionFilter
        )
    };
    if !has_filter && !refusals.iter().any(explains_itself) {
        refusals.push(Refusal::NoFilter);
    }
    refusals.dedup();
    refusals
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
            "connection" => Some(Refusal::ConnectionFilter),
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
    HttpFilter,
    /// What is called where it is there.
    Optional,
    /// What nobody calls, `_start` of some tool for example.
    Other,
}

fn check_export(export: &str) -> Result<Export, Refusal> {
    let (name, version) = split(export);
    match of_package(name) {
        Some("http-filter") if version == VERSION => Ok(Export::HttpFilter),
        Some(BACKGROUND | HAND_OVER) if version == VERSION => Ok(Export::Optional),
        Some("http-filter" | BACKGROUND | HAND_OVER) => {
            Err(Refusal::OtherVersion(export.to_owned()))
        }
        Some("connection-filter") => Err(Refusal::ConnectionFilter),
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
        let connection = "is a connection filter (`connection-filter`), \
                          which is not served by this version";
        check(
            &["lockgate:filter/connection@0.1.0"],
            &["lockgate:filter/connection-filter@0.1.0"],
            &[connection],
        );
    }

    #[test]
    fn other_worlds_are_refused() {
        let other = "is a component of another world: \
                     it does not export `lockgate:filter/http-filter@0.1.0`";
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
        let found: Vec<String> = found.iter().map(Refusal::to_string).collect();
        assert_eq!(found, messages);
    }
}
