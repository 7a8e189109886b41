//! What refers to an image: found by the referrers API of its registry, or under a
//! tag where a registry has no such API (OCI Distribution Specification 1.1).

use super::manifest::{Descriptor, Manifest};
use super::{PullError, bundle};
use crate::digest::Digest;

/// Pages of a list that are read, and referrers in it that are looked at.
pub(super) const MAX_PAGES: usize = 8;
pub(super) const MAX: usize = 32;
/// The bytes of the manifest of a bundle, which names one layer. Many may be looked at,
/// and each is kept.
pub(super) const MAX_MANIFEST: usize = 64 << 10;

/// The type of a configuration that is none. Clients of before the specification was
/// done put it in place of the type of the artifact.
const EMPTY: &str = "application/vnd.oci.empty.v1+json";
const PREDICATE_TYPE: &str = "dev.sigstore.bundle.predicateType";

/// Under which tag the list is where it cannot be asked for.
pub(super) fn tag_of(image: &Digest) -> String {
    format!("sha256-{}", image.hex())
}

/// Those in a list that may be bundles with a signature.
pub(super) fn bundles_in(list: &[u8]) -> Result<Vec<Digest>, PullError> {
    let Manifest::Index(referrers) = Manifest::read(list)? else {
        let reason = "referrers are in an index".to_owned();
        return Err(PullError::Manifest { reason });
    };
    let bundles = referrers.iter().filter(|referrer| may_be_bundle(referrer));
    // Those of another kind of digest are of somebody else.
    Ok(bundles.filter_map(|bundle| bundle.digest().ok()).collect())
}

fn may_be_bundle(referrer: &Descriptor) -> bool {
    let is_bundle = match referrer.artifact_type.as_deref() {
        None | Some("" | EMPTY) => true,
        Some(artifact_type) => bundle::is_type(artifact_type),
    };
    let predicate_type = referrer.annotations.get(PREDICATE_TYPE);
    is_bundle && predicate_type.is_none_or(|found| found == bundle::PREDICATE_TYPE)
}

/// The target of the link to the next page (RFC 8288).
pub(super) fn next_in(links: &str) -> Option<&str> {
    let mut rest = links;
    loop {
        let (_, link) = rest.split_once('<')?;
        let (target, after) = link.split_once('>')?;
        let (parameters, others) = after.split_at(after.find('<').unwrap_or(after.len()));
        if parameters.split([';', ',']).any(is_next) {
            return Some(target);
        }
        rest = others;
    }
}

fn is_next(parameter: &str) -> bool {
    let Some((name, value)) = parameter.split_once('=') else {
        return false;
    };
    let mut relations = value.trim().trim_matches('"').split_ascii_whitespace();
    name.trim().eq_ignore_ascii_case("rel")
        && relations.any(|relation| relation.eq_ignore_ascii_case("next"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_found() {
        let check = |links, wanted| assert_eq!(next_in(links), wanted, "{links}");
        check("</v2/a?n=1>; rel=\"next\"", Some("/v2/a?n=1"));
        check("</v2/a,b;c>;rel=next", Some("/v2/a,b;c"));
        check("<x>; Rel = \"prev Next\"", Some("x"));
        check("<x>; rel=prev, <y>; title=\"z\"; rel=next", Some("y"));
        check("<x>; rel=prev, <y>", None);
        check("<x; rel=next", None);
        check("x; rel=next", None);
        check("<x>; title=next", None);
        check("", None);
    }

    #[test]
    fn only_what_may_be_a_signature_is_looked_at() {
        let check = |more: &str, wanted: usize| {
            let digest = Digest::of(b"");
            let list = format!(
                r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"a","digest":"{digest}",
                   "size":1{more}}}]}}"#
            );
            let found = bundles_in(list.as_bytes()).unwrap();
            assert_eq!(found.len(), wanted, "{more}");
        };
        let of = |artifact_type| format!(r#","artifactType":"{artifact_type}""#);
        check("", 1);
        check(&of(""), 1);
        check(&of(EMPTY), 1);
        check(&of("application/vnd.dev.sigstore.bundle.v0.3+json"), 1);
        check(
            &of("application/vnd.dev.sigstore.bundle+json;version=0.2"),
            1,
        );
        check(&of("application/vnd.cncf.notary.signature"), 0);
        let with = |found| format!(r#","annotations":{{"{PREDICATE_TYPE}":"{found}"}}"#);
        check(&with(bundle::PREDICATE_TYPE), 1);
        check(&with("https://slsa.dev/provenance/v1"), 0);
    }
}
