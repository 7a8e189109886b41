//! A file with everything it includes → one document.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use super::files::{self, Files, MAX_TOTAL_BYTES};
use super::mistake::Mistake;
use super::place::{At, Place, Places, below};
use super::yaml::{self, Content, GivenUp, Input, Member, Node};

/// Values of all files together, aliases written out.
pub(super) const MAX_NODES: usize = 500_000;

/// Files that one configuration may be of.
const MAX_FILES: usize = 256;

/// One document, merged but not yet checked.
pub(super) struct Gathered {
    pub(super) value: Value,
    pub(super) places: Places,
    pub(super) from_env: Vec<String>,
    /// JSON pointers of values whose mistakes are known already.
    pub(super) broken: Vec<String>,
    pub(super) files: Vec<Arc<Path>>,
    pub(super) folders: Vec<PathBuf>,
    pub(super) mistakes: Vec<Mistake>,
}

/// The mistakes for which the rest cannot be checked, and the files by number.
pub(super) struct Unreadable {
    pub(super) files: Vec<Arc<Path>>,
    pub(super) folders: Vec<PathBuf>,
    pub(super) mistakes: Vec<Mistake>,
}

/// Read `path` and what it includes.
pub(super) fn gather(
    path: &Path,
    files: &Files<'_>,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Gathered, Unreadable> {
    let mut gatherer = Gatherer {
        source: files,
        env,
        files: Vec::new(),
        folders: Vec::new(),
        known: HashMap::new(),
        chain: Vec::new(),
        nodes_left: MAX_NODES,
        bytes_left: MAX_TOTAL_BYTES,
        merged: Merged::default(),
        mistakes: Vec::new(),
        complete: true,
    };
    let at = gatherer.read_root(path);
    let Gatherer {
        files,
        folders,
        merged,
        mistakes,
        complete,
        ..
    } = gatherer;
    if !complete {
        return Err(Unreadable {
            files,
            folders,
            mistakes,
        });
    }
    let parts = Node::new(at, Content::Map(merged.members)).into_parts();
    Ok(Gathered {
        value: parts.value,
        places: Places::new(files.clone(), parts.spot),
        from_env: parts.from_env,
        broken: parts.broken,
        files,
        folders,
        mistakes,
    })
}

struct Gatherer<'a> {
    source: &'a Files<'a>,
    env: &'a dyn Fn(&str) -> Option<String>,
    files: Vec<Arc<Path>>,
    /// Those that a pattern was looked for in.
    folders: Vec<PathBuf>,
    /// Every file read so far by its real path, and where it is included.
    known: HashMap<PathBuf, Place>,
    /// The files that are being read, by their numbers, the main one first.
    chain: Vec<usize>,
    nodes_left: usize,
    bytes_left: usize,
    merged: Merged,
    mistakes: Vec<Mistake>,
    /// Whether every file was understood to its end.
    complete: bool,
}

#[derive(Default)]
struct Merged {
    members: Vec<Member>,
    /// Index of each key in `members`.
    keys: HashMap<Box<str>, usize>,
}

impl Gatherer<'_> {
    /// Read the main file. Gives the place of its beginning.
    fn read_root(&mut self, path: &Path) -> At {
        let file: Arc<Path> = path.into();
        let place = Place {
            file,
            line: 1,
            column: 1,
        };
        self.read(path, &place);
        At {
            file: 0,
            line: 1,
            column: 1,
        }
    }

    /// Read a file, which `place` asks for, and merge it and what it includes.
    fn read(&mut self, path: &Path, place: &Place) {
        if self.files.is_empty() {
            self.files.push(place.file.clone());
        } else if !self.admit(path, place) {
            return;
        } else {
            self.files.push(path.into());
        }
        let number = self.files.len() - 1;
        self.known
            .insert(self.source.real_path(path), place.clone());
        let text = match self.source.read(path, self.bytes_left) {
            Ok(text) => text,
            Err(problem) => {
                let place = problem.place.map_or_else(
                    || place.clone(),
                    |(line, column)| Place {
                        file: path.into(),
                        line,
                        column,
                    },
                );
                return self.give_up(Mistake::new(place, "", problem.found, problem.wanted));
            }
        };
        self.bytes_left -= text.len();
        self.chain.push(number);
        self.merge_text(&text, number);
        self.chain.pop();
    }

    /// Whether a file may be included: no cycle, not twice, not too many.
    fn admit(&mut self, path: &Path, place: &Place) -> bool {
        let real = self.source.real_path(path);
        let shown = path.display();
        let being_read = |&number: &usize| self.source.real_path(&self.files[number]) == real;
        let mistake = if self.chain.iter().any(being_read) {
            let chain = self
                .chain
                .iter()
                .map(|&number| self.files[number].display());
            let mut names: Vec<_> = chain.map(|name| format!("`{name}`")).collect();
            names.push(format!("`{shown}`"));
            let found = format!("files that include each other: {}", names.join(" → "));
            Mistake::new(place.clone(), "/include", found, "no cycle")
        } else if let Some(first) = self.known.get(&real) {
            let found = format!("`{shown}` again, first included at {first}");
            Mistake::new(place.clone(), "/include", found, "each file once")
        } else if self.files.len() == MAX_FILES {
            let wanted = format!("at most {MAX_FILES}");
            Mistake::new(place.clone(), "/include", "one file more", wanted)
        } else {
            return true;
        };
        self.give_up(mistake);
        false
    }

    fn give_up(&mut self, mistake: Mistake) {
        self.mistakes.push(mistake);
        self.complete = false;
    }

    fn merge_text(&mut self, text: &str, number: usize) {
        let path = self.files[number].clone();
        let file = u16::try_from(number).expect("there are at most MAX_FILES");
        let input = Input {
            text,
            path: &path,
            file,
            env: self.env,
        };
        let root = match yaml::parse(&input, &mut self.nodes_left, &mut self.mistakes) {
            Ok(root) => root,
            Err(GivenUp) => return self.complete = false,
        };
        let Content::Map(members) = root.content else {
            let mistake = self.mistake(
                root.at,
                root.content.kind(),
                "a map of keys such as `listeners`",
            );
            return self.give_up(mistake);
        };
        let (includes, members): (Vec<_>, Vec<_>) = members
            .into_iter()
            .partition(|member| &*member.key == "include");
        for member in members {
            self.merge(member);
        }
        for include in includes {
            self.include(include.value, &path);
        }
    }

    fn include(&mut self, paths: Node, by: &Path) {
        let Content::List(paths) = paths.content else {
            let wanted = "a list of paths, such as `[clusters.yaml, conf.d/*.yaml]`";
            let mistake = self.mistake(paths.at, paths.content.kind(), wanted);
            return self.give_up(mistake);
        };
        for path in paths {
            let place = self.place(path.at);
            match path.content {
                Content::String(pattern) if !pattern.is_empty() => {
                    self.include_pattern(&pattern, &place, by);
                }
                other => {
                    let mistake =
                        Mistake::new(place, "/include", other.kind(), "the path of a file");
                    self.give_up(mistake);
                }
            }
        }
    }

    fn include_pattern(&mut self, pattern: &str, place: &Place, by: &Path) {
        if !self.source.may_include() {
            let wanted = "no `include`: this configuration is not read from a file";
            return self.give_up(Mistake::new(
                place.clone(),
                "/include",
                format!("`{pattern}`"),
                wanted,
            ));
        }
        let path = by.parent().unwrap_or(Path::new("")).join(pattern);
        if !pattern.contains('*') {
            return self.read(&path, place);
        }
        self.folders.extend(path.parent().map(Path::to_owned));
        match files::matching(&path) {
            Ok(paths) => paths.iter().for_each(|path| self.read(path, place)),
            Err(problem) => {
                self.give_up(Mistake::new(
                    place.clone(),
                    "/include",
                    problem.found,
                    problem.wanted,
                ));
            }
        }
    }

    /// Unite one key of a file with what earlier files said.
    fn merge(&mut self, member: Member) {
        let Some(&index) = self.merged.keys.get(&member.key) else {
            self.merged
                .keys
                .insert(member.key.clone(), self.merged.members.len());
            return self.merged.members.push(member);
        };
        let first = &mut self.merged.members[index];
        match (&*member.key, &mut first.value.content, member.value.content) {
            (
                "listeners" | "clusters" | "retry_policies" | "secrets" | "registries" | "trust",
                Content::List(first),
                Content::List(more),
            ) => first.extend(more),
            ("filters", Content::Map(first), Content::Map(more)) => {
                let again = unite(first, more);
                for (first, member) in again {
                    let pointer = below("/filters", &member.key);
                    self.report_again("filter", &member.key, &pointer, first, member.at);
                }
            }
            // Checked here, because only the first one is checked with the rest.
            (
                "listeners" | "clusters" | "retry_policies" | "secrets" | "registries" | "trust",
                Content::List(_),
                other,
            ) => {
                self.report(member.value.at, other.kind(), "a list");
            }
            ("filters", Content::Map(_), other) => {
                self.report(member.value.at, other.kind(), "a map");
            }
            (
                "listeners" | "clusters" | "retry_policies" | "secrets" | "registries" | "trust"
                | "filters",
                ..,
            ) => {}
            _ => {
                let first = first.at;
                let pointer = below("", &member.key);
                self.report_again("key", &member.key, &pointer, first, member.at);
            }
        }
    }

    fn report_again(&mut self, kind: &str, name: &str, pointer: &str, first: At, at: At) {
        let found = format!("the {kind} `{name}` again, first at {}", self.place(first));
        let wanted = format!("each {kind} once in all files");
        self.mistakes
            .push(Mistake::new(self.place(at), pointer, found, wanted));
    }

    fn report(&mut self, at: At, found: &str, wanted: &str) {
        let mistake = self.mistake(at, found, wanted);
        self.mistakes.push(mistake);
    }

    fn mistake(&self, at: At, found: &str, wanted: &str) -> Mistake {
        Mistake::new(self.place(at), "", found, wanted)
    }

    fn place(&self, at: At) -> Place {
        Place {
            file: self.files[usize::from(at.file)].clone(),
            line: at.line,
            column: at.column,
        }
    }
}

/// Add the members that are new. Gives the others, each with the place of the
/// first of its name.
fn unite(first: &mut Vec<Member>, more: Vec<Member>) -> Vec<(At, Member)> {
    let known: HashMap<_, _> = first
        .iter()
        .map(|member| (member.key.clone(), member.at))
        .collect();
    let mut again = Vec::new();
    for member in more {
        match known.get(&member.key) {
            Some(&at) => again.push((at, member)),
            None => first.push(member),
        }
    }
    again
}
