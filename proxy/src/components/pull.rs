//! From a reference to the bytes of a component: manifest, layer, what is in it.

mod signer;

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::path::PathBuf;

use super::blobs::Blobs;
use super::layout::{self, Packing};
use super::manifest::{self, Descriptor, Manifest};
use super::registry::{Ask, Registry};
use super::{PullError, Wanted};
use crate::config::{Name, Pull, Reference, Version};
use crate::digest::Digest;

/// A component that came from a registry, now or before.
pub struct Pulled {
    pub bytes: Vec<u8>,
    /// What the reference stands for: the digest of its manifest.
    pub manifest: Digest,
    /// The trusted key that signed it, where one has to.
    pub signed_by: Option<Name>,
    /// Why it may not be what its tag stands for now.
    pub outdated: Option<PullError>,
}

/// What the pulls of one load came upon.
#[derive(Default)]
pub struct Pulls {
    /// Registries that could not be asked, by host: one that is gone is not waited for
    /// once for each of its components.
    absent: HashMap<String, PullError>,
    /// Files of the cache that the next load wants too.
    pub kept: BTreeSet<PathBuf>,
}

/// Goes the way, within the time that the registry has for it. Blocking.
pub(super) fn pull(
    blobs: Option<&Blobs>,
    wanted: &Wanted<'_>,
    pulls: &mut Pulls,
) -> Result<Pulled, PullError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error: io::Error| PullError::Unreachable {
        reason: error.to_string(),
    })?;
    let mut way = Way {
        wanted,
        blobs,
        kept: &mut pulls.kept,
        registry: Registry::new(&wanted.registry, &wanted.reference.name),
        asked: false,
        is_offline: false,
    };
    let timeout = wanted.registry.timeout;
    let pulled = match pulls.absent.get(&wanted.registry.host) {
        Some(absence) => Err(absence.clone()),
        None => runtime.block_on(async {
            let pulled = tokio::time::timeout(timeout, way.go()).await;
            pulled.unwrap_or(Err(PullError::Slow { timeout }))
        }),
    };
    let pulled = match pulled {
        Err(absence) if absence.is_absence() => {
            let host = wanted.registry.host.clone();
            pulls.absent.insert(host, absence.clone());
            runtime.block_on(way.go_as_before(absence))
        }
        pulled => pulled,
    };
    // A name server or a credential helper may still be waited for.
    runtime.shutdown_background();
    pulled
}

struct Way<'a> {
    wanted: &'a Wanted<'a>,
    blobs: Option<&'a Blobs>,
    kept: &'a mut BTreeSet<PathBuf>,
    registry: Registry<'a>,
    /// Whether anything came from the registry.
    asked: bool,
    /// Whether nothing more may come from it.
    is_offline: bool,
}

impl Way<'_> {
    async fn go(&mut self) -> Result<Pulled, PullError> {
        let reference = self.wanted.reference;
        let (digest, manifest) = match (&reference.version, self.wanted.pull) {
            (Version::Digest { digest, .. }, Pull::Missing) => {
                let manifest = self.manifest(digest).await?;
                (*digest, manifest)
            }
            (Version::Digest { digest, .. }, Pull::Always) => {
                let manifest = self.ask_for_manifest(&digest.to_string()).await?;
                (*digest, self.checked(digest, manifest, "the manifest")?)
            }
            (Version::Tag(tag), _) => {
                let manifest = self.ask_for_manifest(tag).await?;
                let digest = Digest::of(&manifest);
                self.keep(&digest, &manifest);
                (digest, manifest)
            }
        };
        let signed_by = self.signer(&digest).await?;
        let bytes = self.component(manifest).await?;
        if let Version::Tag(_) = &reference.version {
            self.keep_resolved(reference, &digest);
            tracing::info!(component = %reference, %digest, "resolved");
        }
        if self.asked {
            tracing::info!(component = %reference, bytes = bytes.len(), "pulled");
        }
        Ok(Pulled {
            bytes,
            manifest: digest,
            signed_by,
            outdated: None,
        })
    }

    /// What the reference stood for before, if all of that is in the cache.
    async fn go_as_before(&mut self, absence: PullError) -> Result<Pulled, PullError> {
        self.is_offline = true;
        let reference = self.wanted.reference;
        let is_tag = matches!(reference.version, Version::Tag(_));
        let known = match &reference.version {
            Version::Digest { digest, .. } => Some(*digest),
            Version::Tag(_) => self.resolved(reference),
        };
        let Some(manifest) = known else {
            return Err(absence);
        };
        match self.kept(manifest).await {
            Ok(pulled) => Ok(Pulled {
                outdated: is_tag.then_some(absence),
                ..pulled
            }),
            Err(_) => Err(absence),
        }
    }

    async fn kept(&mut self, manifest: Digest) -> Result<Pulled, PullError> {
        let signed_by = self.signer(&manifest).await?;
        let image = self.manifest(&manifest).await?;
        Ok(Pulled {
            bytes: self.component(image).await?,
            manifest,
            signed_by,
            outdated: None,
        })
    }

    async fn component(&mut self, manifest: Vec<u8>) -> Result<Vec<u8>, PullError> {
        let layers = match Manifest::read(&manifest)? {
            Manifest::Image(layers) => layers,
            Manifest::Index(images) => {
                let image = manifest::choose(&images)?.digest()?;
                let image = self.manifest(&image).await?;
                match Manifest::read(&image)? {
                    Manifest::Image(layers) => layers,
                    Manifest::Index(_) => {
                        let reason = "it is an index within an index".to_owned();
                        return Err(PullError::Manifest { reason });
                    }
                }
            }
        };
        let limit = self.wanted.max_bytes;
        let (layer, packing) = layout::find(&layers)?;
        let what = match packing {
            Packing::Plain => "the component",
            Packing::Tar | Packing::TarGzip => "the layer",
        };
        let layer = self.blob(layer, what, limit).await;
        let layer = layer.map_err(|error| match error {
            // Its limit is in the configuration.
            PullError::TooLong { what, limit } => PullError::TooLarge { what, limit },
            error => error,
        })?;
        layout::unpack(layer, packing, limit)
    }

    async fn manifest(&mut self, digest: &Digest) -> Result<Vec<u8>, PullError> {
        if let Some(manifest) = self.find(digest) {
            return Ok(manifest);
        }
        let manifest = self.ask_for_manifest(&digest.to_string()).await?;
        self.checked(digest, manifest, "the manifest")
    }

    async fn ask_for_manifest(&mut self, version: &str) -> Result<Vec<u8>, PullError> {
        let ask = Ask {
            path: &format!("manifests/{version}"),
            accept: manifest::ACCEPT,
            what: "the manifest",
            limit: manifest::MAX_BYTES,
        };
        self.ask(&ask).await
    }

    /// A blob that a manifest names, which says how large it is.
    async fn blob(
        &mut self,
        blob: &Descriptor,
        what: &str,
        limit: usize,
    ) -> Result<Vec<u8>, PullError> {
        let digest = blob.digest()?;
        let size = usize::try_from(blob.size).unwrap_or(usize::MAX);
        if size > limit {
            let what = what.to_owned();
            return Err(PullError::TooLong { what, limit });
        }
        if let Some(bytes) = self.find(&digest) {
            return Ok(bytes);
        }
        let ask = Ask {
            path: &format!("blobs/{digest}"),
            accept: "*/*",
            what,
            limit: size,
        };
        tracing::info!(component = %self.wanted.reference, bytes = size, "pulling {what}");
        let bytes = self.ask(&ask).await.map_err(|error| match error {
            // Its own limit is what the manifest says, and that was good.
            PullError::TooLong { what, .. } => PullError::Longer { what, size },
            error => error,
        })?;
        self.checked(&digest, bytes, what)
    }

    async fn ask(&mut self, ask: &Ask<'_>) -> Result<Vec<u8>, PullError> {
        Ok(self.ask_for_page(ask).await?.0)
    }

    /// Also where there is more of it.
    async fn ask_for_page(
        &mut self,
        ask: &Ask<'_>,
    ) -> Result<(Vec<u8>, Option<String>), PullError> {
        if self.is_offline {
            return Err(PullError::NotKept);
        }
        self.asked = true;
        self.registry.get(ask).await
    }

    /// Bytes that are what they were asked for as.
    fn checked(
        &mut self,
        wanted: &Digest,
        bytes: Vec<u8>,
        what: &str,
    ) -> Result<Vec<u8>, PullError> {
        let found = Digest::of(&bytes);
        if found != *wanted {
            let what = what.to_owned();
            return Err(PullError::Digest { what, found });
        }
        self.keep(wanted, &bytes);
        Ok(bytes)
    }

    fn find(&mut self, digest: &Digest) -> Option<Vec<u8>> {
        let blobs = self.blobs?;
        let bytes = blobs.find(digest)?;
        self.kept.insert(blobs.blob(digest));
        Some(bytes)
    }

    fn keep(&mut self, digest: &Digest, bytes: &[u8]) {
        if let Some(blobs) = self.blobs {
            blobs.keep(digest, bytes);
            self.kept.insert(blobs.blob(digest));
        }
    }

    fn resolved(&mut self, tag: &Reference) -> Option<Digest> {
        let blobs = self.blobs?;
        let digest = blobs.resolved(tag)?;
        self.kept.insert(blobs.tag(tag));
        Some(digest)
    }

    fn keep_resolved(&mut self, tag: &Reference, digest: &Digest) {
        if let Some(blobs) = self.blobs {
            blobs.keep_resolved(tag, digest);
            self.kept.insert(blobs.tag(tag));
        }
    }
}
