//! Chains of the guest that does what its configuration says.
#![allow(dead_code, unused_imports, reason = "no test binary uses all of it")]

use serde_json::{Value, json};

use super::{Origin, Proxy};

#[path = "../guests/component.rs"]
mod guests;

pub use guests::{caller, component, job, secrets_component, table_bomb};

/// A chain, and routes that are chosen by the first segment of the path.
pub struct Hostile {
    chain: Vec<String>,
    filters: serde_json::Map<String, Value>,
}

impl Hostile {
    /// With a router that names these routes.
    pub fn routed(routes: &[&str]) -> Self {
        let named: Vec<_> = routes
            .iter()
            .map(|name| json!({ "name": name, "match": { "path_prefix": format!("/{name}") }, "cluster": "o" }))
            .collect();
        let mut hostile = Self {
            chain: Vec::new(),
            filters: serde_json::Map::new(),
        };
        let router = json!({ "component": "lockgate:router", "config": { "routes": named } });
        hostile.push("router", router);
        hostile
    }

    /// The guest under this name, with what else is given of its entry.
    pub fn guest(mut self, name: &str, entry: Value) -> Self {
        let mut filter = json!({ "component": "./guest.wasm" });
        let given = entry.as_object().expect("an entry is a map").clone();
        filter.as_object_mut().expect("so is this").extend(given);
        self.push(name, filter);
        self
    }

    fn push(&mut self, name: &str, filter: Value) {
        self.chain.push(name.to_owned());
        self.filters.insert(name.to_owned(), filter);
    }

    /// Without a router: everything goes to the origin.
    pub fn straight() -> Self {
        Self {
            chain: Vec::new(),
            filters: serde_json::Map::new(),
        }
    }

    /// Starts it with one worker, so that everybody is everybody's neighbour.
    pub fn start(self, origin: &Origin) -> Proxy {
        let folder = Proxy::folder();
        std::fs::write(folder.join("guest.wasm"), component()).unwrap();
        Proxy::start_in(folder, &self.yaml(origin))
    }

    fn yaml(&self, origin: &Origin) -> String {
        let listeners = json!([{
            "name": "web", "address": "127.0.0.1:0", "cluster": "o", "filters": self.chain,
        }]);
        let clusters = json!([{ "name": "o", "endpoints": [origin.address.to_string()] }]);
        format!(
            "workers: 1\nadmin: {{ address: '127.0.0.1:0' }}\nlisteners: {listeners}\n\
             filters: {}\nclusters: {clusters}\n",
            Value::Object(self.filters.clone())
        )
    }
}

/// A configuration that leaves `name` in `x-seen` of the request and of the
/// answer, and counts when the exchange is over.
pub fn tracer(name: &str) -> Value {
    json!({
        "wants": { "phases": ["request", "response", "done"] },
        "request": [format!("request.append x-seen {name}")],
        "response": [format!("response.append x-seen {name}")],
        "done": [format!("count over {name}")],
    })
}

/// All values of a field.
pub fn all<'a>(fields: &'a [(String, String)], name: &str) -> Vec<&'a str> {
    let named = fields.iter().filter(|(known, _)| known == name);
    named.map(|(_, value)| value.as_str()).collect()
}
