//! Why there is no component.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::Untrusted;
use crate::digest::Digest;

/// Why a file is no component.
#[derive(Debug, thiserror::Error)]
pub enum NoFile {
    #[error("{0}")]
    Unreadable(#[from] io::Error),
    #[error("is no regular file")]
    NotRegular,
    #[error("is larger than `limits.max_component_bytes`, which is {limit}")]
    TooLarge { limit: usize },
}

/// Why nothing came from a registry. Reads on from the reference.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PullError {
    #[error("whose registry cannot be asked: {reason}")]
    Unreachable { reason: String },
    #[error("whose registry was not done within {timeout:?}")]
    Slow { timeout: Duration },
    #[error("whose registry answers {status} for {what}{}", told(.said))]
    Status {
        status: u16,
        what: String,
        said: Option<String>,
    },
    #[error("whose registry does not know it{}", told(.said))]
    Unknown { said: Option<String> },
    #[error("whose registry wants credentials, and there are none for it in {looked}{}", told(.said))]
    NoCredentials {
        looked: String,
        said: Option<String>,
    },
    #[error("whose registry refuses it, and asked for no credentials{}", told(.said))]
    Closed { said: Option<String> },
    #[error("whose registry refuses the credentials of {looked}{}", told(.said))]
    Denied {
        looked: String,
        said: Option<String>,
    },
    #[error("whose credentials cannot be read: {looked}: {reason}")]
    Credentials { looked: String, reason: String },
    #[error("whose registry asks for a login in a way that is not known: `{challenge}`")]
    Challenge { challenge: String },
    #[error("whose registry redirects {reason}")]
    Redirect { reason: &'static str },
    #[error("of which {what} is {found} by its bytes")]
    Digest { what: String, found: Digest },
    #[error("of which {what} is longer than the {size} bytes that its manifest says")]
    Longer { what: String, size: usize },
    #[error("of which {what} is larger than {limit} bytes")]
    TooLarge { what: String, limit: usize },
    /// By a limit that is in no configuration.
    #[error("of which {what} is larger than {limit} bytes")]
    TooLong { what: String, limit: usize },
    #[error("whose manifest cannot be read: {reason}")]
    Manifest { reason: String },
    #[error("which holds {}", held(.found))]
    MediaType { found: Vec<String> },
    #[error("which holds {count} components")]
    Several { count: usize },
    #[error("which is an index of {count} images, none of them for WebAssembly or this machine")]
    Platform { count: usize },
    #[error("whose layer cannot be unpacked: {reason}")]
    Unpack { reason: String },
    #[error("whose layer has no file `plugin.wasm`")]
    NoPlugin,
    #[error(transparent)]
    Untrusted(#[from] Untrusted),
    #[error("which is not in the cache")]
    NotKept,
    #[error("whose registry cannot be asked: cannot use the certificates in `{}`: {reason}", .path.display())]
    Certificates { path: PathBuf, reason: String },
}

/// How a certificate is refused that vouches for itself and is not marked as a server's.
const OWN_AUTHORITY: &str = "CaUsedAsEndEntity";

impl PullError {
    /// What would do instead.
    pub fn wanted(&self) -> &'static str {
        match self {
            Self::Unreachable { reason } if is_plain_http(reason) => {
                "a registry that speaks TLS, or one with `plain_http: true` in `registries`"
            }
            Self::Unreachable { reason } if reason.contains(OWN_AUTHORITY) => {
                "a registry with a certificate that the one in `ca` issued: its own is an \
                 authority (`CA:TRUE`), which no server may be"
            }
            Self::Unreachable { .. } | Self::Status { .. } => "a registry that answers",
            Self::Slow { .. } => "a faster one, or a longer `timeout` in `registries`",
            Self::Closed { .. } => {
                "one that is given to whoever asks, or a registry that wants credentials"
            }
            Self::Unknown { .. } => "a name and version that it has",
            Self::NoCredentials { .. } | Self::Denied { .. } | Self::Credentials { .. } => {
                "credentials that it takes, as `docker login` writes them"
            }
            Self::Challenge { .. } => "a registry with `Basic` or `Bearer` authentication",
            Self::Redirect { .. } => "at most 5 redirects, from HTTPS to HTTPS only",
            Self::Digest { .. } | Self::Longer { .. } => "the bytes that were asked for",
            Self::TooLong { .. } => "a smaller one",
            Self::TooLarge { .. } => "a smaller one, or more in `limits.max_component_bytes`",
            Self::Manifest { .. } | Self::Platform { .. } => "the manifest of a component",
            Self::MediaType { .. } => {
                "a layer of `application/wasm`, or the layer of an image with `plugin.wasm`"
            }
            Self::Several { .. } => "exactly one",
            Self::Unpack { .. } => "a layer as its media type says",
            Self::NoPlugin => "`plugin.wasm`, as Istio has it",
            Self::Untrusted(_) => Untrusted::WANTED,
            Self::NotKept => "one that was pulled before",
            Self::Certificates { .. } => "a file with certificates in PEM",
        }
    }

    /// Whether it says something about what was asked for, and nothing about the
    /// registry.
    pub(super) fn is_about_content(&self) -> bool {
        matches!(
            self,
            Self::Unknown { .. }
                | Self::Digest { .. }
                | Self::Longer { .. }
                | Self::TooLarge { .. }
                | Self::TooLong { .. }
                | Self::Manifest { .. }
        )
    }

    /// Whether the registry could not be asked at all, which says nothing about
    /// what it would have answered.
    pub fn is_absence(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Slow { .. } => true,
            Self::Status { status, .. } => *status >= 500 || *status == 429,
            _ => false,
        }
    }
}

/// What a TLS client makes of an answer without TLS.
fn is_plain_http(reason: &str) -> bool {
    reason.contains("InvalidContentType")
}

fn told(said: &Option<String>) -> String {
    said.as_ref()
        .map_or_else(String::new, |said| format!(": {said}"))
}

/// The first few say what kind of image it is.
fn held(found: &[String]) -> String {
    const SHOWN: usize = 3;
    let first = found.iter().take(SHOWN);
    let first: Vec<_> = first.map(|found| format!("`{found}`")).collect();
    match found.len() {
        0 => "nothing".to_owned(),
        count if count > SHOWN => {
            let (first, more) = (first.join(", "), count - SHOWN);
            format!("{first} and {more} more layers, and no component")
        }
        _ => format!("{} and no component", first.join(", ")),
    }
}
