//! Registries.

use std::collections::HashMap;
use std::path::PathBuf;

use super::Checker;
use super::address::Wrong;
use crate::config::checked::Registry;
use crate::config::oci;
use crate::config::place::below;
use crate::config::raw::RawRegistry;

impl Checker<'_> {
    pub(super) fn registry(&mut self, at: &str, raw: &RawRegistry) -> Option<Registry> {
        let host = self.required(at, "host", raw.host.as_ref(), read_host);
        let path = |key, path: &Option<PathBuf>| {
            let path = path.as_ref()?;
            Some(self.path(&below(at, key), path))
        };
        let credentials = path("credentials", &raw.credentials);
        let ca = path("ca", &raw.ca);
        let timeout = self.time(at, "timeout", raw.timeout);
        if raw.plain_http && ca.is_some() {
            let wanted = "no `ca`: with `plain_http` nothing is certified";
            self.mistake(&below(at, "ca"), "`ca` beside `plain_http`", wanted);
        }
        Some(Registry {
            host: host?,
            plain_http: raw.plain_http,
            credentials,
            ca,
            timeout,
        })
    }

    /// Each host has one entry, or it would not be known which counts.
    pub(super) fn registries_once(&mut self, registries: &[(RawRegistry, Option<Registry>)]) {
        let mut known: HashMap<&str, String> = HashMap::new();
        for (index, (_, registry)) in registries.iter().enumerate() {
            let Some(registry) = registry else { continue };
            let pointer = format!("/registries/{index}/host");
            if let Some(first) = known.get(&*registry.host) {
                let first = self.places.find(first);
                let found = format!("the registry `{}` again, first at {first}", registry.host);
                self.mistake(&pointer, found, "each registry once");
            } else {
                known.insert(&registry.host, pointer);
            }
        }
    }
}

fn read_host(text: &str) -> Result<String, Wrong> {
    let wrong = Wrong::new("a host name or address, with a port if references have one");
    match oci::is_host_and_port(text) {
        true => Ok(text.to_ascii_lowercase()),
        false => Err(wrong),
    }
}
