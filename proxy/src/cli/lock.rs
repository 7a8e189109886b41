//! `lockgate filter lock`.

use std::path::Path;

use super::progress;
use crate::console::{Exit, print};
use crate::control::reload::{self, Loader};
use crate::filter::Compiler;
use crate::snapshot::lock::{self, Lock};
use crate::snapshot::{Past, Sockets};

pub fn lock(file: &Path) -> anyhow::Result<Exit> {
    progress::show();
    let attempt = reload::attempt(file);
    let refused = |mistakes: crate::config::Mistakes| {
        eprintln!("{mistakes}");
        Ok(Exit::BadInput)
    };
    let loaded = match attempt.outcome {
        Ok(loaded) => loaded,
        Err(mistakes) => return refused(reload::refuse(file, mistakes, attempt.draft)),
    };
    let engine = reload::start_engine(&loaded.config, Compiler::Here)?;
    let loader = Loader::to_look(file, engine, &loaded.config);
    let candidate = match loader.build_unlocked(loaded, None, &Past::default(), Sockets::Leave) {
        Ok(candidate) => candidate,
        Err(mistakes) => return refused(mistakes),
    };
    // One that cannot be read is written anew: that is what this is for.
    let before = lock::read(file).ok().flatten().unwrap_or_default();
    let now = Lock::of(&candidate.snapshot);
    let path = lock::write(file, &now)?;
    for change in now.changes_since(&before) {
        print(&change)?;
    }
    print(&format!("{} written", path.display()))
}
