//! `lockgate.lock`: what each filter was and might do when somebody last looked.
//! Beside a configuration it keeps a filter that wants more from being loaded.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{fmt, fs, io};

use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::{Origin, Reason, Snapshot};
use crate::config::{Config, Filter, Grants, Mistake, Places, Reference, SecretUse};
use crate::filter::LoadedFilter;

/// The name of the file, in the folder of the configuration.
const NAME: &str = "lockgate.lock";
const RENEW: &str = "what `lockgate filter lock` wrote, which renews it";

/// Filters by name; the canary of `auth` is `auth/canary` and its shadow `auth/shadow`,
/// which no filter is called.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Lock(BTreeMap<String, Locked>);

/// The file is not written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write `{}`, wanted a file that can be replaced, or none", path.display())]
pub struct Unwritten {
    path: PathBuf,
    source: io::Error,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Locked {
    /// Another one with the same wishes may be loaded: this is for people, and
    /// for what compares two locks.
    digest: String,
    /// Where it came from, if that was a registry, by the digest there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pulled: Option<String>,
    imports: BTreeSet<String>,
    grants: BTreeSet<String>,
    /// How much it may share, where it may at all. Locks from before have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_shared_bytes: Option<usize>,
}

/// Where the lock of a configuration is, or would be.
pub fn path_of(config: &Path) -> PathBuf {
    config.with_file_name(NAME)
}

/// The lock of a configuration, if it has one.
pub fn read(config: &Path) -> Result<Option<Lock>, String> {
    match fs::read(path_of(config)) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| format!("a `{NAME}` that is none: {error}")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("a `{NAME}` that cannot be read: {error}")),
    }
}

/// Writes the lock of a configuration, aside first, so that a reload never sees
/// half of it.
pub fn write(config: &Path, lock: &Lock) -> Result<PathBuf, Unwritten> {
    let path = path_of(config);
    let aside = path.with_extension(format!("lock.{}", std::process::id()));
    let mut text = serde_json::to_string_pretty(lock).expect("a lock is JSON with text for keys");
    text.push('\n');
    let written = fs::write(&aside, text).and_then(|()| fs::rename(&aside, &path));
    match written {
        Ok(()) => Ok(path),
        Err(source) => {
            // What is left aside is only waste; the first error is what counts.
            fs::remove_file(&aside).ok();
            Err(Unwritten { path, source })
        }
    }
}

/// Not derived, because then the last of entries with one name would count.
impl<'de> Deserialize<'de> for Lock {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Entries).map(Self)
    }
}

struct Entries;

impl<'de> Visitor<'de> for Entries {
    type Value = BTreeMap<String, Locked>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of filters")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = BTreeMap::new();
        while let Some(name) = map.next_key::<String>()? {
            if entries.contains_key(&name) {
                return Err(A::Error::custom(format_args!("`{name}` a second time")));
            }
            entries.insert(name, map.next_value()?);
        }
        Ok(entries)
    }
}

impl Lock {
    /// What the filters of a snapshot are and may do.
    pub fn of(snapshot: &Snapshot) -> Self {
        let versions = versions(snapshot);
        let entries =
            versions.map(|version| (version.role.entry(version.block), Locked::of(&version)));
        Self(entries.collect())
    }

    /// Why this entry may not be loaded with a component that imports this. It is asked
    /// before anything of the component runs.
    pub(super) fn refuses(
        &self,
        config: &Config,
        entry: &Filter,
        imports: &[String],
    ) -> Option<Mistake> {
        let role = Role::of(entry);
        let wanted = Locked::wanting(imports, entry);
        self.refuse(&config.places, role, entry, &entry.pointer, &wanted)
    }

    /// Every filter that wants more than is locked, and what that is.
    pub fn check(&self, snapshot: &Snapshot) -> Vec<Mistake> {
        let places = &snapshot.config.places;
        let refused = versions(snapshot).filter_map(|version| {
            let (role, pointer) = (version.role, version.pointer());
            self.refuse(places, role, version.block, pointer, &Locked::of(&version))
        });
        refused.collect()
    }

    fn refuse(
        &self,
        places: &Places,
        role: Role,
        filter: &Filter,
        pointer: &str,
        wanted: &Locked,
    ) -> Option<Mistake> {
        let (what, name) = (role.word(), role.entry(filter));
        let found = match self.0.get(&name) {
            None => format!("the {what} `{name}`, which is not in `{NAME}`"),
            Some(locked) => {
                let more = wanted.beyond(locked);
                if more.is_empty() {
                    return None;
                }
                format!("a {what} that newly wants {}", more.join(", "))
            }
        };
        Some(Mistake::at(places, pointer, found, RENEW))
    }

    /// What changed since another lock, in words.
    pub fn changes_since(&self, before: &Lock) -> Vec<String> {
        let mut changes = Vec::new();
        for (name, locked) in &self.0 {
            match before.0.get(name) {
                None => changes.push(format!("{name}: new, {}", locked.in_words())),
                Some(known) if known == locked => {}
                Some(known) => {
                    let more = locked.beyond(known);
                    changes.push(match more.is_empty() {
                        true => format!("{name}: another version, which wants no more"),
                        false => format!("{name}: newly wants {}", more.join(", ")),
                    });
                }
            }
        }
        let gone = before.0.keys().filter(|name| !self.0.contains_key(*name));
        changes.extend(gone.map(|name| format!("{name}: gone")));
        changes
    }
}

/// As what a version was written into the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Filter,
    Canary,
    Shadow,
}

impl Role {
    fn of(entry: &Filter) -> Self {
        match entry.trial() {
            None => Role::Filter,
            Some("shadow") => Role::Shadow,
            Some(_) => Role::Canary,
        }
    }

    /// What the lock calls it.
    fn entry(self, filter: &Filter) -> String {
        match self {
            Role::Filter => filter.name.to_string(),
            Role::Canary | Role::Shadow => format!("{}/{}", filter.name, self.word()),
        }
    }

    fn word(self) -> &'static str {
        match self {
            Role::Filter => "filter",
            Role::Canary => "canary",
            Role::Shadow => "shadow",
        }
    }
}

/// A version that serves, or is compared with one.
struct Version<'a> {
    role: Role,
    block: &'a Filter,
    loaded: &'a LoadedFilter,
    origin: Option<&'a Origin>,
}

impl Version<'_> {
    /// The one with its grants.
    fn granting(&self) -> &Filter {
        match self.role {
            Role::Filter | Role::Canary => self.block,
            // It may call others.
            Role::Shadow => self.loaded.block(),
        }
    }

    fn pointer(&self) -> &str {
        let Filter { canary, shadow, .. } = self.block;
        match (self.role, canary, shadow) {
            (Role::Canary, Some(canary), _) => &canary.pointer,
            (Role::Shadow, _, Some(shadow)) => &shadow.pointer,
            _ => &self.block.pointer,
        }
    }
}

/// Every version that serves, canaries among them, and every shadow. A promoted one
/// stays a canary for as long as it is one in the file.
fn versions(snapshot: &Snapshot) -> impl Iterator<Item = Version<'_>> {
    snapshot.config.filters.iter().flat_map(|block| {
        let name = &block.name;
        let standing = snapshot.standing(name);
        let is_promoted = standing.is_some_and(|standing| standing.reason == Reason::Promoted);
        let serving = snapshot.filter(name).map(|loaded| Version {
            role: if is_promoted {
                Role::Canary
            } else {
                Role::Filter
            },
            block,
            loaded,
            origin: snapshot.origins.get(name),
        });
        let canary = snapshot.canary(name).map(|loaded| Version {
            role: Role::Canary,
            block,
            loaded,
            origin: snapshot.canary_origins.get(name),
        });
        let shadow = snapshot.shadow(name).map(|shadow| Version {
            role: Role::Shadow,
            block,
            loaded: shadow.filter(),
            origin: snapshot.shadow_origins.get(name),
        });
        serving.into_iter().chain(canary).chain(shadow)
    })
}

impl Locked {
    fn of(version: &Version<'_>) -> Self {
        let module = version.loaded.module();
        let pulled = version.origin.and_then(|origin| origin.pulled.as_ref());
        Self {
            digest: module.digest().to_owned(),
            pulled: pulled.map(Reference::to_string),
            ..Self::wanting(module.imports(), version.granting())
        }
    }

    /// What a component that imports this may do by this entry, whichever it is.
    fn wanting(imports: &[String], granting: &Filter) -> Self {
        let max_shared_bytes = granting.limits.max_shared_bytes;
        // WASI gives a filter nothing, and its version is the compiler's.
        let imports = imports.iter().filter(|import| !import.starts_with("wasi:"));
        Self {
            digest: String::new(),
            pulled: None,
            imports: imports.cloned().collect(),
            grants: grants(&granting.grants),
            max_shared_bytes: granting.grants.shared.then_some(max_shared_bytes),
        }
    }

    /// What this wants that the other does not.
    fn beyond(&self, other: &Self) -> Vec<String> {
        let imports = self.imports.difference(&other.imports);
        let imports = imports.map(|import| format!("to import `{import}`"));
        let grants = self.grants.difference(&other.grants);
        let both = self.max_shared_bytes.zip(other.max_shared_bytes);
        let larger = both.filter(|(wanted, locked)| wanted > locked);
        let larger = larger.map(|(wanted, locked)| {
            format!("to share {wanted} bytes (`limits.max_shared`), where {locked} are locked")
        });
        imports
            .chain(grants.map(|grant| format!("the grant `{grant}`")))
            .chain(larger)
            .collect()
    }

    fn in_words(&self) -> String {
        let grants: Vec<_> = self.grants.iter().map(String::as_str).collect();
        match grants.as_slice() {
            [] => "without a grant".to_owned(),
            grants => format!("with the grants {}", grants.join(", ")),
        }
    }
}

/// Each as one word, so that they can be compared.
fn grants(grants: &Grants) -> BTreeSet<String> {
    let call = grants.call.iter().map(|cluster| format!("call {cluster}"));
    let shared = grants.shared.then(|| "shared".to_owned());
    let secrets = grants
        .secrets
        .iter()
        .map(|(name, granted_use)| match granted_use {
            SecretUse::Use => format!("secret {name}"),
            SecretUse::Reveal => format!("reveal {name}"),
        });
    call.chain(shared).chain(secrets).collect()
}
