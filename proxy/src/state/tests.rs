use std::os::unix::fs::PermissionsExt;

use super::*;

fn hex(bytes: &[u8]) -> String {
    Digest::of(bytes).hex()
}

struct Temporary(PathBuf);

impl Temporary {
    fn new() -> Self {
        let name = format!(
            "lockgate-state-{}-{:x}",
            std::process::id(),
            fastrand::u64(..)
        );
        Self(std::env::temp_dir().join(name))
    }

    fn folder(&self) -> Folder {
        Folder::new(self.0.clone())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

fn records(why: &str) -> Records {
    let failed = vec![Failed {
        identity: "abc".into(),
        why: why.into(),
    }];
    let record = Record {
        failed,
        ..Record::default()
    };
    Records {
        filters: [("auth".into(), record)].into(),
    }
}

#[test]
fn records_and_components_come_back() {
    let temporary = Temporary::new();
    let (digest, other) = (hex(b"bytes"), hex(b"others"));
    let folder = temporary.folder();
    assert_eq!(folder.records(), Records::default());
    folder.keep_component(&digest, b"bytes");
    folder.keep_component(&other, b"others");
    folder.need([digest.clone()].into(), Build::Over);
    folder.keep(1, &records("it failed"));
    let folder = temporary.folder();
    assert_eq!(folder.records(), records("it failed"));
    assert_eq!(folder.component(&digest).as_deref(), Some(&b"bytes"[..]));
    // What nobody needs was swept away.
    assert_eq!(folder.component(&other), None);
}

#[test]
fn what_was_built_for_nothing_is_swept_away_though_no_record_changes() {
    let temporary = Temporary::new();
    let (digest, other) = (hex(b"bytes"), hex(b"others"));
    let folder = temporary.folder();
    folder.keep(1, &records("it failed"));
    folder.keep_component(&digest, b"bytes");
    folder.keep_component(&other, b"others");
    // A version passes its probation while others are built.
    folder.need([digest.clone()].into(), Build::MayBeUnderWay);
    folder.keep(2, &records("it failed"));
    assert_eq!(folder.component(&other).as_deref(), Some(&b"others"[..]));
    folder.need([digest.clone()].into(), Build::Over);
    folder.keep(3, &records("it failed"));
    assert_eq!(folder.component(&other), None);
    assert_eq!(folder.component(&digest).as_deref(), Some(&b"bytes"[..]));
}

#[test]
fn what_is_damaged_is_written_once_more() {
    let temporary = Temporary::new();
    let folder = temporary.folder();
    let digest = hex(b"bytes");
    folder.keep_component(&digest, b"bytes");
    fs::write(folder.component_path(&digest), b"bites").unwrap();
    assert_eq!(folder.component(&digest), None);
    folder.keep_component(&digest, b"bytes");
    assert_eq!(folder.component(&digest).as_deref(), Some(&b"bytes"[..]));
}

#[test]
fn what_is_damaged_counts_as_absent() {
    let temporary = Temporary::new();
    let folder = temporary.folder();
    let digest = hex(b"bytes");
    folder.keep_component(&digest, b"bytes");
    folder.need([digest.clone()].into(), Build::Over);
    folder.keep(1, &records("it failed"));
    fs::write(folder.component_path(&digest), b"bites").unwrap();
    fs::write(temporary.0.join(RECORDS), b"{\"filters\": 7}").unwrap();
    assert_eq!(folder.component(&digest), None);
    assert_eq!(folder.records(), Records::default());
}

#[test]
fn what_others_may_write_to_counts_as_absent() {
    let temporary = Temporary::new();
    let folder = temporary.folder();
    folder.keep(1, &records("it failed"));
    let path = temporary.0.join(RECORDS);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    assert_eq!(folder.records(), Records::default());
}

#[test]
fn what_is_kept_is_for_nobody_else_to_read() {
    let temporary = Temporary::new();
    let folder = temporary.folder();
    folder.keep_component(&hex(b"bytes"), b"bytes");
    folder.keep(1, &records("it failed"));
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(temporary.0.clone()), 0o700);
    assert_eq!(mode(temporary.0.join(RECORDS)), 0o600);
    assert_eq!(mode(folder.component_path(&hex(b"bytes"))), 0o600);
}

#[test]
fn a_folder_that_cannot_be_made_fails_nothing() {
    let temporary = Temporary::new();
    fs::write(&temporary.0, b"a file").unwrap();
    let folder = temporary.folder();
    folder.keep(1, &records("it failed"));
    folder.keep_component(&hex(b"bytes"), b"bytes");
    assert_eq!(folder.component(&hex(b"bytes")), None);
    fs::remove_file(&temporary.0).unwrap();
}
