//! Secrets, and the grants of them. Reads the files of secrets: what a secret is cannot
//! be told from the configuration alone.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::Checker;
use super::names::read_name;
use crate::config::checked::{Filter, Name, SecretUse};
use crate::config::place::{below, segments};
use crate::config::raw::{RawGrants, RawSecret};
use crate::config::secret::{NoSecret, Secret, SecretBytes, SecretSource, WANTED};
use crate::config::words;

/// Where a secret can come from. Exactly one is given.
const SOURCES: [&str; 3] = ["file", "env", "value"];

impl Checker<'_> {
    pub(super) fn secret(&mut self, at: &str, raw: &RawSecret) -> Option<Secret> {
        let name = self.required(at, "name", raw.name.as_ref(), read_name);
        self.check_source(at)?;
        let (source, bytes) = match (&raw.file, &raw.env, &raw.value) {
            (Some(file), _, _) => {
                let file = self.path(&below(at, "file"), file);
                self.secret_of_file(&below(at, "file"), file)
            }
            (_, Some(env), _) => self.secret_of_env(&below(at, "env"), env),
            (_, _, Some(value)) => {
                let bytes = SecretBytes::new(value.as_bytes());
                let bytes = self.secret_bytes(&below(at, "value"), "a value", bytes);
                (SecretSource::Value, bytes)
            }
            // That it is not as it should be was told before.
            (None, None, None) => (SecretSource::Value, SecretBytes::stand_in()),
        };
        Some(Secret {
            name: name?,
            source,
            bytes,
        })
    }

    /// Whether exactly one key says where a secret comes from. One that is there and
    /// has a mistake counts, so that nothing else is told about it.
    fn check_source(&mut self, at: &str) -> Option<()> {
        let is_there = |key: &&str| self.places.has(&below(at, key));
        let given: Vec<_> = SOURCES.into_iter().filter(is_there).collect();
        let wanted = "exactly one of `file`, `env` and `value`";
        match given.as_slice() {
            [_] => return Some(()),
            [] if self.is_source_misspelt(at) => {}
            [] => self.mistake(at, "a secret that comes from nowhere", wanted),
            [first, more @ ..] => {
                for key in more {
                    let found = format!("`{key}` beside `{first}`");
                    self.mistake(&below(at, key), found, wanted);
                }
            }
        }
        None
    }

    fn is_source_misspelt(&self, at: &str) -> bool {
        let inside = |pointer: &str| {
            let inside = pointer.strip_prefix(at)?;
            segments(inside).next()
        };
        let keys = self.mistakes.iter();
        let mut keys = keys.filter_map(|mistake| inside(&mistake.pointer));
        keys.any(|key| words::nearest(&key, SOURCES).is_some())
    }

    fn secret_of_file(&mut self, pointer: &str, file: PathBuf) -> (SecretSource, SecretBytes) {
        let bytes = if self.outside.files.may_include() {
            let found = format!("`{}`, a file", file.display());
            self.secret_bytes(pointer, &found, SecretBytes::read(&file))
        } else {
            let wanted = "no `file`: this configuration is not read from one";
            self.mistake(pointer, format!("`{}`", file.display()), wanted);
            SecretBytes::stand_in()
        };
        self.read_files.push(file.clone());
        (SecretSource::File(file), bytes)
    }

    fn secret_of_env(&mut self, pointer: &str, name: &str) -> (SecretSource, SecretBytes) {
        let found = format!("{}, a variable", words::quoted(name));
        let bytes = match (self.outside.env)(name) {
            Some(value) => self.secret_bytes(pointer, &found, SecretBytes::new(value.as_bytes())),
            None => {
                let found = format!("{found} that is not in the environment");
                self.mistake(pointer, found, "one that is");
                SecretBytes::stand_in()
            }
        };
        (SecretSource::Env(name.to_owned()), bytes)
    }

    fn secret_bytes(
        &mut self,
        pointer: &str,
        found: &str,
        bytes: Result<SecretBytes, NoSecret>,
    ) -> SecretBytes {
        bytes.unwrap_or_else(|error| {
            self.mistake(pointer, format!("{found} that {error}"), WANTED);
            SecretBytes::stand_in()
        })
    }

    /// The secrets that a filter is granted, and for what.
    pub(super) fn granted_secrets(
        &mut self,
        at: &str,
        raw: &RawGrants,
    ) -> BTreeMap<Name, SecretUse> {
        let mut granted = BTreeMap::new();
        // What is in both may be seen.
        let lists = [
            ("secrets", &raw.secrets, SecretUse::Use),
            ("reveal", &raw.reveal, SecretUse::Reveal),
        ];
        for (key, names, granted_use) in lists {
            let at = below(at, key);
            for (index, name) in names.iter().enumerate() {
                if let Some(name) = name {
                    let name = self.secret_reference(&below(&at, index), name);
                    granted.insert(name, granted_use);
                }
            }
        }
        granted
    }

    /// Secrets that nobody may use.
    pub(super) fn unused_secrets(&mut self, secrets: &[Secret], filters: &[Filter]) {
        for (index, secret) in secrets.iter().enumerate() {
            let mut grants = filters.iter().map(|filter| &filter.grants.secrets);
            if !grants.any(|granted| granted.contains_key(&secret.name)) {
                let found = format!("the secret `{}`, which no filter is granted", secret.name);
                let wanted = "its name in the `grants` of a filter";
                self.warning(&format!("/secrets/{index}/name"), found, wanted);
            }
        }
    }
}
