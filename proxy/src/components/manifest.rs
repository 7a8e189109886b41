//! Manifests and indexes, as the OCI Image Format and Docker have them.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::PullError;
use crate::digest::Digest;

/// What is asked for as a list.
pub(super) const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// What is asked for as a manifest.
pub(super) const ACCEPT: &str = "application/vnd.oci.image.manifest.v1+json, \
     application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json, \
     application/vnd.docker.distribution.manifest.list.v2+json";

/// The bytes of a manifest. The specification wants registries to take as many.
pub(super) const MAX_BYTES: usize = 4 << 20;

/// What a reference leads to.
pub(super) enum Manifest {
    Image(Vec<Descriptor>),
    /// Images for several platforms.
    Index(Vec<Descriptor>),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    schema_version: u32,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
}

/// Where bytes are, and what they are.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    pub(super) media_type: String,
    digest: String,
    pub(super) size: u64,
    #[serde(default)]
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) artifact_type: Option<String>,
    platform: Option<Platform>,
}

#[derive(Debug, Clone, Deserialize)]
struct Platform {
    architecture: String,
}

impl Manifest {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, PullError> {
        let wrong = |reason| Err(PullError::Manifest { reason });
        let shape: Shape = match serde_json::from_slice(bytes) {
            Ok(shape) => shape,
            Err(error) => return wrong(error.to_string()),
        };
        match shape {
            Shape {
                schema_version: 2,
                layers: Some(layers),
                manifests: None,
            } => Ok(Self::Image(layers)),
            Shape {
                schema_version: 2,
                layers: None,
                manifests: Some(manifests),
            } => Ok(Self::Index(manifests)),
            Shape {
                schema_version: 2, ..
            } => wrong("it has neither `layers` nor `manifests`".to_owned()),
            Shape { schema_version, .. } => wrong(format!("its version is {schema_version}")),
        }
    }
}

impl Descriptor {
    pub(super) fn digest(&self) -> Result<Digest, PullError> {
        Digest::read(&self.digest).ok_or_else(|| PullError::Manifest {
            reason: "it names something by another digest than SHA-256".to_owned(),
        })
    }

    fn is_for(&self, architecture: &str) -> bool {
        let platform = self.platform.as_ref();
        platform.is_some_and(|platform| platform.architecture == architecture)
    }
}

/// The image that is meant: the one for WebAssembly, else the one for this machine,
/// because images are built for machines also where they hold no program of theirs.
/// Where there is only one, it is that. Builders add attestations, of an unknown
/// platform.
pub(super) fn choose(images: &[Descriptor]) -> Result<&Descriptor, PullError> {
    let machine = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let find = |architecture| images.iter().find(|image| image.is_for(architecture));
    let known: Vec<_> = images
        .iter()
        .filter(|image| !image.is_for("unknown"))
        .collect();
    let only = match known.as_slice() {
        [only] => Some(*only),
        _ => None,
    };
    let found = find("wasm").or_else(|| find(machine)).or(only);
    found.ok_or(PullError::Platform {
        count: images.len(),
    })
}
