//! What a component says of itself is asked once and holds for all that is made of it,
//! so one that says something else each time gains nothing by it.

#[path = "guests/component.rs"]
mod guests;
mod support;

use std::path::Path;

use serde_json::{Value, json};
use support::admin::{ask_unix, json as read};
use support::{Origin, Process, Proxy};

/// Two filters of one component, the second with this configuration and a canary.
fn yaml(origin: &Origin, folder: &Path, config: &str) -> String {
    let filters = json!({
        "one": { "component": "./fickle.wasm" },
        "two": {
            "component": "./fickle.wasm",
            "config": { "is": config },
            "canary": { "component": "./fickle.wasm", "config": {}, "percent": 50 },
        },
    });
    format!(
        "admin: {{ address: 'unix:{}' }}\n\
         listeners: [{{ name: web, address: '127.0.0.1:0', cluster: o, filters: [one, two] }}]\n\
         filters: {filters}\nclusters: [{{ name: o, endpoints: ['{}'] }}]\n",
        folder.join("admin.sock").display(),
        origin.address
    )
}

/// What the filters are called by their components.
fn names(folder: &Path) -> Vec<Value> {
    let told = read(&ask_unix(&folder.join("admin.sock"), "GET", "/filters"));
    let filters = told.as_array().unwrap().iter();
    filters
        .map(|filter| filter["manifest"]["name"].clone())
        .collect()
}

#[test]
fn a_component_is_asked_once_what_it_is() {
    let origin = Origin::saying("ok");
    let folder = Proxy::folder();
    std::fs::write(folder.join("fickle.wasm"), guests::fickle()).unwrap();
    let process = Process::start_in(folder.clone(), &yaml(&origin, &folder, "first"));
    let first = names(&folder);
    assert_eq!(first.len(), 2);
    assert_eq!(first[0], first[1]);
    process.edit(&yaml(&origin, &folder, "second"));
    process.signal("HUP");
    process.logged("changed=\"filter two\"");
    assert_eq!(names(&folder), first);
    assert_eq!(process.get("/").status, 200);
    assert_eq!(process.log().matches("fickle: described").count(), 1);
}
