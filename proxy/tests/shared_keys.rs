//! Keys of what filters share count as what they hold.

#[path = "guests/component.rs"]
mod guests;
mod support;

use serde_json::json;
use support::admin::metric;
use support::{Proxy, within};

/// What the filter was told about a key of so many bytes.
fn told(bytes: usize) -> (String, f64) {
    let folder = Proxy::folder();
    std::fs::write(folder.join("job.wasm"), guests::job()).unwrap();
    let step = format!("long-key {bytes}");
    let filters = json!({ "job": {
        "component": "./job.wasm",
        "grants": { "shared": true, "call": ["asked"] },
        "config": { "name": "a", "runs": [[step, "done"]] },
    } });
    let proxy = Proxy::start_in(
        folder,
        &format!(
            "admin: {{ address: '127.0.0.1:0' }}\n\
             listeners: [{{ name: web, address: '127.0.0.1:0', filters: [job] }}]\n\
             clusters: [{{ name: asked, endpoints: ['127.0.0.1:1'] }}]\nfilters: {filters}\n"
        ),
    );
    let told = within("the job has run", || {
        let answer = proxy.get("/told");
        (answer.status == 200).then(|| answer.text())
    });
    let bytes = "lockgate_filter_shared_bytes{filter=\"job\"}";
    (told, metric(proxy.admin(), bytes))
}

#[test]
fn a_key_of_a_megabyte_is_too_large() {
    let (answer, kept) = told(1 << 20);
    let refused = "Some(SharedError::TooLarge)";
    assert_eq!(answer, format!("[{refused}, {refused}, {refused}] None"));
    assert!(kept < 10_000.0, "{kept} bytes are kept");
    // A short one is taken by the first call, and the others find it there.
    let (answer, _) = told(10);
    assert!(
        answer.starts_with("[None, Some(SharedError::Conflict), "),
        "{answer}"
    );
}
