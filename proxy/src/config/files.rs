//! The files of a configuration: the only place here that touches a disk.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Of one file.
const MAX_FILE_BYTES: usize = 4 << 20;

/// Of all files of a configuration.
pub(super) const MAX_TOTAL_BYTES: usize = 16 << 20;

/// Where the text of a configuration comes from.
pub(super) enum Files<'a> {
    Disk,
    /// This text, and nothing else: no file is opened.
    Text(&'a str),
}

/// Why a file cannot be read.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) found: String,
    pub(super) wanted: String,
    /// Line and column in the file, where it is about its bytes.
    pub(super) place: Option<(u32, u32)>,
}

impl Problem {
    fn new(found: impl Into<String>, wanted: impl Into<String>) -> Self {
        Self {
            found: found.into(),
            wanted: wanted.into(),
            place: None,
        }
    }
}

impl Files<'_> {
    pub(super) fn may_include(&self) -> bool {
        matches!(self, Files::Disk)
    }

    /// The path without symlinks, so that one file is known by one name.
    pub(super) fn real_path(&self, path: &Path) -> PathBuf {
        match self {
            Files::Disk => path.canonicalize().unwrap_or_else(|_| path.to_owned()),
            Files::Text(_) => path.to_owned(),
        }
    }

    /// The whole text of a file, without a byte order mark.
    pub(super) fn read(&self, path: &Path, total_left: usize) -> Result<String, Problem> {
        let bytes = match self {
            Files::Disk => read_bytes(path)?,
            Files::Text(text) => text.as_bytes().to_vec(),
        };
        let at_start = |problem| Problem {
            place: Some((1, 1)),
            ..problem
        };
        if bytes.len() > MAX_FILE_BYTES {
            let found = format!("`{}`, a file of more than 4 MiB", path.display());
            return Err(at_start(Problem::new(found, "at most 4 MiB in a file")));
        }
        if bytes.len() > total_left {
            let found = format!(
                "`{}`, with which the files are more than 16 MiB",
                path.display()
            );
            return Err(at_start(Problem::new(found, "at most 16 MiB in all files")));
        }
        let text = String::from_utf8(bytes).map_err(not_utf8)?;
        Ok(match text.strip_prefix('\u{feff}') {
            Some(text) => text.to_owned(),
            None => text,
        })
    }
}

fn read_bytes(path: &Path) -> Result<Vec<u8>, Problem> {
    let unreadable = |error: io::Error| {
        let found = format!("`{}`, which cannot be read: {error}", path.display());
        Problem::new(found, "a readable file")
    };
    // Asked before it is opened, because opening a pipe waits for its writer.
    if !fs::metadata(path).map_err(unreadable)?.is_file() {
        let found = format!("`{}`, which is no regular file", path.display());
        return Err(Problem::new(found, "a readable file"));
    }
    let mut bytes = Vec::new();
    let most = u64::try_from(MAX_FILE_BYTES + 1).expect("a small number");
    File::open(path)
        .and_then(|file| file.take(most).read_to_end(&mut bytes))
        .map_err(unreadable)?;
    Ok(bytes)
}

fn not_utf8(error: std::string::FromUtf8Error) -> Problem {
    let good = error.utf8_error().valid_up_to();
    let before = String::from_utf8_lossy(&error.as_bytes()[..good]).into_owned();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    let number = |number| u32::try_from(number).unwrap_or(u32::MAX);
    Problem {
        place: Some((number(line), number(column))),
        ..Problem::new("bytes that are not UTF-8", "text in UTF-8")
    }
}

/// The files that match a path with `*` in its last part, by name. Hidden files
/// never match: a mounted ConfigMap keeps its own things in them.
pub(super) fn matching(pattern: &Path) -> Result<Vec<PathBuf>, Problem> {
    let name = pattern
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or("");
    let folder = match pattern.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    if folder.to_str().is_some_and(|folder| folder.contains('*')) {
        let found = format!("`{}`", pattern.display());
        return Err(Problem::new(found, "`*` only in the last part of a path"));
    }
    let unreadable = |error: io::Error| {
        let found = format!("`{}`, which cannot be read: {error}", folder.display());
        Problem::new(found, "a readable folder")
    };
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let found = entry.map_err(unreadable)?.file_name();
        if found
            .to_str()
            .is_some_and(|found| !found.starts_with('.') && matches(name, found))
        {
            paths.push(pattern.with_file_name(found));
        }
    }
    paths.sort();
    Ok(paths)
}

/// Whether `name` is of the pattern, in which `*` stands for anything.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(mut name) = name.strip_prefix(first) else {
        return false;
    };
    let mut parts: Vec<_> = rest.split('*').collect();
    let last = parts.pop().expect("a split has at least one part");
    for part in parts {
        match name.find(part) {
            Some(at) => name = &name[at + part.len()..],
            None => return false,
        }
    }
    name.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, name, wanted) in [
            ("*.yaml", "a.yaml", true),
            ("*.yaml", "a.yml", false),
            ("*", "a", true),
            ("a*b", "ab", true),
            ("a*b", "a", false),
            ("a*a", "a", false),
            ("a*b*c", "axbxc", true),
            ("a*b*c", "axcxb", false),
            ("a.yaml", "a.yaml", true),
        ] {
            assert_eq!(matches(pattern, name), wanted, "{pattern} {name}");
        }
    }
}
