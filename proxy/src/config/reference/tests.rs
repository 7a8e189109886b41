use std::fs;
use std::path::PathBuf;

use super::reference;
use crate::config::load;

fn page() -> PathBuf {
    PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../docs/configuration.md"
    ))
}

/// With `LOCKGATE_BLESS=1` in the environment the page is written anew.
#[test]
fn the_committed_page_is_the_generated_one() {
    if std::env::var_os("LOCKGATE_BLESS").is_some() {
        fs::write(page(), reference()).expect("the page is written");
    }
    let committed = fs::read_to_string(page()).expect("docs/configuration.md is there");
    assert!(
        committed == reference(),
        "run this test with LOCKGATE_BLESS=1"
    );
}

/// Each example says in its first line which file it is.
#[test]
fn every_example_loads() {
    let folder = std::env::temp_dir().join(format!("lockgate-examples-{}", std::process::id()));
    fs::create_dir_all(folder.join("conf.d")).expect("a folder");
    let (mut loaded, page) = (0, reference());
    for example in page.split("```yaml\n").skip(1) {
        let example = example.split("```").next().expect("an example ends");
        let name = example
            .lines()
            .next()
            .and_then(|line| line.strip_prefix("# "))
            .expect("a name");
        fs::write(folder.join(name), example).expect("an example is written");
        if name == "lockgate.yaml" {
            let env = |name: &str| name.ends_with(['Y', 'N']).then(|| "secret".to_owned());
            let config = load(&folder.join(name), &env).map_err(|mistakes| mistakes.to_string());
            assert_eq!(config.expect(example).warnings, [], "{example}");
            loaded += 1;
        }
    }
    fs::remove_dir_all(&folder).expect("the folder goes");
    assert_eq!(loaded, 3);
}
