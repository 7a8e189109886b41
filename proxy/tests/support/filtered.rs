//! What the tests of filters share: a chain in front of origins, what the
//! proxy counted, and `lockgate check`.

use std::path::Path;
use std::process::Command;

use super::{Answer, Client, Origin, Proxy, within};

/// A configuration: a listener `web` with `chain` and whatever else of it is
/// given, the text below `filters:`, and clusters that have one origin each.
pub fn yaml(chain: &str, listener: &str, filters: &str, clusters: &[(&str, &Origin)]) -> String {
    let addresses: Vec<_> = clusters
        .iter()
        .map(|(name, origin)| (*name, origin.address.to_string()))
        .collect();
    yaml_to(chain, listener, filters, &addresses)
}

/// As `yaml`, with clusters by address.
pub fn yaml_to(chain: &str, listener: &str, filters: &str, clusters: &[(&str, String)]) -> String {
    let clusters: String = clusters
        .iter()
        .map(|(name, address)| format!("  - {{ name: {name}, endpoints: ['{address}'] }}\n"))
        .collect();
    format!(
        "admin: {{ address: '127.0.0.1:0' }}\n\
         listeners: [{{ name: web, address: '127.0.0.1:0', filters: [{chain}] {listener} }}]\n\
         filters:\n{filters}\n\
         clusters: {}\n{clusters}",
        if clusters.is_empty() { "[]" } else { "" }
    )
}

/// What a metric stands at: the sum of all series whose line begins with this
/// name and has all of these labels.
pub fn counted(proxy: &Proxy, name: &str, labels: &[(&str, &str)]) -> u64 {
    let address = proxy.admin();
    let head = format!("GET /metrics HTTP/1.1\r\nhost: {address}\r\n\r\n");
    let page = Client::connect(address).send(head).answer();
    assert_eq!(page.status, 200);
    let labels: Vec<_> = labels
        .iter()
        .map(|(label, value)| format!("{label}=\"{value}\""))
        .collect();
    page.text()
        .lines()
        .filter(|line| line.starts_with(&format!("{name}{{")))
        .filter(|line| labels.iter().all(|label| line.contains(label)))
        .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64)
        .sum()
}

/// The warnings of a reload by this text. The watch may see a change first, and then
/// there is nothing left to reload: so each attempt is to be another text.
pub fn warned(proxy: &Proxy, yaml: impl Fn(usize) -> String) -> String {
    let mut attempts = 0;
    within("a reload warns", || {
        attempts += 1;
        proxy.edit(&yaml(attempts));
        let outcome = proxy.reload();
        assert!(outcome.ok, "{:?}", outcome.mistakes);
        (!outcome.warnings.is_empty()).then(|| outcome.warnings.join("\n"))
    })
}

/// A request with exactly these bytes as its head, on a connection of its own.
pub fn ask_raw(proxy: &Proxy, head: &str) -> Answer {
    proxy.connect().send(head).answer()
}

/// What `lockgate check` said of a file.
#[derive(Debug)]
pub struct Checked {
    pub code: i32,
    pub text: String,
}

/// Runs `lockgate check` on this text, beside whatever lies in `folder`.
pub fn check(folder: &Path, yaml: &str) -> Checked {
    let file = folder.join("checked.yaml");
    let yaml = format!("cache_dir: {}\n{yaml}", super::component_cache());
    std::fs::write(&file, yaml).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_lockgate"))
        .arg("check")
        .arg(&file)
        .output()
        .unwrap();
    Checked {
        code: output.status.code().unwrap_or(-1),
        text: String::from_utf8(output.stdout).unwrap(),
    }
}
