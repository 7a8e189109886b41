//! The keys of a registry.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::units::{HOUR, Time};

/// What is to be known of a registry that components are pulled from. One that is
/// not listed is asked over HTTPS, with docker's own credentials.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Registry")]
pub(in crate::config) struct RawRegistry {
    /// The host as references have it, with the port if they have one:
    /// `registry.example:5000`.
    #[schemars(required, with = "String", extend("x-wanted" = "a host name or address, with a port if references have one"))]
    pub(in crate::config) host: Option<String>,
    /// Whether it is asked over HTTP without TLS.
    #[serde(default)]
    pub(in crate::config) plain_http: bool,
    /// The path of a docker `config.json` with the credentials for it, relative to
    /// the file it is written in. Without this key it is the one in
    /// `$DOCKER_CONFIG` or `~/.docker`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(min = 1), extend("x-wanted" = "the path of a file"))]
    pub(in crate::config) credentials: Option<PathBuf>,
    /// The path of a file with certificates in PEM that are trusted beside those of
    /// the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(min = 1), extend("x-wanted" = "the path of a file"))]
    pub(in crate::config) ca: Option<PathBuf>,
    /// How long it may take to pull one component, from the first request to the
    /// last byte.
    #[serde(default = "a_minute")]
    pub(in crate::config) timeout: Time<1, HOUR>,
}

fn a_minute() -> Time<1, HOUR> {
    Time(60_000)
}
