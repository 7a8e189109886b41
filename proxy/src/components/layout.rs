//! In which way an image holds a component: as a layer of its own, as the CNCF's
//! artifact layout and Istio's `oci` variant have it, or as the file `plugin.wasm` in
//! a layer of files, as Istio's `compat` variant and images of docker have it.

use std::io::{self, Read};

use flate2::read::MultiGzDecoder;

use super::PullError;
use super::manifest::Descriptor;
use super::registry::one_line;

/// Layers that are a component.
const COMPONENT: [&str; 3] = [
    "application/wasm",
    "application/vnd.wasm.content.layer.v1+wasm",
    "application/vnd.module.wasm.content.layer.v1+wasm",
];

/// Layers of files, by how they are packed.
const FILES: [(&str, Packing); 4] = [
    (
        "application/vnd.oci.image.layer.v1.tar+gzip",
        Packing::TarGzip,
    ),
    ("application/vnd.oci.image.layer.v1.tar", Packing::Tar),
    (
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
        Packing::TarGzip,
    ),
    ("application/vnd.docker.image.rootfs.diff.tar", Packing::Tar),
];

/// The name of the component among files, in whichever folder.
const PLUGIN: &str = "plugin.wasm";

/// How a layer holds a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    /// It is one.
    Plain,
    Tar,
    TarGzip,
}

/// The layer with the component.
pub(super) fn find(layers: &[Descriptor]) -> Result<(&Descriptor, Packing), PullError> {
    let is_component = |layer: &&Descriptor| COMPONENT.contains(&layer.media_type.as_str());
    let components: Vec<_> = layers.iter().filter(is_component).collect();
    match components.as_slice() {
        [component] => return Ok((component, Packing::Plain)),
        [] => {}
        components => {
            return Err(PullError::Several {
                count: components.len(),
            });
        }
    }
    // The last one covers what is below it.
    let last = layers.last().and_then(|layer| {
        let mut kinds = FILES.iter();
        let (_, packing) = kinds.find(|(media_type, _)| layer.media_type == *media_type)?;
        Some((layer, *packing))
    });
    last.ok_or_else(|| PullError::MediaType {
        found: layers
            .iter()
            .map(|layer| shown(&layer.media_type))
            .collect(),
    })
}

/// What a registry says, as much as fits into a message.
fn shown(media_type: &str) -> String {
    one_line(media_type, 100)
}

/// The component in a layer. No more than the limit is ever unpacked.
pub(super) fn unpack(layer: Vec<u8>, packing: Packing, limit: usize) -> Result<Vec<u8>, PullError> {
    match packing {
        Packing::Plain => Ok(layer),
        Packing::Tar => from_tar(layer.as_slice(), limit),
        Packing::TarGzip => from_tar(MultiGzDecoder::new(layer.as_slice()), limit),
    }
}

fn from_tar(files: impl Read, limit: usize) -> Result<Vec<u8>, PullError> {
    let limited = Limited {
        inner: files,
        left: limit,
    };
    let mut archive = tar::Archive::new(limited);
    let unpack = |error: io::Error| match error.get_ref().is_some_and(|error| error.is::<TooMuch>())
    {
        true => too_large(limit),
        false => PullError::Unpack {
            reason: error.to_string(),
        },
    };
    for entry in archive.entries().map_err(unpack)? {
        let entry = entry.map_err(unpack)?;
        let path = entry.path().map_err(unpack)?.into_owned();
        let is_plugin = path.file_name().is_some_and(|name| name == PLUGIN);
        if is_plugin && entry.header().entry_type().is_file() {
            let mut component = Vec::new();
            // What the archive says of its size is not what was read of it.
            let most = u64::try_from(limit).unwrap_or(u64::MAX);
            let mut entry = entry.take(most.saturating_add(1));
            entry.read_to_end(&mut component).map_err(unpack)?;
            return match component.len() > limit {
                true => Err(too_large(limit)),
                false => Ok(component),
            };
        }
    }
    Err(PullError::NoPlugin)
}

fn too_large(limit: usize) -> PullError {
    PullError::TooLarge {
        what: "the unpacked layer".to_owned(),
        limit,
    }
}

/// Fails once so much was read: a small layer may unpack to a huge one.
struct Limited<R> {
    inner: R,
    left: usize,
}

#[derive(Debug, thiserror::Error)]
#[error("too much")]
struct TooMuch;

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        let left = self.left.checked_sub(count);
        self.left = left.ok_or_else(|| io::Error::other(TooMuch))?;
        Ok(count)
    }
}
