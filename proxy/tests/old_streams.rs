//! An answer that passes through a transform of a generation that five hundred others
//! have followed.

#[path = "support/hostile.rs"]
mod hostile;
mod support;

use std::io::{BufReader, Write};
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};

use serde_json::{Value, json};
use support::admin::live;
use support::{LIMIT, Origin, Proxy, read_request, within};

fn yaml(origin: &Origin, config: &Value) -> String {
    let guest = json!({ "component": "./guest.wasm", "config": config });
    format!(
        "admin: {{ address: '127.0.0.1:0' }}\n\
         listeners: [{{ name: web, address: '127.0.0.1:0', cluster: o, filters: [guest] }}]\n\
         filters: {}\nclusters: [{{ name: o, endpoints: ['{}'] }}]\n",
        json!({ "guest": guest }),
        origin.address
    )
}

/// Sends one half of an answer to `/held`, and the other when it is released.
fn halves() -> (Origin, Sender<()>) {
    let (release, gate) = channel();
    let gate = Mutex::new(gate);
    let origin = Origin::scripted(move |stream, _| {
        let mut reader = BufReader::new(stream);
        while let Some(request) = read_request(&mut reader) {
            let is_held = request.line.contains(" /held ");
            let stream = reader.get_mut();
            let head = b"HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\nbefore".to_vec();
            stream.write_all(&head).unwrap();
            if is_held {
                gate.lock().unwrap().recv_timeout(LIMIT).unwrap();
            }
            stream.write_all(b"after").unwrap();
        }
    });
    (origin, release)
}

#[test]
fn a_body_passes_through_the_transform_that_it_began_with() {
    let (origin, release) = halves();
    let folder = Proxy::folder();
    std::fs::write(folder.join("guest.wasm"), hostile::component()).unwrap();
    let upper = json!({ "wants": { "phases": ["response"] }, "response": ["transform upper"] });
    let proxy = Proxy::start_in(folder, &yaml(&origin, &upper));
    let mut held = proxy.connect();
    held.send("GET /held HTTP/1.1\r\nhost: a\r\n\r\n");
    while !held.line().is_empty() {}
    assert_eq!(held.line(), "6");
    assert_eq!(held.exactly(8), b"BEFORE\r\n");

    for number in 0..500 {
        let set = format!("response.set x-number {number}");
        let plain = json!({ "wants": { "phases": ["response"] }, "response": [set] });
        proxy.edit(&yaml(&origin, &plain));
        within("it is published", || proxy.reload().ok.then_some(()));
    }
    let new = proxy.get("/new");
    assert_eq!(new.text(), "beforeafter");
    assert_eq!(new.header("x-number"), Some("499"));
    release.send(()).unwrap();
    assert_eq!(held.line(), "5");
    assert_eq!(held.exactly(12), b"AFTER\r\n0\r\n\r\n");
    within("the first generation ends", || {
        (live(&proxy) == 1).then_some(())
    });
}
