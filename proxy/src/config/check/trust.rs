//! Trusted keys, and which of them count for a filter. Reads the files of keys: what a
//! key is cannot be told from the configuration alone.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use super::Checker;
use super::names::read_name;
use crate::config::checked::{ComponentSource, Name};
use crate::config::place::below;
use crate::config::raw::{RawFilter, RawTrustedKey};
use crate::config::trust::{NoKey, PublicKey, TrustedKey};

const WANTED: &str = "a public key in PEM, ECDSA P-256 or Ed25519";

/// The bytes of a file that are read.
const MAX_BYTES: u64 = 16 << 10;

impl Checker<'_> {
    pub(super) fn trusted_key(&mut self, at: &str, raw: &RawTrustedKey) -> Option<TrustedKey> {
        let name = self.required(at, "name", raw.name.as_ref(), read_name);
        let key = match (&raw.file, &raw.pem) {
            (Some(file), None) => {
                let pointer = below(at, "file");
                let file = self.path(&pointer, file);
                self.key_of_file(&pointer, file)
            }
            (None, Some(pem)) => {
                let key = PublicKey::read(pem.as_bytes());
                self.good_key(&below(at, "pem"), "a key", key)
            }
            (file, _) => {
                // One that is there and has a mistake is told of before.
                let is_there = |key: &&str| self.places.has(&below(at, key));
                let given = ["file", "pem"].iter().filter(|key| is_there(key)).count();
                let found = match file {
                    Some(_) => "a key in two ways",
                    None => "no key",
                };
                if given != 1 {
                    self.mistake(at, found, "exactly one of `file` and `pem`");
                }
                None
            }
        };
        Some(TrustedKey {
            name: name?,
            key: key?,
        })
    }

    fn key_of_file(&mut self, pointer: &str, file: PathBuf) -> Option<PublicKey> {
        if !self.outside.files.may_include() {
            let wanted = "no `file`: this configuration is not read from one";
            self.mistake(pointer, format!("`{}`", file.display()), wanted);
            return None;
        }
        let found = format!("`{}`, a file", file.display());
        let mut pem = Vec::new();
        let read = File::open(&file).and_then(|file| file.take(MAX_BYTES).read_to_end(&mut pem));
        self.read_files.push(file);
        if let Err(error) = read {
            self.mistake(
                pointer,
                format!("{found} that cannot be read: {error}"),
                WANTED,
            );
            return None;
        }
        self.good_key(pointer, &found, PublicKey::read(&pem))
    }

    fn good_key(
        &mut self,
        pointer: &str,
        found: &str,
        key: Result<PublicKey, NoKey>,
    ) -> Option<PublicKey> {
        key.map_err(|error| self.mistake(pointer, format!("{found} that {error}"), WANTED))
            .ok()
    }

    /// The keys of which one has to have signed the component of a filter: those that
    /// it names, or all.
    pub(super) fn trusted_by(
        &mut self,
        at: &str,
        raw: &RawFilter,
        component: Option<&ComponentSource>,
    ) -> Vec<Name> {
        let at = below(at, "trust");
        if raw.trust.is_some() && matches!(component, Some(ComponentSource::Shipped(_))) {
            let found = "`trust` of a component that is shipped inside Lockgate";
            self.mistake(&at, found, "no `trust`");
        }
        let names = (0..).zip(raw.trust.iter().flatten());
        let names = names.filter_map(|(index, name): (usize, _)| {
            Some(self.trust_reference(&below(&at, index), name.as_ref()?))
        });
        names.collect()
    }
}
