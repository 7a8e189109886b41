//! The languages that `lockgate filter` knows, and how a project tells its own.

use std::path::Path;

use clap::ValueEnum;

/// What a filter is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Language {
    Rust,
    C,
    Python,
    Js,
}

impl Language {
    const ALL: [Language; 4] = [Self::Rust, Self::C, Self::Python, Self::Js];

    /// The file of a project that only this language has.
    pub fn mark(self) -> &'static str {
        match self {
            Self::Rust => "Cargo.toml",
            Self::C => "filter.c",
            Self::Python => "http_filter.py",
            Self::Js => "package.json",
        }
    }

    /// What gets a new project the tools that are not there for every project.
    pub fn first_command(self) -> &'static str {
        match self {
            Self::Rust => "rustup target add wasm32-wasip2",
            Self::C | Self::Python => {
                "python3 -m venv .venv && .venv/bin/pip install -r requirements.txt"
            }
            Self::Js => "npm install --ignore-scripts",
        }
    }

    /// The language of the project in this folder, or what is wrong with it.
    pub fn of(folder: &Path) -> Result<Self, String> {
        let is_marked = |language: &Language| folder.join(language.mark()).is_file();
        let found: Vec<_> = Self::ALL.into_iter().filter(is_marked).collect();
        match found.as_slice() {
            [language] => Ok(*language),
            [] => Err(format!(
                "`{}` is no filter project: it has none of {}",
                folder.display(),
                marks(&Self::ALL)
            )),
            several => Err(format!(
                "`{}` has {}: which is it? Tell it with --lang",
                folder.display(),
                marks(several)
            )),
        }
    }
}

fn marks(languages: &[Language]) -> String {
    let marks: Vec<_> = languages
        .iter()
        .map(|language| format!("`{}`", language.mark()))
        .collect();
    marks.join(", ")
}
