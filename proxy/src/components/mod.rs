//! Where components come from that are not inside the binary: files and registries.
//!
//! Takes what the configuration says of a component; gives its bytes, and for one of
//! a registry the digest of the manifest that named them, or why there are none.
//! Blocking, and on the control side only.
//! Where keys are trusted, gives none that is not signed by one of them.
//! Must never: believe bytes that do not match a digest, keep more of an answer than
//! its limit, wait longer than its time, send credentials to whom they are not for,
//! or speak HTTP without TLS to a registry that is not named for it.
//!
//! What is pulled is kept in `Blobs` by digest, manifests too, so that the way from
//! a digest in the configuration to the bytes can be gone again without a registry.

mod blobs;
mod bundle;
mod credentials;
mod error;
mod file;
mod layout;
mod login;
mod manifest;
mod pull;
mod referrers;
mod registry;
mod trust;

use std::path::Path;
use std::time::Duration;

pub use error::{NoFile, PullError};
pub use file::read as read_file;
pub use pull::{Pulled, Pulls};
pub use trust::{Untrusted, check_file, signatures_of};

use crate::config::{Config, Pull, Reference, Registry, TrustedKey};
use blobs::Blobs;

/// How long a pull may take from a registry that the configuration does not name.
const TIMEOUT: Duration = Duration::from_secs(60);

/// What is known of components between one load and the next.
pub struct Components {
    /// Without a folder, everything is pulled each time.
    blobs: Option<Blobs>,
}

/// A component of a registry, and how it is to be got.
pub struct Wanted<'a> {
    pub reference: &'a Reference,
    pub pull: Pull,
    pub registry: Registry,
    /// Of the component, and of what it is unpacked from.
    pub max_bytes: usize,
    /// Of which one has to have signed it; of none, nobody.
    pub trust: &'a [TrustedKey],
}

impl Components {
    pub fn new(cache_dir: Option<&Path>) -> Self {
        Self {
            blobs: cache_dir.map(Blobs::new),
        }
    }

    /// Pulls a component, or finds it in the cache. Blocking.
    pub fn pull(&self, wanted: &Wanted<'_>, pulls: &mut Pulls) -> Result<Pulled, PullError> {
        pull::pull(self.blobs.as_ref(), wanted, pulls)
    }
}

/// What a configuration says of the registry of this host.
pub fn registry(config: &Config, host: &str) -> Registry {
    let mut named = config.registries.iter();
    let named = named.find(|registry| registry.host == host).cloned();
    named.unwrap_or_else(|| unnamed(host))
}

/// A registry of which no configuration says anything.
pub fn unnamed(host: &str) -> Registry {
    Registry {
        host: host.to_owned(),
        plain_http: false,
        credentials: None,
        ca: None,
        timeout: TIMEOUT,
    }
}
