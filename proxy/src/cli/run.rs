//! `lockgate run`.

use std::path::Path;

use crate::app::{App, Options, StartError};
use crate::console::Exit;
use crate::{memory, overload};

pub fn run(config: &Path, strict: bool) -> anyhow::Result<Exit> {
    memory::use_small_pages();
    // Where that is denied, it goes on with what it has, and `lockgate_max_fds` tells.
    overload::raise_limit().ok();
    let app = match App::start(
        Options::new(config)
            .strict(strict)
            .as_process()?
            .replaceable(),
    ) {
        Ok(app) => app,
        Err(StartError::Config(mistakes)) => {
            eprintln!("{mistakes}");
            eprintln!(
                "lockgate: {} to mend in {}",
                mistakes.count(),
                config.display()
            );
            return Ok(Exit::BadInput);
        }
        Err(StartError::Other(error)) => return Err(error),
    };
    Ok(app.wait().into())
}
