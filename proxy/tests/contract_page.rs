//! `docs/filter-contract.md` is made of `wit/filter.wit`: with `LOCKGATE_BLESS=1`
//! this writes it, and without it holds the page against the contract.

use std::fmt::Write;
use std::path::Path;

const HEAD: &str = "# The filter contract\n\n\
    Made of [wit/filter.wit](../wit/filter.wit), which is what counts. \
    [writing-filters.md](writing-filters.md) shows it from a filter's side, and \
    [languages.md](languages.md) in other languages than Rust.\n";

/// One interface or world.
struct Item {
    /// `interface request`
    title: String,
    /// What stands above it.
    about: String,
    /// As it is written.
    text: String,
}

fn items(contract: &str) -> Vec<Item> {
    let (mut items, mut about) = (Vec::new(), String::new());
    let mut open: Option<Item> = None;
    for line in contract.lines() {
        match &mut open {
            Some(item) => {
                writeln!(item.text, "{line}").unwrap();
                if line == "}" {
                    items.extend(open.take());
                }
            }
            None => match (line.strip_prefix("///"), line.strip_suffix(" {")) {
                (Some(doc), _) => writeln!(about, "{}", doc.trim_start()).unwrap(),
                (None, Some(title)) => {
                    open = Some(Item {
                        title: title.to_owned(),
                        about: std::mem::take(&mut about),
                        text: format!("{line}\n"),
                    });
                }
                (None, None) => {}
            },
        }
    }
    assert!(open.is_none(), "the last item has no end");
    items
}

fn page(contract: &str) -> String {
    let mut page = HEAD.to_owned();
    let items = items(contract);
    let package = contract.lines().find(|line| line.starts_with("package "));
    writeln!(page, "\n`{}`\n", package.unwrap().trim_end_matches(';')).unwrap();
    for item in &items {
        let (kind, name) = item.title.split_once(' ').unwrap();
        writeln!(page, "- [{kind} `{name}`](#{kind}-{name})").unwrap();
    }
    for Item { title, about, text } in &items {
        let (kind, name) = title.split_once(' ').unwrap();
        write!(page, "\n## {kind} `{name}`\n\n{about}\n```wit\n{text}```\n").unwrap();
    }
    page
}

#[test]
fn the_page_of_the_contract_is_that_of_the_contract() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let contract = std::fs::read_to_string(root.join("wit/filter.wit")).unwrap();
    let made = page(&contract);
    assert!(items(&contract).len() >= 15, "{made}");
    let path = root.join("docs/filter-contract.md");
    if std::env::var_os("LOCKGATE_BLESS").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == made,
        "run this test with LOCKGATE_BLESS=1 and commit the page"
    );
}
