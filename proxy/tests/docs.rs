//! The documents tell the truth: what they show as a configuration is one, what
//! they show as a command line is taken, and the filter in the README compiles.

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use lockgate::config;
use support::Proxy;
use support::ocsp::Says;
use support::process::run;
use support::tls::Authority;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

fn documents() -> Vec<PathBuf> {
    let mut found = vec![root().join("README.md"), root().join("sdk/rust/README.md")];
    found.extend(files_in(&root().join("docs"), "md"));
    for folder in ["filters", "examples"] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            found.extend(files_in(&entry.unwrap().path(), "md"));
        }
    }
    found
}

fn files_in(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect()
}

/// The fenced blocks of a language, each with a name that leads to it.
fn blocks(path: &Path, language: &str) -> Vec<(String, String)> {
    let text = fs::read_to_string(path).unwrap();
    let mut found = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        if line != format!("```{language}") {
            continue;
        }
        let block = lines
            .by_ref()
            .map(|(_, line)| line)
            .take_while(|line| !line.starts_with("```"));
        let block: Vec<_> = block.collect();
        let name = path.strip_prefix(root()).unwrap().display();
        found.push((format!("{name}:{}", number + 1), block.join("\n") + "\n"));
    }
    found
}

/// Any variable that a document asks for is there.
fn env(name: &str) -> Option<String> {
    Some(match name {
        "PORT" | "LOCKGATE_WORKERS" => return None,
        _ => "a-value-of-some-length".to_owned(),
    })
}

#[test]
fn every_whole_configuration_is_good() {
    let mut whole = Vec::new();
    for path in documents() {
        let found = blocks(&path, "yaml");
        whole.extend(found.into_iter().filter(|(_, text)| is_whole(text)));
    }
    for entry in fs::read_dir(root().join("examples")).unwrap() {
        for path in files_in(&entry.unwrap().path(), "yaml") {
            let text = fs::read_to_string(&path).unwrap();
            whole.push((path.display().to_string(), text));
        }
    }
    assert!(whole.len() >= 4, "{whole:?}");
    for (name, text) in whole {
        let loaded = match text.contains("certs/") {
            true => load_with_certificates(&text),
            false => config::load_text(&text, &name, &env),
        };
        if let Err(mistakes) = loaded {
            panic!("{name}: {mistakes}");
        }
    }
}

/// In a folder with the files of TLS that documents name.
fn load_with_certificates(text: &str) -> Result<config::Loaded, config::Mistakes> {
    let folder = Proxy::folder();
    let certs = folder.join("certs");
    fs::create_dir(&certs).unwrap();
    let authority = Authority::new("root");
    authority.issue(&["edge.test"]).write(&certs, "edge");
    authority
        .issue_rsa(&["edge.test"])
        .write(&certs, "edge-rsa");
    let wildcard = authority.issue(&["*.edge.test"]);
    wildcard.write(&certs, "wildcard");
    let staple = Says::good(&wildcard, &authority).der();
    fs::write(certs.join("wildcard.ocsp"), staple).unwrap();
    for name in ["proxy", "web", "payments"] {
        authority.issue(&["proxy.test"]).write(&certs, name);
    }
    for name in ["clients.pem", "partners.pem", "mesh.pem"] {
        fs::write(certs.join(name), authority.pem()).unwrap();
    }
    fs::write(certs.join("clients.crl"), authority.revoke(&[1])).unwrap();
    let path = folder.join("lockgate.yaml");
    fs::write(&path, text).unwrap();
    let loaded = config::load(&path, &env);
    fs::remove_dir_all(folder).unwrap();
    loaded
}

/// A part of one lacks what it names, or says that it stands in another file.
fn is_whole(text: &str) -> bool {
    let has = |key: &str| text.lines().any(|line| line.starts_with(key));
    has("listeners:") && has("clusters:") && !has("include:")
}

/// Where a block is only a part, it is at least YAML of keys that exist.
#[test]
fn every_part_of_a_configuration_has_known_keys() {
    for path in documents() {
        for (name, text) in blocks(&path, "yaml") {
            let starts_with =
                |key: &&str| text.starts_with(*key) || text.contains(&format!("\n{key}"));
            let is_part = ["admin:", "clusters:", "filters:", "workers:"]
                .iter()
                .any(starts_with);
            let Err(mistakes) = config::load_text(&text, &name, &env) else {
                continue;
            };
            let unknown = mistakes
                .iter()
                .find(|mistake| mistake.to_string().contains(": found the unknown key"));
            assert!(!is_part || unknown.is_none(), "{}", unknown.unwrap());
        }
    }
}

/// A file of cases is one.
#[test]
fn every_file_of_cases_is_good() {
    let mut shown = 0;
    for path in documents() {
        for (name, text) in blocks(&path, "yaml") {
            if !text.lines().any(|line| line.starts_with("cases:")) {
                continue;
            }
            shown += 1;
            if let Err(mistakes) = config::load_cases_text(&text, &name, &env) {
                panic!("{mistakes}");
            }
        }
    }
    assert!(shown >= 2, "{shown}");
}

#[test]
fn every_shown_command_line_is_taken() {
    let mut shown = 0;
    for path in documents() {
        for (name, text) in blocks(&path, "sh") {
            for line in text
                .lines()
                .filter_map(|line| line.trim().strip_prefix("lockgate "))
            {
                let line = line.split(" #").next().unwrap();
                // With that, arguments are read and nothing is done.
                let arguments: Vec<_> = line.split_whitespace().chain(["--help"]).collect();
                let output = run(&arguments);
                let told = String::from_utf8_lossy(&output.stderr).into_owned();
                assert!(output.status.success(), "{name}: lockgate {line}: {told}");
                shown += 1;
            }
        }
    }
    assert!(shown >= 3, "{shown}");
}

/// The SDK compiles the blocks of its own README and of the guide.
#[test]
fn the_filters_of_the_readme_are_compiled() {
    let compiled: Vec<_> = ["sdk/rust/README.md", "docs/writing-filters.md"]
        .iter()
        .flat_map(|path| blocks(&root().join(path), "rust"))
        .map(|(_, text)| text)
        .collect();
    let shown = blocks(&root().join("README.md"), "rust");
    assert!(!shown.is_empty());
    for (name, text) in shown {
        assert!(
            compiled.contains(&text),
            "{name} is in no document that is compiled"
        );
    }
}

#[test]
fn every_relative_link_leads_somewhere() {
    for path in documents() {
        let text = fs::read_to_string(&path).unwrap();
        for link in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            if link.contains("://") || link.starts_with('#') {
                continue;
            }
            let target = path.parent().unwrap().join(link.split('#').next().unwrap());
            assert!(target.exists(), "{}: {link}", path.display());
        }
    }
}
