//! Whether the access log can go where a configuration wants it. Asked by
//! `check` and a reload too, so that the next start does not fail by it.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::Path;

use crate::config::{AccessLogTarget, Config, Mistake};

/// What is wrong with the file of the access log. Makes no file and changes none.
pub fn check(config: &Config) -> Option<Mistake> {
    match &config.access_log.to {
        AccessLogTarget::Off | AccessLogTarget::Stdout => None,
        AccessLogTarget::File(path) => trouble(path).map(|found| mistake(config, path, &found)),
    }
}

/// The mistake in the file's name, when it could not be opened.
pub fn unopened(config: &Config, error: &io::Error) -> Mistake {
    match &config.access_log.to {
        AccessLogTarget::File(path) => mistake(config, path, &cannot_be_opened(error)),
        AccessLogTarget::Off | AccessLogTarget::Stdout => Mistake::at(
            &config.places,
            "/access_log",
            format!("an access log that cannot be written: {error}"),
            "one that can",
        ),
    }
}

fn mistake(config: &Config, path: &Path, found: &str) -> Mistake {
    Mistake::at(
        &config.places,
        "/access_log/to",
        format!("`{}`, {found}", path.display()),
        "a file that can be written",
    )
}

fn cannot_be_opened(error: &io::Error) -> String {
    format!("which cannot be opened: {error}")
}

fn trouble(path: &Path) -> Option<String> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Some("which is a folder".to_owned()),
        // Opening a pipe would wait for its reader.
        Ok(metadata) if !metadata.is_file() => None,
        Ok(_) => {
            let opened = OpenOptions::new().append(true).open(path);
            opened.err().as_ref().map(cannot_be_opened)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => trouble_of_folder(path),
        Err(error) => Some(cannot_be_opened(&error)),
    }
}

/// The file would be made in its folder.
fn trouble_of_folder(path: &Path) -> Option<String> {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    match fs::metadata(folder) {
        Ok(metadata) if metadata.is_dir() => None,
        Ok(_) => Some(format!("but `{}` is no folder", folder.display())),
        Err(error) => Some(format!("whose folder cannot be used: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_neither_made_nor_changed() {
        let folder = std::env::temp_dir().join(format!("lockgate-log-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (new, old) = (folder.join("new.log"), folder.join("old.log"));
        fs::write(&old, "a line\n").unwrap();
        assert_eq!(trouble(&new), None);
        assert_eq!(trouble(&old), None);
        assert!(!new.exists());
        assert_eq!(fs::read_to_string(&old).unwrap(), "a line\n");

        let check = |path: &Path, expected: &str| {
            let found = trouble(path).unwrap();
            assert!(found.starts_with(expected), "{}: {found}", path.display());
        };
        check(&folder, "which is a folder");
        check(&folder.join("none/a.log"), "whose folder cannot be used");
        check(&old.join("a.log"), "which cannot be opened");
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_path_without_a_folder_is_in_the_current_one() {
        assert_eq!(trouble(Path::new("no-such.log")), None);
    }
}
