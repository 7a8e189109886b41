//! `lockgate demo`: a proxy with all shipped filters and three origins, all in
//! this process, by a configuration that the user may edit while it runs.
//!
//! Takes nothing but free ports. `--tour` makes the requests itself and fails
//! if anything is not as it says. Everything here goes through the same `App`
//! as `lockgate run`.

mod ask;
mod origins;
mod policy;
mod tour;

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::app::{App, Options as AppOptions, StartError};
use crate::console::{Exit, print};
use origins::Origins;
use policy::Policy;

/// Arguments of the command.
#[derive(clap::Args)]
pub struct Options {
    /// Make the requests, print each with its outcome, and exit 0 if all was as promised.
    #[arg(long)]
    tour: bool,
    /// Port of the proxy; 0 takes a free one.
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// Port of the admin address; 0 takes a free one.
    #[arg(long, default_value_t = 9901)]
    admin_port: u16,
    /// Folder that the configuration is written into; an existing file is kept.
    #[arg(long, default_value = "lockgate-demo", value_name = "FOLDER")]
    dir: PathBuf,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<Exit> {
    if options.tour {
        return tour::run();
    }
    let origins = Origins::start()?;
    let policy = Policy {
        port: options.port,
        admin_port: options.admin_port,
        origins: origins.addresses(),
        ..Policy::default()
    };
    let path = write_config(&options.dir, &policy)?;
    print("starting: the first start compiles the filters, later ones take them from the cache")?;
    let app = match App::start(AppOptions::new(&path).as_process()) {
        Ok(app) => app,
        Err(StartError::Config(mistakes)) => {
            eprintln!("{mistakes}");
            return Ok(Exit::BadInput);
        }
        Err(StartError::Other(error)) => return Err(error),
    };
    explain(&app, &path, &origins)?;
    app.wait();
    Ok(Exit::Good)
}

/// The addresses of the origins change from run to run, so the file is written
/// anew unless it was edited.
fn write_config(folder: &Path, policy: &Policy) -> anyhow::Result<PathBuf> {
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let origins = folder.join("origins.yaml");
    let path = folder.join("lockgate.yaml");
    std::fs::write(&origins, policy.origins_yaml())
        .with_context(|| format!("cannot write {}", origins.display()))?;
    match std::fs::File::create_new(&path) {
        Ok(mut file) => file.write_all(policy.yaml().as_bytes())?,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            print(&format!(
                "keeping {}, which is there already",
                path.display()
            ))?;
        }
        Err(error) => {
            return Err(error).with_context(|| format!("cannot write {}", path.display()));
        }
    }
    Ok(path)
}

fn explain(app: &App, path: &Path, origins: &Origins) -> anyhow::Result<Exit> {
    let proxy = app
        .address("web")
        .context("the configuration has no listener `web`")?;
    let mut text = format!("\nproxy      http://{proxy}\n");
    if let Some(admin) = app.admin_address() {
        text.push_str(&format!(
            "admin      http://{admin}  (/metrics /config /filters /clusters /generations)\n"
        ));
    }
    for (name, address) in origins.addresses() {
        text.push_str(&format!("{name:<10} http://{address}\n"));
    }
    text.push_str(&format!(
        "config     {}  (edit it: it is loaded as you save)\n\n",
        path.display()
    ));
    text.push_str(&format!(
        "try:\n\
         \x20 curl -i http://{proxy}/health                                     the router answers\n\
         \x20 curl -i http://{proxy}/checkout                                   split 80:20 over v1 and v2, copied to shadow\n\
         \x20 curl -i http://{proxy}/checkout -H 'x-beta: 1'                    always v2\n\
         \x20 curl -i http://{proxy}/account                                    401: auth wants a key\n\
         \x20 curl -i http://{proxy}/account -H 'x-api-key: alice-key'          passes, and the origin sees x-user: alice\n\
         \x20 curl -i http://{proxy}/checkout -H 'x-lockgate-fault-abort: 503'  a fault on demand\n\
         \x20 curl -i http://{proxy}/checkout -H 'x-lockgate-fault-delay: 1s'   a delay on demand\n\
         \nCtrl-C drains and ends.\n"
    ));
    print(&text)
}
