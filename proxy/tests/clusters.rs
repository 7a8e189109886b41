//! `lockgate clusters` and `lockgate endpoint`: endpoints of a running proxy, by hand.

mod support;

use support::process::run;
use support::{Origin, Proxy, within};

fn out(args: &[&str]) -> (Option<i32>, String) {
    let output = run(args);
    let text = String::from_utf8(output.stdout).unwrap();
    (output.status.code(), text)
}

#[test]
fn endpoints_are_shown_and_told() {
    let (one, two) = (Origin::saying("one"), Origin::saying("two"));
    let proxy = Proxy::start(&format!(
        "admin: {{ address: '127.0.0.1:0' }}\n\
         listeners: [{{ name: web, address: '127.0.0.1:0', cluster: o }}]\n\
         clusters: [{{ name: o, endpoints: ['{}', {{ address: '{}', tier: 1 }}] }}]\n",
        one.address, two.address
    ));
    let (admin, address) = (proxy.admin().to_string(), one.address.to_string());
    let row = || {
        let (code, text) = out(&["clusters", "--admin", &admin]);
        assert_eq!(code, Some(0), "{text}");
        assert!(text.starts_with("CLUSTER"), "{text}");
        let row = text.lines().find(|line| line.contains(&address));
        row.unwrap().to_owned()
    };
    assert!(row().contains("healthy"));
    let tell =
        |word: &str, address: &str| out(&["endpoint", word, "o", address, "--admin", &admin]);
    let (code, text) = tell("drain", &address);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(text, format!("drain: {address} of `o`\n"));
    assert!(row().contains("drained"));
    assert!(row().ends_with("told to drain"));
    within("the other tier takes it", || {
        (proxy.get("/").text() == "two").then_some(())
    });
    assert_eq!(tell("auto", &address).0, Some(0));
    assert!(row().contains("healthy"));
    let (code, text) = tell("drain", "127.0.0.1:1");
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("no endpoint"), "{text}");
    let (code, text) = out(&["clusters", "o", "--json", "--admin", &admin]);
    assert_eq!(code, Some(0));
    let told: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(told[0]["endpoints"][1]["tier"], 1);
}
