//! The files of a new project.
//!
//! Folders of `templates/` have the form of the project: what all have
//! (`project`), what an example adds (`header-check`), what a language does
//! (`rust/project`) and what both do (`rust/header-check`). In texts, `{{...}}`
//! stands for what differs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::ValueEnum;

use super::{Language, ProjectName};

// `TEMPLATES` and `SDK`: paths and texts. The SDK is that of this version, for as
// long as no registry has it.
include!(concat!(env!("OUT_DIR"), "/templates.rs"));

const CONTRACT: &str = include_str!("../../../wit/filter.wit");
/// Where a project has its copy.
const SDK_FOLDER: &str = "lockgate-sdk";

/// What a new project begins as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Example {
    /// Requests pass only with a certain field; answers are marked.
    HeaderCheck,
    /// A word in bodies is replaced.
    BodyRewrite,
}

/// Where a project in Rust has its SDK from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sdk {
    /// A copy within the project.
    Copy,
    /// This folder, as the project's manifest names it.
    At(PathBuf),
}

/// Writes a project into a folder that must not be there yet.
pub fn write(
    folder: &Path,
    name: &ProjectName,
    language: Language,
    example: Example,
    sdk: &Sdk,
) -> io::Result<()> {
    fs::create_dir(folder)?;
    for (path, text) in files(name, language, example, sdk) {
        put(&folder.join(path), &text)?;
    }
    Ok(())
}

/// Every file of a project, and what is in it.
fn files(
    name: &ProjectName,
    language: Language,
    example: Example,
    sdk: &Sdk,
) -> Vec<(PathBuf, String)> {
    let parts = [
        "project",
        example.folder(),
        &format!("{}/project", language.folder()),
        &format!("{}/{}", language.folder(), example.folder()),
    ];
    let templates = parts.into_iter().flat_map(within);
    let filled = templates.map(|(path, text)| {
        let text = fill(text, name, language, example, sdk);
        (real_name(path), text)
    });
    let mut files: Vec<_> = filled.collect();
    files.push(("wit/filter.wit".into(), CONTRACT.to_owned()));
    if (language, sdk) == (Language::Rust, &Sdk::Copy) {
        let copied =
            |(path, text): &(&str, &str)| (Path::new(SDK_FOLDER).join(path), (*text).to_owned());
        files.extend(SDK.iter().map(copied));
    }
    files
}

/// The templates in a folder, and their paths in there.
fn within(folder: &str) -> impl Iterator<Item = (&'static Path, &'static str)> {
    let inside = move |(path, text): &(&'static str, &'static str)| {
        let path = Path::new(*path).strip_prefix(folder).ok()?;
        Some((path, *text))
    };
    TEMPLATES.iter().filter_map(inside)
}

fn part(name: &str) -> &'static str {
    let mut parts = within("parts").filter(|(path, _)| *path == Path::new(name));
    parts.next().expect("every part is there").1
}

impl Example {
    fn folder(self) -> &'static str {
        match self {
            Self::HeaderCheck => "header-check",
            Self::BodyRewrite => "body-rewrite",
        }
    }

    /// Its configuration in `lockgate.yaml`.
    fn config(self) -> &'static str {
        match self {
            Self::HeaderCheck => "{ require: x-team, mark: seen }",
            Self::BodyRewrite => "{ find: hello, replace: good day }",
        }
    }

    /// Requests that show it.
    fn try_it(self) -> &'static str {
        match self {
            Self::HeaderCheck => {
                "curl -i http://127.0.0.1:8080/                      # 403\n\
                 curl -i -H 'x-team: blue' http://127.0.0.1:8080/    # x-checked: seen"
            }
            Self::BodyRewrite => {
                "echo hello > hello.txt\n\
                 curl http://127.0.0.1:8080/hello.txt                # good day"
            }
        }
    }
}

impl Language {
    fn folder(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::C => "c",
            Self::Python => "python",
            Self::Js => "js",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Rust => "Rust",
            Self::C => "C",
            Self::Python => "Python",
            Self::Js => "JavaScript",
        }
    }

    /// Lines of `lockgate.yaml` for what needs more than the default.
    fn limits(self) -> &'static str {
        match self {
            Self::Rust | Self::C => "",
            Self::Python => part("python-limits.yaml"),
            Self::Js => part("js-limits.yaml"),
        }
    }
}

impl Sdk {
    fn path(&self) -> String {
        match self {
            Self::Copy => SDK_FOLDER.to_owned(),
            Self::At(path) => path.display().to_string(),
        }
    }

    fn note(&self) -> String {
        match self {
            Self::Copy => format!(
                "Lockgate's SDK is in no registry yet:\n`{SDK_FOLDER}/` is a copy of it, as the \
                 program that wrote this project knew it. To\ntake a newer one, replace that \
                 folder, or name a checkout of Lockgate in `Cargo.toml`."
            ),
            Self::At(path) => format!(
                "Lockgate's SDK is in no registry yet:\n`Cargo.toml` names it by its path, `{}`.",
                path.display()
            ),
        }
    }
}

/// The text with what it leaves open.
fn fill(text: &str, name: &ProjectName, language: Language, example: Example, sdk: &Sdk) -> String {
    // Parts first, which have further places in them. A JSON string is one of TOML.
    text.replace(
        "{{build}}",
        part(&format!("{}.md", language.folder())).trim_end(),
    )
    .replace(
        "{{about}}",
        part(&format!("{}.md", example.folder())).trim_end(),
    )
    .replace("{{limits}}", language.limits())
    .replace("{{language}}", language.title())
    .replace("{{config}}", example.config())
    .replace("{{try}}", example.try_it())
    .replace("{{sdk_note}}", &sdk.note())
    .replace(
        "{{sdk_path}}",
        &serde_json::Value::from(sdk.path()).to_string(),
    )
    .replace("{{sdk_version}}", env!("CARGO_PKG_VERSION"))
    .replace("{{name}}", &name.to_string())
}

/// Some names would mean something in the folder of the templates already.
fn real_name(path: &Path) -> PathBuf {
    match path.to_str() {
        Some("gitignore.in") => ".gitignore".into(),
        _ if path.extension().is_some_and(|extension| extension == "in") => path.with_extension(""),
        _ => path.to_owned(),
    }
}

fn put(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, text)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::super::{c, python};
    use super::*;

    fn written(language: Language, example: Example, sdk: &Sdk) -> Vec<(PathBuf, String)> {
        let name = ProjectName::parse("my-filter").unwrap();
        files(&name, language, example, sdk)
    }

    #[test]
    fn every_language_has_every_example_whole() {
        let at = Sdk::At("/some where/sdk".into());
        for language in Language::value_variants() {
            for example in Example::value_variants() {
                let files = written(*language, *example, &at);
                let paths: HashSet<_> = files.iter().map(|(path, _)| path.as_path()).collect();
                assert_eq!(paths.len(), files.len(), "{paths:?}");
                for wanted in [
                    language.mark(),
                    ".gitignore",
                    "README.md",
                    "cases.yaml",
                    "lockgate.yaml",
                    "wit/filter.wit",
                ] {
                    assert!(paths.contains(Path::new(wanted)), "{wanted}: {paths:?}");
                }
                for (path, text) in &files {
                    assert!(!text.contains("{{"), "{}: {text}", path.display());
                    assert!(text.ends_with('\n'), "{}", path.display());
                }
            }
        }
    }

    #[test]
    fn their_configurations_are_good() {
        for language in Language::value_variants() {
            for example in Example::value_variants() {
                let files = written(*language, *example, &Sdk::Copy);
                let yaml = files
                    .iter()
                    .find(|(path, _)| path == Path::new("lockgate.yaml"));
                let (_, text) = yaml.unwrap();
                let loaded = crate::config::load_text(text, "lockgate.yaml", &|_| None);
                assert!(loaded.is_ok(), "{text}");
            }
        }
    }

    #[test]
    fn a_page_is_a_page() {
        for language in Language::value_variants() {
            for example in Example::value_variants() {
                let files = written(*language, *example, &Sdk::Copy);
                let readme = files
                    .iter()
                    .find(|(path, _)| path == Path::new("README.md"));
                let (_, text) = readme.unwrap();
                assert!(text.lines().count() <= 66, "{text}");
                let longest = text.lines().map(str::len).max();
                assert!(longest < Some(100), "{text}");
            }
        }
    }

    #[test]
    fn the_tools_that_are_asked_for_are_those_of_the_projects() {
        for (language, package) in [(Language::C, c::ZIG), (Language::Python, python::PACKAGE)] {
            let files = written(language, Example::HeaderCheck, &Sdk::Copy);
            let requirements = (PathBuf::from("requirements.txt"), format!("{package}\n"));
            assert!(files.contains(&requirements));
        }
    }
}
