//! Files of endpoints.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use super::names::Names;
use super::{Checker, Outside, prune};
use crate::config::checked::{Endpoint, EndpointAddress};
use crate::config::load_endpoints;
use crate::config::mistake::Mistake;
use crate::config::place::{Places, below};
use crate::config::raw::RawEndpointFile;
use crate::config::structure::Texts;

/// Check a file of endpoints, of which `known` are the mistakes found before and `broken`
/// the values that they are about.
pub(in crate::config) fn check_endpoints(
    mut value: Value,
    outside: &Outside<'_>,
    places: &Places,
    texts: &Texts,
    broken: &[String],
    known: Vec<Mistake>,
) -> (Vec<Endpoint>, Vec<Mistake>) {
    let pointers = known.iter().map(|mistake| mistake.pointer.as_str());
    for pointer in pointers.chain(broken.iter().map(String::as_str)) {
        prune(&mut value, pointer);
    }
    let mut checker = Checker {
        outside,
        places,
        texts,
        names: Names::of_cases(BTreeSet::new()),
        addresses: Vec::new(),
        read_files: Vec::new(),
        retry_policies: Vec::new(),
        system_roots: OnceCell::new(),
        mistakes: known,
        warnings: Vec::new(),
    };
    let raw: Option<RawEndpointFile> = checker.typed(&value, "");
    let raw = raw.unwrap_or_default();
    let endpoints = checker.endpoints("/endpoints", &raw.endpoints);
    for (index, raw) in raw.endpoints.iter().enumerate() {
        let is_map = raw.as_ref().is_some_and(|raw| raw.is_map);
        let text = raw.as_ref().and_then(|raw| raw.address.as_ref());
        let is_address = |text: &String| {
            let read = super::address::read_endpoint(text);
            read.is_ok_and(|read| {
                matches!(read, EndpointAddress::Socket(_) | EndpointAddress::Unix(_))
            })
        };
        let Some(text) = text.filter(|text| !is_address(text)) else {
            continue;
        };
        let pointer = match is_map {
            true => below(&below("/endpoints", index), "address"),
            false => below("/endpoints", index),
        };
        if !checker
            .mistakes
            .iter()
            .any(|known| known.pointer == pointer)
        {
            let found = format!("`{text}`, which would have to be looked up");
            checker.mistake(
                &pointer,
                found,
                "an IP address with a port, or `unix:/path`",
            );
        }
    }
    (endpoints, checker.mistakes)
}

impl Checker<'_> {
    /// A file that a cluster has endpoints from, with what is wrong in it.
    pub(super) fn endpoint_file(&mut self, pointer: &str, file: &Path) -> EndpointAddress {
        let file = self.path(pointer, file);
        if !self.outside.files.may_include() {
            let found = format!("`file:{}`", file.display());
            let wanted = "no `file:`: this configuration is not read from a file";
            self.mistake(pointer, found, wanted);
            return EndpointAddress::File(file);
        }
        if let Err(mistakes) = load_endpoints(&file) {
            for mistake in mistakes.iter() {
                self.mistake(pointer, mistake.to_string(), "a file with `endpoints`");
            }
        }
        self.read_files.push(file.clone());
        EndpointAddress::File(file)
    }
}
