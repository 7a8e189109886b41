//! The configurations of a run. Each has a number that its answers show, and what its
//! other choices are follows from the number and the seed.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use fastrand::Rng;
use serde_json::{Map, Value, json};

use crate::hostile_guests::{Guest, guests};

pub const KEY: &str = "secret-key-a";
/// Routes with filters that mean well.
pub const STEADY: [&str; 5] = ["plain", "auth", "limited", "upper", "body"];
const HEALTHY: [&str; 6] = ["auth", "limited", "mirror", "upper", "body", "mark"];
/// So many policies in a row leave `on_error` as it is.
const SAME_ON_ERROR: u64 = 4;

/// What stays the same in all configurations.
pub struct Scenery {
    pub seed: u64,
    pub guests: Vec<Guest>,
    folder: PathBuf,
    clusters: Value,
}

impl Scenery {
    pub fn new(seed: u64, folder: &Path, clusters: &[(&str, Vec<SocketAddr>)]) -> Self {
        let clusters = clusters.iter().map(|(name, addresses)| {
            let endpoints: Vec<_> = addresses.iter().map(ToString::to_string).collect();
            json!({ "name": name, "endpoints": endpoints })
        });
        Self {
            seed,
            guests: guests(),
            folder: folder.to_owned(),
            clusters: clusters.collect(),
        }
    }

    pub fn policy(&self, number: u64) -> Policy<'_> {
        Policy {
            scenery: self,
            number,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OnError {
    Deny,
    Skip,
    Reset,
}

impl OnError {
    pub const fn name(self) -> &'static str {
        match self {
            OnError::Deny => "deny",
            OnError::Skip => "skip",
            OnError::Reset => "reset",
        }
    }
}

/// A mistake for which a configuration is refused.
#[derive(Debug, Clone, Copy)]
pub enum Mistake {
    UnknownKey,
    UnknownCluster,
    RefusedByFilter,
    TrapInCreate,
}

impl Mistake {
    pub const ALL: [Mistake; 4] = [
        Mistake::UnknownKey,
        Mistake::UnknownCluster,
        Mistake::RefusedByFilter,
        Mistake::TrapInCreate,
    ];
}

#[derive(Clone, Copy)]
pub struct Policy<'a> {
    scenery: &'a Scenery,
    number: u64,
}

impl Policy<'_> {
    /// Of the guest at this place.
    pub fn on_error(&self, guest: usize) -> OnError {
        let turn = match self.scenery.guests[guest].name {
            // Whatever is new of it is refused, once it has made its instances.
            "create" => 0,
            _ => self.number / SAME_ON_ERROR,
        };
        let row = turn * 1000 + guest as u64;
        let mut rng = Rng::with_seed(self.scenery.seed ^ row.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        [OnError::Deny, OnError::Skip, OnError::Reset][rng.usize(..3)]
    }

    /// Whether the filter `mark` has another version on trial.
    pub fn has_canary(&self) -> bool {
        self.number % 5 == 3
    }

    /// What the filter `mark` writes, and its canary.
    pub fn marks(&self) -> Vec<String> {
        let mut marks = vec![self.number.to_string()];
        if self.has_canary() {
            marks.push(format!("{}-canary", self.number));
        }
        marks
    }

    pub fn text(&self) -> String {
        self.text_of(self.value())
    }

    pub fn bad_text(&self, mistake: Mistake) -> String {
        let mut value = self.value();
        match mistake {
            Mistake::UnknownKey => value["no_such_key"] = json!(1),
            Mistake::UnknownCluster => value["listeners"][0]["cluster"] = json!("nowhere"),
            Mistake::RefusedByFilter => value["filters"]["auth"]["config"] = json!({}),
            Mistake::TrapInCreate => {
                value["filters"]["mark"]["config"]["create"] = json!(["trap"]);
            }
        }
        self.text_of(value)
    }

    /// With keys at the beginning of lines, as the tests' own additions look for them.
    fn text_of(&self, value: Value) -> String {
        let keys = value.as_object().expect("a map");
        keys.iter()
            .map(|(key, value)| format!("{key}: {value}\n"))
            .collect()
    }

    fn value(&self) -> Value {
        let folder = self.scenery.folder.display();
        let mut filters = Map::new();
        filters.insert("router".into(), self.router());
        for name in HEALTHY {
            filters.insert(name.into(), self.healthy(name));
        }
        for (place, guest) in self.scenery.guests.iter().enumerate() {
            filters.insert(guest.name.into(), self.hostile(place, guest));
        }
        let guests = self.scenery.guests.iter().map(|guest| guest.name);
        let chain: Vec<_> = ["router"]
            .into_iter()
            .chain(HEALTHY)
            .chain(guests)
            .collect();
        json!({
            "workers": 2,
            "admin": { "address": format!("unix:{folder}/admin.sock") },
            "state_dir": format!("{folder}/state"),
            "log": { "level": "warn,lockgate::app=info" },
            "listeners": [{
                "name": "web", "address": "127.0.0.1:0", "cluster": "stable", "filters": chain,
            }],
            "filters": filters,
            "clusters": self.scenery.clusters,
        })
    }

    fn router(&self) -> Value {
        let routes: Vec<_> = self.routes().map(|name| self.route(name)).collect();
        json!({
            "component": "lockgate:router",
            "config": { "routes": routes },
            "limits": well_meant(),
        })
    }

    fn routes(&self) -> impl Iterator<Item = &'static str> {
        STEADY
            .into_iter()
            .chain(self.scenery.guests.iter().map(|guest| guest.name))
    }

    /// What cannot be sent twice goes to the cluster that nobody kills.
    fn route(&self, name: &str) -> Value {
        let mut guests = self.scenery.guests.iter();
        let is_post = guests.any(|guest| guest.name == name && guest.request().starts_with("POST"));
        let cluster = if is_post || name == "body" {
            "stable"
        } else {
            "shaky"
        };
        json!({
            "name": name,
            "match": { "path_prefix": format!("/{name}") },
            "cluster": cluster,
            "headers": { "response": { "set": { "x-policy": self.number.to_string() } } },
        })
    }

    fn healthy(&self, name: &str) -> Value {
        let transform =
            |phase: &str| json!({ "wants": { "phases": [phase] }, phase: ["transform upper"] });
        let (mut entry, on) = match name {
            "auth" => (
                json!({ "component": "lockgate:auth", "config": { "api_keys": [{ "name": "a", "key": KEY }] } }),
                &["auth"][..],
            ),
            "limited" => (self.limits(), &["limited"][..]),
            "mirror" => (
                json!({ "component": "lockgate:mirror", "config": { "cluster": "shaky", "percent": 20 } }),
                &["plain"][..],
            ),
            "upper" => (
                json!({ "component": "./guest.wasm", "config": transform("response") }),
                &["upper"][..],
            ),
            "body" => (
                json!({ "component": "./guest.wasm", "config": transform("request") }),
                &["body"][..],
            ),
            _ => (self.mark(), &STEADY[..]),
        };
        entry["limits"] = well_meant();
        entry["routes"] = self.off_but_on(on);
        entry
    }

    /// One limit that is never reached, and one that is reached at once: what it has
    /// counted survives all reloads, though each changes the filter.
    fn limits(&self) -> Value {
        json!({
            "component": "lockgate:rate-limit",
            "grants": { "shared": true },
            "config": { "limits": [
                { "name": format!("wide-{}", self.number), "key": { "by": "global" }, "rate": 100_000, "per": "second" },
                { "name": "once", "match": { "path_prefix": "/limited/once" }, "key": { "by": "global" }, "rate": 1, "burst": 1, "per": "day" },
            ] },
        })
    }

    /// Its component is another one now and then.
    fn mark(&self) -> Value {
        let config = |mark: &str| {
            json!({
                "wants": { "phases": ["request", "response", "done"] },
                "request": [format!("request.set x-mark {mark}")],
                "response": [format!("response.set x-mark {mark}")],
                "done": ["count over mark"],
            })
        };
        let marks = self.marks();
        let mut entry = json!({
            "component": "./mark.wasm",
            "config": config(&marks[0]),
            "probation": { "time": "300ms", "min_calls": 5 },
        });
        if let Some(canary) = marks.get(1) {
            entry["canary"] = json!({
                "component": "./mark.wasm", "config": config(canary),
                "percent": 40, "sticky_by": "chance",
            });
        }
        entry
    }

    /// Watched by nobody: a version that fails would else be taken back, and its
    /// `on_error` with it.
    fn hostile(&self, place: usize, guest: &Guest) -> Value {
        let mut entry = guest.entry.clone();
        entry["on_error"] = json!(self.on_error(place).name());
        entry["probation"] = json!({ "time": "0s" });
        entry["routes"] = self.off_but_on(&[guest.name]);
        entry
    }

    fn off_but_on(&self, on: &[&str]) -> Value {
        let others = self.routes().filter(|name| !on.contains(name));
        others
            .map(|name| (name.to_owned(), json!("off")))
            .collect::<Map<_, _>>()
            .into()
    }
}

/// Limits of filters whose calls take microseconds. This is not about time: a machine
/// that others use too may be held up in one of them for longer than the usual budget.
fn well_meant() -> Value {
    json!({ "cpu": "1s" })
}
