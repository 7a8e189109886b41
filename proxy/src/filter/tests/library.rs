//! The folder of compiled components.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;

use super::*;

/// A folder of this test's own, gone when it ends.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let name = format!(
            "lockgate-test-{}-{:x}",
            std::process::id(),
            fastrand::u64(..)
        );
        Self(std::env::temp_dir().join(name).join("cache"))
    }

    fn load(&self) -> Arc<Module> {
        self.load_of(guests::component())
    }

    fn load_of(&self, component: &[u8]) -> Arc<Module> {
        let options = EngineOptions {
            cache_dir: Some(self.0.clone()),
            max_instances: 10,
            ..EngineOptions::default()
        };
        FilterEngine::start(options)
            .unwrap()
            .load(Digest::of(component), component, Pace::Full)
            .unwrap()
    }

    fn only_file(&self) -> PathBuf {
        let files: Vec<_> = fs::read_dir(&self.0).unwrap().collect();
        assert_eq!(files.len(), 1, "{files:?}");
        files[0].as_ref().unwrap().path()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(self.0.parent().unwrap());
    }
}

fn mode(path: &std::path::Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// Another one says that the file was written anew.
fn number(path: &std::path::Path) -> u64 {
    fs::metadata(path).unwrap().ino()
}

#[test]
fn compiled_filters_are_kept_and_found() {
    let folder = Folder::new();
    folder.load();
    let file = folder.only_file();
    assert_eq!(mode(&folder.0), 0o700);
    assert_eq!(mode(&file), 0o600);
    let written = number(&file);
    let long_ago = std::time::SystemTime::UNIX_EPOCH;
    let open = fs::File::open(&file).unwrap();
    open.set_modified(long_ago).unwrap();
    assert_eq!(folder.load().manifest().name, "guest");
    assert_eq!(number(&folder.only_file()), written);
    // It was used, which is why it stays the longer.
    assert_ne!(open.metadata().unwrap().modified().unwrap(), long_ago);
}

#[test]
fn a_damaged_file_is_made_anew() {
    let folder = Folder::new();
    folder.load();
    let good = fs::read(folder.only_file()).unwrap();
    let mut flipped = good.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    for bad in [&flipped[..], &good[..middle], b"", b"short"] {
        fs::write(folder.only_file(), bad).unwrap();
        assert_eq!(folder.load().manifest().name, "guest");
        assert_eq!(fs::read(folder.only_file()).unwrap().len(), good.len());
    }
}

#[test]
fn the_code_of_another_component_is_not_run() {
    let (folder, other) = (Folder::new(), Folder::new());
    folder.load();
    other.load_of(guests::job());
    let good = fs::read(folder.only_file()).unwrap();
    fs::copy(other.only_file(), folder.only_file()).unwrap();
    assert_eq!(folder.load().manifest().name, "guest");
    assert_eq!(fs::read(folder.only_file()).unwrap(), good);
}

#[test]
fn what_others_may_write_to_is_not_used() {
    let folder = Folder::new();
    folder.load();
    let file = folder.only_file();
    let before = number(&file);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    folder.load();
    assert_eq!(mode(&folder.only_file()), 0o600);
    assert_ne!(number(&file), before);

    fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o777)).unwrap();
    fs::write(&file, b"planted").unwrap();
    assert_eq!(folder.load().manifest().name, "guest");
    assert_eq!(fs::read(&file).unwrap(), b"planted");
}
