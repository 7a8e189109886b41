//! Who signed an image: by an image under a tag that tells of which one (cosign 1 and
//! 2), or by a bundle that refers to it (cosign 3).
//!
//! One good signature does. What is no good is passed over, and if that is all there
//! is, the reason is told that tells most.

use super::Way;
use crate::components::manifest::{self, Manifest};
use crate::components::registry::Ask;
use crate::components::{PullError, Untrusted, bundle, referrers, trust};
use crate::config::{Name, Reference};
use crate::digest::Digest;

impl Way<'_> {
    /// The trusted key that signed an image. A good signature stays good, so one that
    /// was seen before does for it.
    pub(super) async fn signer(&mut self, image: &Digest) -> Result<Option<Name>, PullError> {
        if self.wanted.trust.is_empty() {
            return Ok(None);
        }
        if let Some(signer) = self.kept_signer(image).await {
            return Ok(Some(signer));
        }
        // First what is a single request where there is one.
        let why = match self.signer_by_tag(image).await {
            Err(PullError::Untrusted(why)) => why,
            decided => return decided.map(Some),
        };
        match self.signer_by_bundle(image).await {
            Err(PullError::Untrusted(other)) => Err(why.or(other).into()),
            decided => decided.map(Some),
        }
    }

    async fn kept_signer(&mut self, image: &Digest) -> Option<Name> {
        if let Some(known) = self.resolved(&self.signatures(image))
            && let Some(manifest) = self.find(&known)
            && let Ok(signer) = self.signer_in(&manifest, image).await
        {
            return Some(signer);
        }
        let known = self.resolved(&self.bundle(image))?;
        self.signer_of_bundle(&known, image).await.ok()
    }

    /// Where the signatures of an image are.
    fn signatures(&self, image: &Digest) -> Reference {
        self.wanted.reference.tagged(&trust::tag_of(image))
    }

    /// Under which name it is known which of the bundles was good. No registry has it.
    fn bundle(&self, image: &Digest) -> Reference {
        let tag = format!("{}.bundle", referrers::tag_of(image));
        self.wanted.reference.tagged(&tag)
    }

    async fn signer_by_tag(&mut self, image: &Digest) -> Result<Name, PullError> {
        let tag = trust::tag_of(image);
        let manifest = match self.ask_for_manifest(&tag).await {
            Ok(manifest) => manifest,
            Err(PullError::Unknown { .. }) => return Err(unsigned(image).into()),
            Err(error) => return Err(passed_over(error, &format!("`{tag}`"))?.into()),
        };
        let signer = self.signer_in(&manifest, image).await?;
        let digest = Digest::of(&manifest);
        self.keep(&digest, &manifest);
        self.keep_resolved(&self.signatures(image), &digest);
        Ok(signer)
    }

    /// The first trusted key among those who signed.
    async fn signer_in(&mut self, manifest: &[u8], image: &Digest) -> Result<Name, PullError> {
        let place = format!("`{}`", trust::tag_of(image));
        let layers = match image_of(manifest) {
            Ok(layers) => layers,
            Err(error) => return Err(passed_over(error, &place)?.into()),
        };
        let mut why = Untrusted::Unknown;
        for (payload, signature) in trust::payloads(&layers) {
            let payload = self.blob(payload, "the signed payload", trust::MAX_PAYLOAD);
            let checked = match payload.await {
                Ok(payload) => trust::check_payload(&payload, &signature, image, self.wanted.trust),
                Err(error) => Err(passed_over(error, &place)?),
            };
            match checked {
                Ok(signer) => return Ok(signer),
                Err(other) => why = why.or(other),
            }
        }
        Err(why.into())
    }

    async fn signer_by_bundle(&mut self, image: &Digest) -> Result<Name, PullError> {
        let mut why = unsigned(image);
        let found = match self.bundles(image).await {
            Ok(found) => found,
            Err(error) => return Err(passed_over(error, "a list of referrers")?.into()),
        };
        for digest in found.into_iter().take(referrers::MAX) {
            match self.signer_of_bundle(&digest, image).await {
                Ok(signer) => {
                    self.keep_resolved(&self.bundle(image), &digest);
                    return Ok(signer);
                }
                Err(error) => why = why.or(passed_over(error, &format!("`{digest}`"))?),
            }
        }
        Err(why.into())
    }

    /// By whom the bundle is signed that is in the image of this digest.
    async fn signer_of_bundle(
        &mut self,
        digest: &Digest,
        image: &Digest,
    ) -> Result<Name, PullError> {
        let manifest = self.referrer(digest).await?;
        let layers = image_of(&manifest)?;
        let mut layers = layers.iter();
        let layer = layers.find(|layer| bundle::is_type(&layer.media_type));
        let layer = layer.ok_or_else(|| PullError::Manifest {
            reason: "there is no bundle in it".to_owned(),
        })?;
        let bundle = self.blob(layer, "the bundle", bundle::MAX_BYTES).await?;
        let place = format!("`{digest}`");
        Ok(bundle::check_image(
            &bundle,
            image,
            self.wanted.trust,
            &place,
        )?)
    }

    async fn referrer(&mut self, digest: &Digest) -> Result<Vec<u8>, PullError> {
        if let Some(manifest) = self.find(digest) {
            return Ok(manifest);
        }
        let what = "its manifest";
        let ask = Ask {
            path: &format!("manifests/{digest}"),
            accept: manifest::ACCEPT,
            what,
            limit: referrers::MAX_MANIFEST,
        };
        let manifest = self.ask(&ask).await?;
        self.checked(digest, manifest, what)
    }

    /// What refers to an image and may be a bundle.
    async fn bundles(&mut self, image: &Digest) -> Result<Vec<Digest>, PullError> {
        match self.listed_bundles(image).await {
            Err(error) if is_without_referrers(&error) => {}
            listed => return listed,
        }
        match self.ask_for_manifest(&referrers::tag_of(image)).await {
            Ok(list) => referrers::bundles_in(&list),
            Err(PullError::Unknown { .. }) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    async fn listed_bundles(&mut self, image: &Digest) -> Result<Vec<Digest>, PullError> {
        let mut path = format!("referrers/{image}");
        let mut found = Vec::new();
        for _ in 0..referrers::MAX_PAGES {
            let ask = Ask {
                path: &path,
                accept: manifest::INDEX,
                what: "a page of referrers",
                limit: manifest::MAX_BYTES,
            };
            let (list, next) = self.ask_for_page(&ask).await?;
            found.extend(referrers::bundles_in(&list)?);
            match next {
                Some(next) if found.len() < referrers::MAX => path = next,
                _ => break,
            }
        }
        Ok(found)
    }
}

fn unsigned(image: &Digest) -> Untrusted {
    let tag = trust::tag_of(image);
    Untrusted::Unsigned {
        place: format!("`{tag}` and no bundle with a signature in its registry"),
    }
}

/// Whether the registry has no referrers API. Some answer with a page for people.
fn is_without_referrers(error: &PullError) -> bool {
    matches!(
        error,
        PullError::Unknown { .. }
            | PullError::Manifest { .. }
            | PullError::Status {
                status: 400 | 405 | 406,
                ..
            }
    )
}

fn image_of(manifest: &[u8]) -> Result<Vec<manifest::Descriptor>, PullError> {
    match Manifest::read(manifest)? {
        Manifest::Image(layers) => Ok(layers),
        Manifest::Index(_) => Err(PullError::Manifest {
            reason: "signatures are in no index".to_owned(),
        }),
    }
}

/// Why a signature that could be got, or is not there, is no good. What is about the
/// registry is about all of them.
fn passed_over(error: PullError, place: &str) -> Result<Untrusted, PullError> {
    match error {
        PullError::Untrusted(why) => Ok(why),
        error if error.is_about_content() => Ok(Untrusted::illegible(place, &error.to_string())),
        error => Err(error),
    }
}
